import { keyText } from '../../ports/key-text.ts';
import type { KvKey, KvRange } from '../../ports/kv.ts';
import { Slabs } from '../../ports/slabs.ts';
import { laidOver, PendingRows, type RowReader } from './pending-rows.ts';

interface Undo {
  readonly text: string;
  readonly previous: Uint8Array | null | undefined;
}

/** Of all overlays: what one keeps is on disk soon. */
const slabs = new Slabs();

/**
 * The writes of one batch before they are on disk, laid over what is. The transactions of a batch run one after the other on
 * it, each reading what the ones before it wrote; one that throws is rolled back here, where it costs nothing and touches no
 * other. A value is never changed in place, so it is handed out as it is.
 */
export class WriteOverlay implements RowReader {
  #base: RowReader;
  /** Of the transaction that is run, or was run last. */
  #undo: Undo[] = [];
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
    const written = this.rows.get(text);
    return written === undefined ? this.#base.lookup(text, key) : (written ?? undefined);
  }

  set(key: KvKey, value: Uint8Array | null): void {
    const text = keyText(key);
    this.#undo.push({ text, previous: this.rows.get(text) });
    // A copy: the caller may reuse its buffers long before the batch is written.
    this.rows.set(text, value && slabs.copyOf(value));
  }

  /** A transaction begins: what came before it stays. */
  begin(): void {
    this.#undo = [];
  }

  /** Forgets every write since the transaction began. */
  rollback(): void {
    for (const { text, previous } of this.#undo.splice(0).reverse()) {
      if (previous !== undefined) this.rows.set(text, previous);
      else this.rows.delete(text);
    }
  }

  /** The entries as they are at this call: later writes do not show in an iteration that has begun. */
  range(range: KvRange): Iterable<readonly [KvKey, Uint8Array]> {
    return laidOver(this.#base, [...this.rows.rowsIn(range)], range);
  }
}
