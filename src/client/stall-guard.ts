/**
 * Fails a wait that sees no progress for too long. Only waiting for the other end counts: a person who
 * pauses a pager, or a slow program that feeds standard input, may take as long as they like.
 */
export class StallGuard {
  readonly #stallMsMax: number;
  readonly #onStall: () => void;

  constructor(stallMsMax: number, onStall: () => void) {
    this.#stallMsMax = stallMsMax;
    this.#onStall = onStall;
  }

  /** Waits for `progress`, and calls `onStall` (which must make it settle) when it takes too long. */
  async during<T>(progress: Promise<T>): Promise<T> {
    const timer = setTimeout(this.#onStall, this.#stallMsMax);
    try {
      return await progress;
    } finally {
      clearTimeout(timer);
    }
  }
}
