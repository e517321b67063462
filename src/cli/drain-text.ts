import { formatBytes } from '../client/draw-graph.ts';
import type { DrainStatus } from '../node/api.ts';
import { printable } from './output.ts';
import { unansweredLines } from './replica-text.ts';

/** How far a node that drains has come, and what to do next. */
export function drainLines(status: DrainStatus): string[] {
  const { draining, safe, contents, remaining, remainingBytes, intents } = status;
  const name = printable(status.name);
  if (safe) {
    return [`${name} may be switched off: all ${contents} contents on it are proved elsewhere`];
  }
  const writes =
    intents === null || intents === 0 ? '' : `; ${intents} writes made at it wait for proofs of their copies`;
  const silent = intents === null ? `; ${name} itself does not answer, so what it has may be more` : '';
  return [
    ...(draining ? [] : [`${name} does not drain: "anabranch drain ${name}" begins it`]),
    `${remaining} of ${contents} contents on ${name} (${formatBytes(remainingBytes)}) are not proved elsewhere${writes}${silent}`,
    ...unansweredLines(status.unanswered.filter(({ nodeId }) => nodeId !== status.nodeId)),
  ];
}
