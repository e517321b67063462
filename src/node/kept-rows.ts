import type { DocId } from '../../crdt/ids.ts';
import { decodeRow, encodeRow } from './rows.ts';

/** Rows that are kept: as many as are in use at about the same time, and a power of two. */
const rowsKept = 512;
/** Longer ones, as those of objects with many heads, are not kept. */
const rowBytesMax = 4_096;

interface Kept<Row> {
  /** A copy: what is read or written may be a view of a much larger buffer. */
  readonly bytes: Uint8Array;
  readonly row: Row;
}

/**
 * Rows of one kind, one a document, as they were read or written last, each beside the very bytes it is written as, so that
 * none is ever stale: a write reads the row of its object some five times on its way, and that of its certificate. A document's id
 * is as good as random, so its first two characters are its place, which it shares with others. Nobody changes a row he was given.
 */
export class KeptRows<Row extends object> {
  readonly #kind: string;
  readonly #kept: (Kept<Row> | undefined)[] = new Array(rowsKept).fill(undefined);

  /** @param kind what the rows are, in the words of a failure */
  constructor(kind: string) {
    this.#kind = kind;
  }

  /** The row that the bytes say. Throws `MeshError` `corrupt` when they say none. */
  read(doc: DocId, bytes: Uint8Array): Row {
    const row = this.look(doc, bytes);
    if (this.#kept[placeOf(doc)]?.row !== row) this.#keep(doc, bytes, row);
    return row;
  }

  /** The same, for who goes through many, each once: nothing is kept for it, and what is kept stays. */
  look(doc: DocId, bytes: Uint8Array): Row {
    const kept = this.#kept[placeOf(doc)];
    if (kept !== undefined && Buffer.compare(kept.bytes, bytes) === 0) return kept.row;
    return decodeRow<Row>(bytes, `${this.#kind} ${doc}`);
  }

  /** The bytes to write a row as. */
  write(doc: DocId, row: Row): Uint8Array {
    const bytes = encodeRow(row);
    this.#keep(doc, bytes, row);
    return bytes;
  }

  #keep(doc: DocId, bytes: Uint8Array, row: Row): void {
    if (bytes.length <= rowBytesMax) this.#kept[placeOf(doc)] = { bytes: new Uint8Array(bytes), row };
  }
}

function placeOf(doc: DocId): number {
  return ((doc.charCodeAt(0) << 5) ^ doc.charCodeAt(1)) & (rowsKept - 1);
}
