import type { KvKey, KvRange } from '../../ports/kv.ts';
import { keyText, laidOver, PendingRows, type Row, type RowReader, writtenValue } from './pending-rows.ts';

interface Undo {
  readonly text: string;
  readonly previous: Row | undefined;
}

/** A copy in memory that small ones share: memory of its own costs a small copy ten times as much. */
function copyOf(bytes: Uint8Array): Uint8Array {
  const copy = Buffer.allocUnsafe(bytes.length);
  copy.set(bytes);
  return copy;
}

/**
 * The writes of one batch before they are on disk, laid over what is. The transactions of a batch run one after the other on
 * it, each reading what the ones before it wrote; one that throws is rolled back here, where it costs nothing and touches no
 * other.
 */
export class WriteOverlay implements RowReader {
  #base: RowReader;
  readonly #undo: Undo[] = [];
  readonly rows = new PendingRows();

  constructor(base: RowReader) {
    this.#base = base;
  }

  /** Reads from another base from now on, which holds the same and what this one was laid over. */
  rebase(base: RowReader): void {
    this.#base = base;
  }

  get(key: KvKey): Uint8Array | undefined {
    return this.lookup(keyText(key), key);
  }

  lookup(text: string, key: KvKey): Uint8Array | undefined {
    const row = this.rows.get(text);
    return row === undefined ? this.#base.lookup(text, key) : writtenValue(row);
  }

  set(key: KvKey, value: Uint8Array | null): void {
    const text = keyText(key);
    const previous = this.rows.get(text);
    this.#undo.push({ text, previous });
    // Copies: the caller may reuse its buffers long before the batch is written.
    this.rows.set(text, { key: previous?.key ?? copyOf(key), value: value && copyOf(value) });
  }

  /** Where a transaction begins, to roll back to. */
  mark(): number {
    return this.#undo.length;
  }

  /** Forgets every write since the mark. */
  rollback(mark: number): void {
    while (this.#undo.length > mark) {
      const { text, previous } = this.#undo.pop() as Undo;
      if (previous !== undefined) this.rows.set(text, previous);
      else this.rows.delete(text);
    }
  }

  /** The entries as they are at this call: later writes do not show in an iteration that has begun. */
  range(range: KvRange): Iterable<readonly [KvKey, Uint8Array]> {
    return laidOver(this.#base, [...this.rows.rowsIn(range)], range);
  }
}
