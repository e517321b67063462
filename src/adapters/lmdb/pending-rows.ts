import assert from 'node:assert/strict';
import { keyOfText, keyText } from '../../ports/key-text.ts';
import type { KvKey, KvRange, KvReader } from '../../ports/kv.ts';
import { SortedKeys } from './sorted-keys.ts';

/** A row that is written: its key as text, see `keyText`, and its value; null deletes the key. */
export type Row = readonly [text: string, value: Uint8Array | null];

/** Rows that are gone through by calls, since an iteration makes an array of each. */
export type RowTable = Pick<ReadonlyMap<string, Uint8Array | null>, 'forEach'>;

type Entry = readonly [KvKey, Uint8Array];

/** What rows are laid over. */
export interface RowReader extends Pick<KvReader, 'range'> {
  /** Looks a key up whose text is known, since that costs as much as many a lookup. */
  lookup(text: string, key: KvKey): Uint8Array | undefined;
}

/** Greater than the text of any key, whose characters are bytes. */
const beyondEveryKey = '\u0100';

/**
 * Rows that were written and are not in the database yet, one a key, which stand before what the database holds. They are put
 * in order when they are first listed, and kept so from then on. Of each there is no more than its text and its value, since
 * tens of thousands wait, and each thing that waits is moved by the garbage collector.
 */
export class PendingRows implements Iterable<Row> {
  readonly #rows = new Map<string, Uint8Array | null>();
  #sorted: SortedKeys | undefined;
  #bytes = 0;
  #changes = 0;

  get size(): number {
    return this.#rows.size;
  }

  /** Bytes of keys and values that were set so far, overwritten ones included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What was written under the key of that text; undefined when nothing was, null when it was deleted. */
  get(text: string): Uint8Array | null | undefined {
    return this.#rows.get(text);
  }

  /** Keeps the value itself, whose bytes may not change from now on. */
  set(text: string, value: Uint8Array | null): void {
    const before = this.#rows.size;
    this.#changes += 1;
    this.#rows.set(text, value);
    this.#bytes += text.length + (value?.length ?? 0);
    if (this.#rows.size !== before) this.#sorted?.add(text);
  }

  delete(text: string): void {
    this.#changes += 1;
    if (this.#rows.delete(text)) this.#sorted?.remove(text);
  }

  /** In the order they were first written. */
  [Symbol.iterator](): Iterator<Row> {
    return this.#rows.entries();
  }

  /** In that order as well. */
  get table(): RowTable {
    return this.#rows;
  }

  /** In the order of the range, its limit apart. None may be set or deleted before the last was taken. */
  *rowsIn({ start, end, reverse = false }: KvRange): Generator<Row> {
    if (this.#rows.size === 0) return;
    const changes = this.#changes;
    for (const text of this.#order().between(keyText(start), keyText(end), reverse)) {
      yield this.#row(text);
      assert(this.#changes === changes, 'a range was read on after the store had changed');
    }
  }

  /** All of them in the order of their keys. */
  *inOrder(): Generator<Row> {
    for (const text of this.#order().between('', beyondEveryKey, false)) yield this.#row(text);
  }

  #row(text: string): Row {
    return [text, this.#rows.get(text) as Uint8Array | null];
  }

  #order(): SortedKeys {
    this.#sorted ??= new SortedKeys(this.#rows.keys());
    return this.#sorted;
  }
}

/** What a range holds once the rows, which are in its order, are laid over what the base has there. */
export function laidOver(base: Pick<KvReader, 'range'>, rows: Iterable<Row>, range: KvRange): Iterable<Entry> {
  const writes = rows[Symbol.iterator]();
  const first = writes.next();
  if (first.done === true) return base.range(range);
  const { limit, ...unlimited } = range;
  const merged = merge(base.range(unlimited), first.value, writes, range.reverse ? -1 : 1);
  return limit === undefined ? merged : merged.take(limit);
}

/** Both in the order of the range; where they meet on a key, the written row stands. */
function* merge(stored: Iterable<Entry>, first: Row, writes: Iterator<Row>, direction: 1 | -1): Generator<Entry> {
  let write: Row | undefined = first;
  let key = keyOfText(first[0]);
  const taken = (row: Row): Entry[] => {
    const next = writes.next();
    const entry = entryOf(key, row);
    write = next.done === true ? undefined : next.value;
    if (write !== undefined) key = keyOfText(write[0]);
    return entry;
  };
  for (const entry of stored) {
    let order = 1;
    while (write !== undefined) {
      order = direction * Buffer.compare(key, entry[0]);
      if (order >= 0) break;
      yield* taken(write);
    }
    // A row on the same key comes out ahead of the next entry, or at the end.
    if (write === undefined || order > 0) yield entry;
  }
  while (write !== undefined) yield* taken(write);
}

function entryOf(key: KvKey, [, value]: Row): Entry[] {
  return value === null ? [] : [[key, value]];
}
