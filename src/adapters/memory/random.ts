import { blake3, keyedBlake3 } from '../../../crdt/digest.ts';
import type { Random } from '../../ports/random.ts';

const text = new TextEncoder();

/**
 * A stream of numbers that follows from a seed alone (sfc32, Chris Doty-Humphrey's PractRand generator, its
 * state taken from a BLAKE3 key). `split` gives a stream that depends on the names on the way to it and not
 * on how much was drawn before, so one more draw in one place changes nothing elsewhere.
 */
export class SeededRandom implements Random {
  readonly #key: Uint8Array;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** From any text, or from 32 bytes. */
  constructor(seed: string | Uint8Array) {
    this.#key = seed instanceof Uint8Array ? seed : blake3(text.encode(seed));
    const words = new DataView(keyedBlake3(this.#key, text.encode('state')).slice().buffer);
    this.#a = words.getInt32(0, true);
    this.#b = words.getInt32(4, true);
    this.#c = words.getInt32(8, true);
    // The author's own warm-up, after which seeds that differ in one bit look unrelated.
    for (let round = 0; round < 12; round++) this.#next();
  }

  /** An independent stream of that name. */
  split(name: string): SeededRandom {
    return new SeededRandom(keyedBlake3(this.#key, text.encode(`split:${name}`)));
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let start = 0; start < length; start += 4) {
      const word = this.#next();
      for (let index = start; index < Math.min(start + 4, length); index++)
        bytes[index] = word >>> (8 * (index - start));
    }
    return bytes;
  }

  fraction(): number {
    return ((this.#next() >>> 5) * 2 ** 26 + (this.#next() >>> 6)) / 2 ** 53;
  }

  #next(): number {
    const result = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result;
  }
}
