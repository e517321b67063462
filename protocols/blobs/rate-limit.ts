import type { PeerId } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';

/**
 * The least rate that may be set, in bytes a second. Below it, transfers that are merely slow could not be told from
 * peers that have stopped: with eight of them, each still gets a step of credit in half the time it may take.
 */
export const rateLimitMin = 128 * 1024;
/** The largest piece in which a limited stream sends: little enough that others get their turn often. */
export const limitedPieceBytes = 16 * 1024;
/** What may pass at once after a pause: a tenth of a second's worth. */
const burstSeconds = 0.1;

interface Waiter {
  readonly bytes: number;
  grant(): void;
}

/** Peers whose share is remembered; those that had no more than the others are forgotten first. */
const sharesMax = 256;

/**
 * A token bucket that peers share fairly: however much one of them asks for, each that waits gets the same number of
 * bytes. Memory is bounded by the callers, each of which waits for one grant at a time.
 */
export class RateLimiter {
  readonly #clock: Clock;
  readonly #bytesPerMs: number;
  readonly #burstBytes: number;
  readonly #queues = new Map<PeerId, Waiter[]>();
  /** Bytes granted to a peer while others waited, raised to theirs when it comes back after a pause: the least goes next. */
  readonly #shares = new Map<PeerId, number>();
  /** May be negative: a grant is made as soon as there is anything, and what it took too much is waited for afterwards. */
  #tokens: number;
  #filledAtMs: number;
  #leastShare = 0;
  #cancelTimer: (() => void) | undefined;
  #closed = false;

  /** @param bytesPerSecond at least `rateLimitMin` */
  constructor(clock: Clock, bytesPerSecond: number) {
    if (!(bytesPerSecond >= rateLimitMin)) throw new RangeError(`a rate is at least ${rateLimitMin} bytes a second`);
    this.#clock = clock;
    this.#bytesPerMs = bytesPerSecond / 1_000;
    this.#burstBytes = bytesPerSecond * burstSeconds;
    this.#tokens = this.#burstBytes;
    this.#filledAtMs = clock.monotonicMs();
  }

  /** True while somebody waits. */
  get isBehind(): boolean {
    return this.#queues.size > 0;
  }

  /** Undefined when so many bytes may pass now, else a promise of the moment when they may. */
  take(peer: PeerId, bytes: number): Promise<void> | undefined {
    if (this.#closed) return undefined;
    this.#fill();
    if (this.#queues.size === 0 && this.#tokens > 0) {
      this.#tokens -= bytes;
      return undefined;
    }
    return new Promise((grant) => {
      const waiting = this.#queues.get(peer);
      if (waiting === undefined) this.#enter(peer, { bytes, grant });
      else waiting.push({ bytes, grant });
      this.#arm();
    });
  }

  /** Lets everybody pass from now on. */
  close(): void {
    this.#closed = true;
    this.#cancelTimer?.();
    for (const waiting of this.#queues.values()) for (const { grant } of waiting) grant();
    this.#queues.clear();
  }

  #enter(peer: PeerId, waiter: Waiter): void {
    this.#queues.set(peer, [waiter]);
    this.#shares.set(peer, Math.max(this.#shares.get(peer) ?? 0, this.#leastShare));
    if (this.#shares.size <= sharesMax) return;
    for (const [other, share] of this.#shares) {
      if (share <= this.#leastShare && !this.#queues.has(other)) this.#shares.delete(other);
    }
  }

  #fill(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#tokens = Math.min(this.#burstBytes, this.#tokens + (nowMs - this.#filledAtMs) * this.#bytesPerMs);
    this.#filledAtMs = nowMs;
  }

  #arm(): void {
    if (this.#cancelTimer !== undefined) return;
    // Past the point, so that rounding never leaves nothing to grant.
    const delayMs = Math.max(0, -this.#tokens / this.#bytesPerMs) + 1;
    this.#cancelTimer = this.#clock.setTimer(delayMs, () => {
      this.#cancelTimer = undefined;
      this.#fill();
      while (this.#tokens > 0 && this.#grantNext());
      if (this.#queues.size > 0) this.#arm();
    });
  }

  #grantNext(): boolean {
    let next: PeerId | undefined;
    let nextShare = Number.POSITIVE_INFINITY;
    for (const peer of this.#queues.keys()) {
      const share = this.#shares.get(peer) ?? 0;
      if (share >= nextShare) continue;
      next = peer;
      nextShare = share;
    }
    const waiting = next === undefined ? undefined : this.#queues.get(next);
    const waiter = waiting?.shift();
    if (next === undefined || waiter === undefined) return false;
    if (waiting?.length === 0) this.#queues.delete(next);
    this.#leastShare = nextShare;
    this.#shares.set(next, nextShare + waiter.bytes);
    this.#tokens -= waiter.bytes;
    waiter.grant();
    return true;
  }
}
