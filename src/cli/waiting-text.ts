import type { NodeStatus } from '../node/api.ts';
import { counted } from './counted.ts';

/** What this node's objects wait for before they are confirmed. A majority in reach does not help those that lack copies. */
export function waitingTexts({ pending, waitingForCopies }: NodeStatus['quorum']): string[] {
  const others = pending - waitingForCopies;
  return [
    ...(others > 0 ? [`${counted(others, 'object waits', 'objects wait')} to be confirmed`] : []),
    ...(waitingForCopies > 0
      ? [`${counted(waitingForCopies, 'object waits', 'objects wait')} for a second proved copy`]
      : []),
  ];
}
