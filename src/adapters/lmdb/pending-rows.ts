import assert from 'node:assert/strict';
import { type KvKey, type KvRange, type KvReader, kvKeyBytesMax } from '../../ports/kv.ts';
import { SortedKeys } from './sorted-keys.ts';

/** A row that is written. */
export interface Row {
  readonly key: KvKey;
  /** Null deletes the key. */
  readonly value: Uint8Array | null;
}

type Entry = readonly [KvKey, Uint8Array];

/** What rows are laid over. */
export interface RowReader extends Pick<KvReader, 'range'> {
  /** Looks a key up whose text is known, since that costs as much as many a lookup. */
  lookup(text: string, key: KvKey): Uint8Array | undefined;
}

/** Greater than the text of any key, whose characters are bytes. */
const beyondEveryKey = '\u0100';

/** Lets a key that is looked up be read as text without a view of its own. */
const scratch = Buffer.allocUnsafeSlow(kvKeyBytesMax);

/** One character a byte: strings of these compare as their bytes do. */
export function keyText(key: KvKey): string {
  // The bounds of a range may be longer than any key.
  if (key.length > scratch.length) return Buffer.from(key).toString('latin1');
  scratch.set(key);
  return scratch.toString('latin1', 0, key.length);
}

/**
 * Rows that were written and are not in the database yet, one a key, which stand before what the database holds. They are put
 * in order when they are first listed, and kept so from then on.
 */
export class PendingRows {
  readonly #rows = new Map<string, Row>();
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

  /** By the text of its key. */
  get(text: string): Row | undefined {
    return this.#rows.get(text);
  }

  /** Keeps the row itself, whose bytes may not change from now on. */
  set(text: string, row: Row): void {
    const before = this.#rows.size;
    this.#changes += 1;
    this.#rows.set(text, row);
    this.#bytes += row.key.length + (row.value?.length ?? 0);
    if (this.#rows.size !== before) this.#sorted?.add(text);
  }

  delete(text: string): void {
    this.#changes += 1;
    if (this.#rows.delete(text)) this.#sorted?.remove(text);
  }

  entries(): Iterable<readonly [string, Row]> {
    return this.#rows.entries();
  }

  /** In the order they were first written. */
  rows(): Iterable<Row> {
    return this.#rows.values();
  }

  /** In the order of the range, its limit apart. None may be set or deleted before the last was taken. */
  *rowsIn({ start, end, reverse = false }: KvRange): Generator<Row> {
    if (this.#rows.size === 0) return;
    const changes = this.#changes;
    for (const text of this.#order().between(keyText(start), keyText(end), reverse)) {
      yield this.#rows.get(text) as Row;
      assert(this.#changes === changes, 'a range was read on after the store had changed');
    }
  }

  /** All of them in the order of their keys. */
  *inOrder(): Generator<Row> {
    for (const text of this.#order().between('', beyondEveryKey, false)) yield this.#rows.get(text) as Row;
  }

  #order(): SortedKeys {
    this.#sorted ??= new SortedKeys(this.#rows.keys());
    return this.#sorted;
  }
}

/** What a row says of its key, in memory of the caller's own. */
export function writtenValue({ value }: Row): Uint8Array | undefined {
  return value === null ? undefined : new Uint8Array(value);
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
  const taken = (row: Row): Entry[] => {
    const next = writes.next();
    write = next.done === true ? undefined : next.value;
    return entryOf(row);
  };
  for (const entry of stored) {
    let order = 1;
    while (write !== undefined) {
      order = direction * Buffer.compare(write.key, entry[0]);
      if (order >= 0) break;
      yield* taken(write);
    }
    // A row on the same key comes out ahead of the next entry, or at the end.
    if (write === undefined || order > 0) yield entry;
  }
  while (write !== undefined) yield* taken(write);
}

function entryOf(row: Row): Entry[] {
  const value = writtenValue(row);
  return value === undefined ? [] : [[new Uint8Array(row.key), value]];
}
