import assert from 'node:assert/strict';

/** Smaller buffers are cheaper to make afresh than to keep. */
const pooledBytesMin = 64 * 1024;
/** Memory that waits to be used again. */
const idleBytesMax = 16 * 1024 * 1024;

/**
 * Buffers that are used again. A fresh one of a chunk's size costs more than filling it: the system zeroes its
 * pages at their first touch, and the garbage collector runs the more often the more of them there are.
 * Whoever takes a buffer may keep it for good instead of giving it back.
 */
export class BufferPool {
  /** By size, which is a power of two. */
  readonly #idle = new Map<number, ArrayBuffer[]>();
  /** Those that may be given back. */
  readonly #lent = new WeakSet<ArrayBuffer>();
  #idleBytes = 0;

  /** A buffer of exactly `length` bytes, whose content is whatever was there before: it is to be filled wholly. */
  take(length: number): Uint8Array<ArrayBuffer> {
    if (length < pooledBytesMin) return new Uint8Array(length);
    const capacity = 2 ** Math.ceil(Math.log2(length));
    let buffer = this.#idle.get(capacity)?.pop();
    if (buffer === undefined) buffer = new ArrayBuffer(capacity);
    else this.#idleBytes -= capacity;
    this.#lent.add(buffer);
    return new Uint8Array(buffer, 0, length);
  }

  /** Whether `take` made this memory, and nobody has given it back since. */
  isLent({ buffer }: Uint8Array): boolean {
    return buffer instanceof ArrayBuffer && this.#lent.has(buffer);
  }

  /** Takes a buffer back that `take` has made, once: nobody may read or write it any more. */
  give({ buffer, length }: Uint8Array): void {
    if (length < pooledBytesMin) return;
    assert(
      buffer instanceof ArrayBuffer && this.#lent.delete(buffer),
      'a buffer is given back once, to the pool it came from',
    );
    const capacity = buffer.byteLength;
    // What was of use before makes room for what is of use now.
    for (const [size, idle] of this.#idle) {
      while (size !== capacity && this.#idleBytes + capacity > idleBytesMax && idle.pop() !== undefined)
        this.#idleBytes -= size;
    }
    if (this.#idleBytes + capacity > idleBytesMax) return;
    this.#idleBytes += capacity;
    const idle = this.#idle.get(capacity);
    if (idle === undefined) this.#idle.set(capacity, [buffer]);
    else idle.push(buffer);
  }
}
