interface Waiter {
  readonly bytes: number;
  grant(): void;
}

/** Shares a bounded number of bytes among many takers, first come, first served. */
export class ByteBudget {
  readonly #bytesMax: number;
  #takenBytes = 0;
  readonly #waiting: Waiter[] = [];

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /**
   * Takes `bytes`, waiting until they are free; more than there are altogether is granted once nothing else is
   * taken. Resolves with the function that gives them back, to be called once.
   */
  async take(bytes: number): Promise<() => void> {
    if (this.#waiting.length > 0 || !this.#fits(bytes)) {
      await new Promise<void>((grant) => this.#waiting.push({ bytes, grant }));
    } else {
      this.#takenBytes += bytes;
    }
    return () => {
      this.#takenBytes -= bytes;
      this.#grantNext();
    };
  }

  #fits(bytes: number): boolean {
    return this.#takenBytes === 0 || this.#takenBytes + bytes <= this.#bytesMax;
  }

  #grantNext(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#takenBytes += next.bytes;
      next.grant();
    }
  }
}
