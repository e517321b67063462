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

  /** What a look has shown beyond what was wanted. */
  saw(spareBytes: number): void {
    if (spareBytes >= ampleBytes) this.#untilMs = this.#monotonicMs() + believedMs;
  }
}
