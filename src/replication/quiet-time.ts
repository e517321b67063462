import type { Clock } from '../ports/clock.ts';

/** Contents have come to rest when none has been fetched for so long: the coordinators know of the last ones by then. */
const quietMs = 2_000;
/** What waits for that waits no longer than this, in however many attempts. */
const putOffMsMax = 30_000;

export interface QuietTimeDependencies {
  /** Monotonic point until which this node has been fetching contents, now while it is; undefined when it never was. */
  readonly fetchedUntilMs: () => number | undefined;
  readonly clock: Clock;
}

/** Lets work that needs disk and processor, and that nobody waits for, come after the contents that are being fetched. */
export class QuietTime {
  readonly #dependencies: QuietTimeDependencies;
  /** When the work that waits was put off first. */
  #putOffFromMs: number | undefined;

  constructor(dependencies: QuietTimeDependencies) {
    this.#dependencies = dependencies;
  }

  /** Nothing would be waited for now. */
  get isHere(): boolean {
    return this.#restMs() <= 0;
  }

  /** Resolves once nothing has been fetched for a while, or with false when the signal is aborted first. Never rejects. */
  async come(signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#dependencies;
    for (let restMs = this.#restMs(); restMs > 0; restMs = this.#restMs()) {
      this.#putOffFromMs ??= clock.monotonicMs();
      await clock.sleep(restMs, signal).catch(() => undefined);
      if (signal.aborted) return false;
    }
    this.#putOffFromMs = undefined;
    return true;
  }

  #restMs(): number {
    const { fetchedUntilMs, clock } = this.#dependencies;
    const nowMs = clock.monotonicMs();
    const untilMs = (fetchedUntilMs() ?? Number.NEGATIVE_INFINITY) + quietMs;
    return Math.min(untilMs, (this.#putOffFromMs ?? nowMs) + putOffMsMax) - nowMs;
  }
}
