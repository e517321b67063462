import type { PeerId } from '../../crdt/ids.ts';

/** How long a holder's "I lack this" stands for the rest of the content: it may be receiving it itself. */
const lackMs = 1_000;

/** The holders of one content: which are known to have it, and which were found to lack some of it a moment ago. */
export class HolderGroup {
  /** The peers that may hold the content now, most likely first. Evaluated whenever a blob is to be asked for. */
  readonly peers: () => readonly PeerId[];
  readonly #lackingUntilMs = new Map<PeerId, number>();
  readonly #known: Set<PeerId>;

  /** @param known peers that have the content, such as the one that wrote it */
  constructor(peers: () => readonly PeerId[], known: Iterable<PeerId> = []) {
    this.peers = peers;
    this.#known = new Set(known);
  }

  /** Notes that a peer gave a blob of this content. */
  noteHeld(peer: PeerId): void {
    this.#known.add(peer);
  }

  /** True when the peer wrote the content, or gave some of it. */
  isKnown(peer: PeerId): boolean {
    return this.#known.has(peer);
  }

  /** Notes that a peer lacked a blob of this content at this point of the monotonic clock. */
  noteMissing(peer: PeerId, nowMs: number): void {
    this.#known.delete(peer);
    this.#lackingUntilMs.set(peer, nowMs + lackMs);
  }

  /** True when the peer is better asked last. */
  lacks(peer: PeerId, nowMs: number): boolean {
    const untilMs = this.#lackingUntilMs.get(peer);
    return untilMs !== undefined && nowMs < untilMs;
  }
}
