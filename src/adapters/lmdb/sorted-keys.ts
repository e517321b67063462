import { partitionPoint, placeOfText } from '../../../crdt/partition-point.ts';

/** A block is cut in two beyond so many keys: few enough that one more is moved in quickly, many enough that blocks are few. */
const blockKeysMax = 512;

/** Keys as text, in order. One more costs two binary searches and the move of half a block. */
export class SortedKeys {
  /** None is empty, and every key of one lies before every key of the next. */
  readonly #blocks: string[][] = [];

  constructor(keys: Iterable<string>) {
    const sorted = [...keys].sort();
    for (let at = 0; at < sorted.length; at += blockKeysMax / 2) {
      this.#blocks.push(sorted.slice(at, at + blockKeysMax / 2));
    }
  }

  /** Adds a key that is not there. */
  add(key: string): void {
    const at = this.#blockOf(key);
    const block = this.#blocks[at];
    if (block === undefined) {
      this.#blocks.push([key]);
      return;
    }
    block.splice(placeOfText(block, key), 0, key);
    if (block.length > blockKeysMax) this.#blocks.splice(at + 1, 0, block.splice(blockKeysMax / 2));
  }

  /** Removes a key that is there. */
  remove(key: string): void {
    const at = this.#blockOf(key);
    const block = this.#blocks[at] as string[];
    block.splice(placeOfText(block, key), 1);
    if (block.length === 0) this.#blocks.splice(at, 1);
  }

  /** The keys with start ≤ key < end, the greatest first when `reverse`. None may be added or removed meanwhile. */
  *between(start: string, end: string, reverse: boolean): Generator<string> {
    const step = reverse ? -1 : 1;
    for (let at = this.#blockOf(reverse ? end : start); at >= 0; at += step) {
      const block = this.#blocks[at];
      if (block === undefined) return;
      const first = placeOfText(block, start);
      const last = placeOfText(block, end) - 1;
      for (let index = reverse ? last : first; index >= first && index <= last; index += step) {
        yield block[index] as string;
      }
      // What lies beyond this block lies beyond the range.
      if (reverse ? first > 0 : last < block.length - 1) return;
    }
  }

  /** The last block whose first key is not beyond the key; the first one when all are. */
  #blockOf(key: string): number {
    const blocks = this.#blocks;
    const after = partitionPoint(blocks.length, (at) => ((blocks[at] as string[])[0] as string) <= key);
    return Math.max(0, after - 1);
  }
}
