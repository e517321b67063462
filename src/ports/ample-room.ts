/** A disk that has so much room beyond what is wanted is believed to have some for a while: nobody fills it meanwhile. */
const ampleBytes = 4 * 2 ** 30;
const believedMs = 250;

/** Spares a look at a disk's room before each write where there is plenty of it. */
export class AmpleRoom {
  readonly #monotonicMs: () => number;
  #untilMs = Number.NEGATIVE_INFINITY;

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  /** Whether there is room without a look. */
  get isThere(): boolean {
    return this.#monotonicMs() < this.#untilMs;
  }

  /** What a look has shown beyond what was wanted; the last one counts. */
  saw(spareBytes: number): void {
    this.#untilMs = spareBytes >= ampleBytes ? this.#monotonicMs() + believedMs : Number.NEGATIVE_INFINITY;
  }
}
