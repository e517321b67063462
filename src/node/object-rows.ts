import type { DocId } from '../../crdt/ids.ts';
import { decodeRow, type ObjectRow } from './rows.ts';

/** Rows that are kept: as many as are in use at about the same time, and a power of two. */
const rowsKept = 512;
/** Those of objects with many heads are not kept. */
const rowBytesMax = 4_096;

interface Kept {
  /** A copy: what is read or written may be a view of a much larger buffer. */
  readonly bytes: Uint8Array;
  readonly row: ObjectRow;
}

/**
 * Objects' rows as they were read or written last, each beside the very bytes it is written as, so that none is ever stale: a
 * write reads the row of its object some five times on its way. A document's id is as good as random, so its first two
 * characters are its place, which it shares with others.
 */
export class ObjectRows {
  readonly #kept: (Kept | undefined)[] = new Array(rowsKept).fill(undefined);

  /** The row that the bytes say. */
  of(doc: DocId, bytes: Uint8Array): ObjectRow {
    const place = placeOf(doc);
    const kept = this.#kept[place];
    if (kept !== undefined && Buffer.compare(kept.bytes, bytes) === 0) return kept.row;
    const row = decodeRow<ObjectRow>(bytes, `object ${doc}`);
    if (bytes.length <= rowBytesMax) this.#kept[place] = { bytes: new Uint8Array(bytes), row };
    return row;
  }

  /** A row was written as these bytes. */
  wrote(doc: DocId, bytes: Uint8Array, row: ObjectRow): void {
    if (bytes.length <= rowBytesMax) this.#kept[placeOf(doc)] = { bytes: new Uint8Array(bytes), row };
  }
}

function placeOf(doc: DocId): number {
  return ((doc.charCodeAt(0) << 5) ^ doc.charCodeAt(1)) & (rowsKept - 1);
}
