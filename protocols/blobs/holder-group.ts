import type { PeerId } from '../../crdt/ids.ts';
import type { Doubt } from './ranking.ts';

/**
 * For how long a list of peers is good: what it is made of is on disk, and every blob asks for it. All that are connected
 * are on it, and whoever comes has it made afresh; only who of them is the likeliest may have changed meanwhile.
 */
const peersMs = 1_000;
/** How long a holder's "I lack this" stands for the rest of the content: it may be receiving it itself. */
const lackMs = 1_000;

/** Who has a content, as far as is known before anybody is asked. */
export interface KnownHolders {
  /** Peers that are said to have it; then others most likely have not. */
  readonly named?: readonly PeerId[];
  /** Who wrote it, and may have handed it on and dropped it since: of use where nobody is named. */
  readonly writer?: PeerId | undefined;
}

/** The holders of one content: which are known to have it, and which were found to lack some of it a moment ago. */
export class HolderGroup {
  readonly #peersNow: () => readonly PeerId[];
  #peers: readonly PeerId[] = [];
  #peersSinceMs = Number.NEGATIVE_INFINITY;
  readonly #lackingUntilMs = new Map<PeerId, number>();
  /** Those who are named and did not lack any of it. */
  readonly #named: Set<PeerId>;
  /** Those who gave some of it, or wrote it. */
  readonly #known = new Set<PeerId>();

  /** @param peersNow the peers that may hold the content now, most likely first */
  constructor(peersNow: () => readonly PeerId[], { named = [], writer }: KnownHolders = {}) {
    this.#peersNow = peersNow;
    this.#named = new Set(named);
    if (this.#named.size === 0 && writer !== undefined) this.#known.add(writer);
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

  /** How doubtful it is that the peer has the content. */
  doubtOf(peer: PeerId): Doubt {
    if (this.#known.has(peer) || this.#named.has(peer)) return 'none';
    return this.#named.size === 0 ? 'even' : 'strong';
  }

  /** Notes that a peer lacked a blob of this content at this point of the monotonic clock. */
  noteMissing(peer: PeerId, nowMs: number): void {
    this.#known.delete(peer);
    this.#named.delete(peer);
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
