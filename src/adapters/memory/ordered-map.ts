import { partitionPoint, placeOfText } from '../../../crdt/partition-point.ts';

/** A block is split in two beyond so many entries: small enough to copy on a write, large enough to be few. */
const blockEntriesMax = 64;

interface Block<V> {
  readonly keys: string[];
  readonly values: V[];
}

/**
 * An immutable map in key order: sorted blocks of entries, copied on write. A snapshot is a reference, and an
 * old version costs only the blocks that differ.
 */
export class OrderedMap<V> {
  readonly #blocks: readonly Block<V>[];

  private constructor(blocks: readonly Block<V>[]) {
    this.#blocks = blocks;
  }

  static empty<V>(): OrderedMap<V> {
    return new OrderedMap<V>([]);
  }

  get(key: string): V | undefined {
    const block = this.#blocks[this.#blockFor(key)];
    if (block === undefined) return undefined;
    const index = placeOfText(block.keys, key);
    return block.keys[index] === key ? block.values[index] : undefined;
  }

  with(key: string, value: V): OrderedMap<V> {
    const at = this.#blockFor(key);
    const block = this.#blocks[at];
    if (block === undefined) return new OrderedMap([{ keys: [key], values: [value] }]);
    const index = placeOfText(block.keys, key);
    const replaced = block.keys[index] === key ? 1 : 0;
    const keys = block.keys.slice();
    const values = block.values.slice();
    keys.splice(index, replaced, key);
    values.splice(index, replaced, value);
    return this.#replace(at, split({ keys, values }));
  }

  without(key: string): OrderedMap<V> {
    const at = this.#blockFor(key);
    const block = this.#blocks[at];
    const index = block === undefined ? -1 : placeOfText(block.keys, key);
    if (block === undefined || block.keys[index] !== key) return this;
    if (block.keys.length === 1) return this.#replace(at, []);
    return this.#replace(at, [{ keys: block.keys.toSpliced(index, 1), values: block.values.toSpliced(index, 1) }]);
  }

  /** Every entry in key order. */
  *[Symbol.iterator](): Generator<readonly [string, V]> {
    for (const { keys, values } of this.#blocks) {
      for (const [index, key] of keys.entries()) yield [key, values[index] as V];
    }
  }

  /** Entries with start ≤ key < end. */
  *range(start: string, end: string): Generator<readonly [string, V]> {
    for (let at = this.#blockFor(start); at < this.#blocks.length; at++) {
      const { keys, values } = this.#blocks[at] as Block<V>;
      for (let index = placeOfText(keys, start); index < keys.length; index++) {
        const key = keys[index] as string;
        if (key >= end) return;
        yield [key, values[index] as V];
      }
    }
  }

  /** Entries with start ≤ key < end, greatest first. */
  *rangeReverse(start: string, end: string): Generator<readonly [string, V]> {
    for (let at = this.#blockFor(end); at >= 0; at--) {
      const block = this.#blocks[at];
      if (block === undefined) continue;
      for (let index = placeOfText(block.keys, end) - 1; index >= 0; index--) {
        const key = block.keys[index] as string;
        if (key < start) return;
        yield [key, block.values[index] as V];
      }
    }
  }

  /**
   * True when both maps have the very same blocks where keys with start ≤ key < end are: then they have the same entries
   * there. False says nothing: a neighbour of these may have changed.
   */
  sharesRange(other: OrderedMap<V>, start: string, end: string): boolean {
    if (other === this) return true;
    let [at, otherAt] = [this.#blockFor(start), other.#blockFor(start)];
    for (;;) {
      const [block, otherBlock] = [this.#blockBefore(at++, end), other.#blockBefore(otherAt++, end)];
      if (block !== otherBlock) return false;
      if (block === undefined) return true;
    }
  }

  /** The block at an index; undefined past the last one and when all its keys are at `end` or beyond. */
  #blockBefore(at: number, end: string): Block<V> | undefined {
    const block = this.#blocks[at];
    return block === undefined || (block.keys[0] as string) >= end ? undefined : block;
  }

  /** The last block whose first key is not beyond the key; the first one when all are. */
  #blockFor(key: string): number {
    const blocks = this.#blocks;
    const after = partitionPoint(blocks.length, (at) => ((blocks[at] as Block<V>).keys[0] as string) <= key);
    return Math.max(0, after - 1);
  }

  #replace(at: number, blocks: readonly Block<V>[]): OrderedMap<V> {
    return new OrderedMap(this.#blocks.toSpliced(at, 1, ...blocks));
  }
}

function split<V>(block: Block<V>): Block<V>[] {
  if (block.keys.length <= blockEntriesMax) return [block];
  const half = block.keys.length >>> 1;
  return [
    { keys: block.keys.slice(0, half), values: block.values.slice(0, half) },
    { keys: block.keys.slice(half), values: block.values.slice(half) },
  ];
}
