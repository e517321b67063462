import assert from 'node:assert/strict';
import { checkKey, keyOfText, keyText } from '../../ports/key-text.ts';
import type { KvKey, KvRange, KvReader, KvTransaction } from '../../ports/kv.ts';
import { Slabs } from '../../ports/slabs.ts';
import type { OrderedMap } from './ordered-map.ts';

/**
 * Keys as text of one character a byte, which compares as the bytes do. A value is never changed in place, so it is handed
 * out as it is, and the next read gives the very same array.
 */
export type Contents = OrderedMap<Uint8Array>;

/** The change applied to immutable contents: thrown away when it throws, and nothing to undo. */
export function runChange<T>(
  before: Contents,
  change: (transaction: KvTransaction) => T,
): { result: T; contents: Contents } {
  let contents = before;
  let open = true;
  const check = (key?: KvKey): void => {
    assert(open, 'a transaction was used after it ended');
    if (key !== undefined) checkKey(key);
  };
  try {
    const result = change({
      get: (key) => {
        check(key);
        return contents.get(keyText(key));
      },
      range: (range) => {
        check();
        return rangeOf(contents, range);
      },
      put: (key, value) => {
        check(key);
        contents = contents.with(keyText(key), slabs.copyOf(value));
      },
      delete: (key) => {
        check(key);
        contents = contents.without(keyText(key));
      },
    });
    assert(!(result instanceof Promise), 'a transaction is synchronous: it may not return a promise');
    return { result, contents };
  } finally {
    open = false;
  }
}

/** The change, noting in `keys` what it puts and deletes. */
export function recording<T>(change: (transaction: KvTransaction) => T, keys: KvKey[]): typeof change {
  return (transaction) =>
    change({
      ...transaction,
      put: (key, value) => {
        transaction.put(key, value);
        keys.push(key.slice());
      },
      delete: (key) => {
        transaction.delete(key);
        keys.push(key.slice());
      },
    });
}

/** Contents to be read as a store is. */
export function readerOf(contents: Contents): KvReader {
  return {
    get: (key) => contents.get(keyText(key)),
    range: (range) => rangeOf(contents, range),
  };
}

/** The entries as they are at this call. */
export function* rangeOf(contents: Contents, range: KvRange): Generator<readonly [KvKey, Uint8Array]> {
  let left = range.limit ?? Number.POSITIVE_INFINITY;
  if (left <= 0) return;
  const start = keyText(range.start);
  const end = keyText(range.end);
  for (const [text, value] of range.reverse ? contents.rangeReverse(start, end) : contents.range(start, end)) {
    yield [keyOfText(text), value];
    if (--left <= 0) return;
  }
}

/** Of all contents: a simulation makes many small ones. */
const slabs = new Slabs();

/** The value with the bit at that fraction of its length flipped. */
export function withBitFlipped(value: Uint8Array, where: number): Uint8Array {
  const flipped = new Uint8Array(value);
  const bit = Math.floor(where * value.length * 8);
  flipped[bit >>> 3] = (flipped[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
  return flipped;
}
