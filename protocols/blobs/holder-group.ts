import type { PeerId } from '../../crdt/ids.ts';

/** How long a holder's "I lack this" stands for the rest of the content: it may be receiving it itself. */
const lackMs = 1_000;

/** The holders of one content, and which of them were found to lack some of it a moment ago. */
export class HolderGroup {
  /** The peers that may hold the content now, most likely first. Evaluated whenever a blob is to be asked for. */
  readonly peers: () => readonly PeerId[];
  readonly #lackingUntilMs = new Map<PeerId, number>();

  constructor(peers: () => readonly PeerId[]) {
    this.peers = peers;
  }

  /** Notes that a peer lacked a blob of this content at this point of the monotonic clock. */
  noteMissing(peer: PeerId, nowMs: number): void {
    this.#lackingUntilMs.set(peer, nowMs + lackMs);
  }

  /** True when the peer is better asked last. */
  lacks(peer: PeerId, nowMs: number): boolean {
    const untilMs = this.#lackingUntilMs.get(peer);
    return untilMs !== undefined && nowMs < untilMs;
  }
}
