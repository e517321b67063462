import { formatBytes } from '../client/draw-graph.ts';
import type { DrainStatus } from '../node/api.ts';
import type { CommandText } from './command-text.ts';
import { counted } from './counted.ts';
import { printable } from './output.ts';
import { unansweredLines } from './replica-text.ts';

/** How far a node that drains has come, and what to do next. */
export function drainLines(status: DrainStatus, command: CommandText): string[] {
  const { draining, safe, contents, remaining, remainingBytes, unreadable, intents } = status;
  const name = printable(status.name);
  if (safe) {
    return [`${name} may be switched off: ${contentsText(contents)} proved elsewhere`];
  }
  const writes =
    intents === null || intents === 0
      ? ''
      : `; ${counted(intents, 'write made at it waits', 'writes made at it wait')} for proofs of copies`;
  const unread =
    unreadable === 0
      ? ''
      : `; of ${counted(unreadable, 'object')} a version cannot be read, and any content may be theirs`;
  const silent = intents === null ? `; ${name} itself does not answer, so what it has may be more` : '';
  return [
    ...(draining ? [] : [`${name} does not drain: "${command(`drain ${name}`)}" begins it`]),
    `${remaining} of ${counted(contents, 'content')} on ${name} (${formatBytes(remainingBytes)}) ${remaining === 1 ? 'is' : 'are'} not proved elsewhere${writes}${unread}${silent}`,
    ...unansweredLines(status.unanswered.filter(({ nodeId }) => nodeId !== status.nodeId)),
  ];
}

function contentsText(contents: number): string {
  return contents === 1 ? 'the one content on it is' : `all ${contents} contents on it are`;
}
