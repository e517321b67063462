/** Small values share slabs of memory: memory of its own costs each more than its bytes do. */
const slabBytes = 32_768;
const slabValueBytesMax = 4_096;

/** Copies of values for a store that keeps them for a while, and never changes one. */
export class Slabs {
  #slab = new Uint8Array(slabBytes);
  #used = 0;

  /** A copy that is the store's own. */
  copyOf(value: Uint8Array): Uint8Array {
    const { length } = value;
    if (length > slabValueBytesMax) return new Uint8Array(value);
    if (this.#used + length > slabBytes) {
      this.#slab = new Uint8Array(slabBytes);
      this.#used = 0;
    }
    const copy = this.#slab.subarray(this.#used, this.#used + length);
    copy.set(value);
    this.#used += length;
    return copy;
  }
}
