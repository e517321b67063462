import type { PeerId } from '../../crdt/ids.ts';

/**
 * For how long a list of peers is good: what it is made of is on disk, and every blob asks for it. All that are connected
 * are on it, and whoever comes has it made afresh; only who of them is the likeliest may have changed meanwhile.
 */
const peersMs = 1_000;
/** How long a holder's "I lack this" stands for the rest of the content: it may be receiving it itself. */
const lackMs = 1_000;

/** The holders of one content: which are known to have it, and which were found to lack some of it a moment ago. */
export class HolderGroup {
  readonly #peersNow: () => readonly PeerId[];
  #peers: readonly PeerId[] = [];
  #peersSinceMs = Number.NEGATIVE_INFINITY;
  readonly #lackingUntilMs = new Map<PeerId, number>();
  readonly #known: Set<PeerId>;

  /**
   * @param peersNow the peers that may hold the content now, most likely first
   * @param known peers that have the content, such as the one that wrote it
   */
  constructor(peersNow: () => readonly PeerId[], known: Iterable<PeerId> = []) {
    this.#peersNow = peersNow;
    this.#known = new Set(known);
  }

  /** The peers that may hold the content at this point of the monotonic clock, and who came at an earlier one. */
  peers(nowMs: number, cameMs: number): readonly PeerId[] {
    if (nowMs - this.#peersSinceMs > peersMs || this.#peersSinceMs <= cameMs) {
      this.#peers = this.#peersNow();
      this.#peersSinceMs = nowMs;
    }
    return this.#peers;
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

  /** True when the peer ever said that it lacks a blob of this content. */
  hasLacked(peer: PeerId): boolean {
    return this.#lackingUntilMs.has(peer);
  }

  /** True when the peer is better asked last. */
  lacks(peer: PeerId, nowMs: number): boolean {
    const untilMs = this.#lackingUntilMs.get(peer);
    return untilMs !== undefined && nowMs < untilMs;
  }
}
