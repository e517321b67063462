import { type KvKey, type KvRange, type KvReader, kvKeyBytesMax } from '../../ports/kv.ts';

interface Write {
  readonly key: KvKey;
  /** Null deletes the key. */
  readonly value: Uint8Array | null;
}

interface Undo {
  readonly keyText: string;
  readonly previous: Write | undefined;
}

/** Lets a key that is looked up be read as text without a view of its own. */
const scratch = Buffer.allocUnsafeSlow(kvKeyBytesMax);

/** One character a byte: strings of these compare as their bytes do. */
function keyText(key: KvKey): string {
  // The bounds of a range may be longer than any key.
  if (key.length > scratch.length) return Buffer.from(key).toString('latin1');
  scratch.set(key);
  return scratch.toString('latin1', 0, key.length);
}

/** A copy in memory that small ones share: memory of its own costs a small copy ten times as much. */
function copyOf(bytes: Uint8Array): Uint8Array {
  const copy = Buffer.allocUnsafe(bytes.length);
  copy.set(bytes);
  return copy;
}

/**
 * The writes of one batch before they are handed to LMDB, laid over what the database holds. The transactions
 * of a batch run one after the other on it, each reading what the ones before it wrote; one that throws is
 * rolled back here, where it costs nothing and touches no other.
 */
export class WriteOverlay {
  #base: KvReader;
  readonly #writes = new Map<string, Write>();
  readonly #undo: Undo[] = [];
  /** The keys in order, kept from the first range on. */
  #sorted: string[] | undefined;
  #bytes = 0;

  constructor(base: KvReader) {
    this.#base = base;
  }

  /** Reads from another base from now on, which holds the same and what this one was laid over. */
  rebase(base: KvReader): void {
    this.#base = base;
  }

  get size(): number {
    return this.#writes.size;
  }

  /** Bytes of keys and values written so far, overwritten ones included. */
  get bytes(): number {
    return this.#bytes;
  }

  writes(): Iterable<Write> {
    return this.#writes.values();
  }

  get(key: KvKey): Uint8Array | undefined {
    const write = this.#writes.get(keyText(key));
    if (write === undefined) return this.#base.get(key);
    return write.value === null ? undefined : new Uint8Array(write.value);
  }

  set(key: KvKey, value: Uint8Array | null): void {
    const text = keyText(key);
    const previous = this.#writes.get(text);
    this.#undo.push({ keyText: text, previous });
    // Copies: the caller may reuse its buffers long before the batch is written.
    this.#writes.set(text, { key: previous?.key ?? copyOf(key), value: value && copyOf(value) });
    this.#bytes += key.length + (value?.length ?? 0);
    if (previous === undefined && this.#sorted !== undefined) {
      this.#sorted.splice(firstAtLeast(this.#sorted, text), 0, text);
    }
  }

  /** Where a transaction begins, to roll back to. */
  mark(): number {
    return this.#undo.length;
  }

  /** Forgets every write since the mark. */
  rollback(mark: number): void {
    while (this.#undo.length > mark) {
      const undo = this.#undo.pop() as Undo;
      if (undo.previous !== undefined) this.#writes.set(undo.keyText, undo.previous);
      else this.#writes.delete(undo.keyText);
    }
    this.#sorted = undefined;
  }

  /** The entries as they are at this call: later writes do not show in an iteration that has begun. */
  range(range: KvRange): Iterable<readonly [KvKey, Uint8Array]> {
    const writes = this.#writesIn(range);
    if (writes.length === 0) return this.#base.range(range);
    const { limit, ...unlimited } = range;
    const merged = merge(this.#base.range(unlimited), writes, range.reverse ? -1 : 1);
    return limit === undefined ? merged : merged.take(limit);
  }

  #writesIn(range: KvRange): Write[] {
    if (this.#writes.size === 0) return [];
    this.#sorted ??= [...this.#writes.keys()].sort();
    const first = firstAtLeast(this.#sorted, keyText(range.start));
    const end = firstAtLeast(this.#sorted, keyText(range.end));
    const writes = this.#sorted.slice(first, end).map((text) => this.#writes.get(text) as Write);
    return range.reverse ? writes.reverse() : writes;
  }
}

/** Both in the order of the range; where they meet on a key, the write stands. */
function* merge(
  stored: Iterable<readonly [KvKey, Uint8Array]>,
  writes: readonly Write[],
  direction: 1 | -1,
): Generator<readonly [KvKey, Uint8Array]> {
  let next = 0;
  for (const entry of stored) {
    let order = 1;
    while (next < writes.length) {
      const write = writes[next] as Write;
      order = direction * Buffer.compare(write.key, entry[0]);
      if (order >= 0) break;
      yield* entryOf(write);
      next++;
    }
    // A write on the same key comes out ahead of the next entry, or at the end.
    if (next === writes.length || order > 0) yield entry;
  }
  for (; next < writes.length; next++) yield* entryOf(writes[next] as Write);
}

function entryOf({ key, value }: Write): [] | [readonly [KvKey, Uint8Array]] {
  return value === null ? [] : [[new Uint8Array(key), new Uint8Array(value)]];
}

function firstAtLeast(sorted: readonly string[], text: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as string) < text) low = middle + 1;
    else high = middle;
  }
  return low;
}
