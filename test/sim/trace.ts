/** Lines kept to be shown when a run fails. */
const tailLinesMax = 60;

/**
 * What happened in a run, in order, as one number that changes when anything does: the same seed gives the same
 * hash or the run was not deterministic. The last lines are kept for whoever has to understand a failure.
 */
export class Trace {
  readonly #nowMs: () => number;
  readonly #tail: string[] = [];
  #onLine: ((line: string) => void) | undefined;
  // Two lanes of FNV-1a with different multipliers: together 64 bits, fast enough to see every event.
  #a = 0x811c9dc5;
  #b = 0x1b873593;
  #events = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Shows every line as it is written. */
  print(onLine: (line: string) => void): void {
    this.#onLine = onLine;
  }

  /** An event worth a line. */
  note(line: string): void {
    const stamped = `${this.#nowMs().toFixed(3).padStart(12)} ${line}`;
    this.mix(stamped);
    this.#tail.push(stamped);
    if (this.#tail.length > tailLinesMax) this.#tail.shift();
    this.#onLine?.(stamped);
  }

  /** An event that only counts for the hash: text, numbers (to the last bit that matters) or bytes. */
  mix(value: string | number | Uint8Array): void {
    this.#events += 1;
    if (typeof value === 'number') {
      this.#step(value | 0);
      this.#step((value * 4_096) | 0);
    } else if (typeof value === 'string') {
      for (let index = 0; index < value.length; index++) this.#step(value.charCodeAt(index));
    } else {
      for (const byte of value) this.#step(byte);
    }
  }

  get events(): number {
    return this.#events;
  }

  tail(): readonly string[] {
    return this.#tail;
  }

  hash(): string {
    return [this.#a, this.#b].map((lane) => (lane >>> 0).toString(16).padStart(8, '0')).join('');
  }

  #step(word: number): void {
    this.#a = Math.imul(this.#a ^ word, 0x01000193);
    this.#b = Math.imul((this.#b << 13) | (this.#b >>> 19), 5) ^ Math.imul(word, 0xcc9e2d51);
  }
}
