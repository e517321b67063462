import type { PeerId } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { ByteStream } from '../../src/ports/network.ts';
import { serveRequests } from '../wire/requests.ts';
import { linesMax, linesMessageBytes } from './limits.ts';
import {
  type CarryReport,
  type ControlRequest,
  type ControlResponse,
  decodeControlRequest,
  encodeControlMessage,
  type LogTip,
} from './messages.ts';

/** What the answering side reads. */
export interface ControlSource {
  tip(): LogTip;
  /** The lines of at most so many certified entries after a position, in order. Read only as far as they are sent. */
  linesAfter(seq: number, limit: number): Iterable<string>;
  /** The text of a proposed entry. */
  candidate(hash: string): string | undefined;
  /** A peer told where its log ends. */
  heardTip(peer: PeerId, tip: LogTip): void;
  /** How far this node has carried the registers over; null when it is no coordinator. */
  carryOver(): CarryReport | null;
}

/**
 * Answers a peer's questions about the control log on one stream, one after the other, until the peer ends it. Rejects
 * with the channel's `MeshError`; a request that cannot be read is a `protocol_violation`.
 */
export async function serveControl(
  stream: ByteStream,
  source: ControlSource,
  dependencies: { readonly clock: Clock },
): Promise<void> {
  await serveRequests(
    stream,
    {
      protocol: 'control',
      decode: decodeControlRequest,
      answer: (channel, request) => channel.send(encodeControlMessage(answer(source, request, channel.remotePeer))),
    },
    dependencies,
  );
}

function answer(source: ControlSource, request: ControlRequest, peer: PeerId): ControlResponse {
  switch (request.t) {
    case 'entries':
      return { t: 'entries', tip: source.tip(), lines: pageAfter(source, request.after) };
    case 'candidate':
      return { t: 'candidate', text: source.candidate(request.hash) ?? null };
    case 'tip':
      source.heardTip(peer, request.tip);
      return { t: 'tip', tip: source.tip() };
    case 'carry':
      return { t: 'carry', carry: source.carryOver() };
  }
}

/** At least one line when there is one, and no more than fit a message. */
function pageAfter(source: ControlSource, seq: number): string[] {
  const lines: string[] = [];
  let bytes = 0;
  for (const line of source.linesAfter(seq, linesMax)) {
    lines.push(line);
    bytes += Buffer.byteLength(line, 'utf8');
    if (bytes >= linesMessageBytes) break;
  }
  return lines;
}
