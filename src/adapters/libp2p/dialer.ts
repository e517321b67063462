import type { PeerId } from '../../../crdt/ids.ts';
import type { Clock } from '../../ports/clock.ts';
import type { NetworkMember } from '../../ports/network.ts';
import type { Random } from '../../ports/random.ts';

/** Delay before the second attempt; each further one doubles it, up to the maximum, and is jittered. */
const retryDelayMsMin = 250;
const retryDelayMsMax = 10_000;
/** The first attempt is spread over this, so that nodes that start together do not dial in one burst. */
const firstDelayMsMax = 50;
/** How much longer the peer with the greater id waits, so that two nodes seldom dial each other at once. */
const yieldDelayMs = 400;
/** One attempt is given up after this. */
const dialTimeoutMs = 10_000;

export interface DialerDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly localPeer: PeerId;
  /** Those to be connected to now, the local node and those that are cut off excepted. */
  readonly wanted: () => readonly NetworkMember[];
  readonly isConnected: (peer: PeerId) => boolean;
  /** Resolves when a connection is open; whether it lasts shows later. */
  readonly dial: (target: NetworkMember, signal: AbortSignal) => Promise<void>;
}

interface Attempt {
  failures: number;
  dialing: AbortController | undefined;
  cancelTimer: (() => void) | undefined;
}

/**
 * Dials the members that are not connected, each by at most one attempt at a time, with jittered backoff.
 * Call `refresh` whenever who is wanted or who is connected may have changed.
 */
export class Dialer {
  readonly #deps: DialerDependencies;
  readonly #attempts = new Map<PeerId, Attempt>();
  #stopped = false;

  constructor(dependencies: DialerDependencies) {
    this.#deps = dependencies;
  }

  /** Starts dialling who is missing and stops dialling who is not. */
  refresh(): void {
    if (this.#stopped) return;
    const missing = new Set<PeerId>();
    for (const { peerId, addresses } of this.#deps.wanted()) {
      if (addresses.length > 0 && !this.#deps.isConnected(peerId)) missing.add(peerId);
    }
    for (const [peer, attempt] of this.#attempts) if (!missing.has(peer)) this.#drop(peer, attempt);
    for (const peer of missing) if (!this.#attempts.has(peer)) this.#begin(peer);
  }

  /** Forgets the backoff of these peers: they are dialled anew at once. */
  retryNow(peers: Iterable<PeerId>): void {
    for (const peer of peers) {
      const attempt = this.#attempts.get(peer);
      if (attempt !== undefined && attempt.dialing === undefined) this.#drop(peer, attempt);
    }
    this.refresh();
  }

  stop(): void {
    this.#stopped = true;
    for (const [peer, attempt] of this.#attempts) this.#drop(peer, attempt);
  }

  #begin(peer: PeerId): void {
    const attempt: Attempt = { failures: 0, dialing: undefined, cancelTimer: undefined };
    this.#attempts.set(peer, attempt);
    const spreadMs = this.#deps.random.fraction() * firstDelayMsMax;
    this.#schedule(peer, attempt, this.#deps.localPeer < peer ? spreadMs : yieldDelayMs + spreadMs);
  }

  #schedule(peer: PeerId, attempt: Attempt, delayMs: number): void {
    attempt.cancelTimer = this.#deps.clock.setTimer(delayMs, () => void this.#run(peer, attempt));
  }

  async #run(peer: PeerId, attempt: Attempt): Promise<void> {
    const target = this.#deps.wanted().find((member) => member.peerId === peer);
    if (target === undefined || this.#deps.isConnected(peer)) {
      this.#drop(peer, attempt);
      return;
    }
    const controller = new AbortController();
    attempt.dialing = controller;
    attempt.cancelTimer = this.#deps.clock.setTimer(dialTimeoutMs, () => controller.abort());
    // An open connection proves nothing yet: a peer that refuses us closes it again. Backing off goes on
    // until the connection has been found good, when `refresh` drops this attempt.
    await this.#deps.dial(target, controller.signal).catch(() => undefined);
    attempt.dialing = undefined;
    attempt.cancelTimer?.();
    if (this.#attempts.get(peer) !== attempt) return;
    const delayMs = Math.min(retryDelayMsMax, retryDelayMsMin * 2 ** Math.min(attempt.failures, 16));
    attempt.failures += 1;
    this.#schedule(peer, attempt, delayMs * (0.5 + this.#deps.random.fraction() / 2));
  }

  #drop(peer: PeerId, attempt: Attempt): void {
    this.#attempts.delete(peer);
    attempt.cancelTimer?.();
    attempt.dialing?.abort();
  }
}
