import type { DocId } from '../../crdt/ids.ts';

interface Known {
  readonly row: Uint8Array;
  readonly digest: Uint8Array;
}

/**
 * Digests of objects' states, each beside the very row it was made from, so that none is ever stale. Every peer that
 * follows this node's feed asks for those of the newest changes, and this node for them when it follows theirs.
 */
export class StateDigests {
  readonly #entriesMax: number;
  readonly #known = new Map<DocId, Known>();

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  /** The digest of the state that an object's row says; `make` is asked when another row was seen last, or none. */
  of(doc: DocId, row: Uint8Array, make: () => Uint8Array): Uint8Array {
    const known = this.#known.get(doc);
    if (known !== undefined && Buffer.compare(known.row, row) === 0) return known.digest;
    const digest = make();
    this.#known.delete(doc);
    // A copy: the row may be a view of a larger buffer.
    this.#known.set(doc, { row: row.slice(), digest });
    if (this.#known.size > this.#entriesMax) this.#known.delete(this.#known.keys().next().value as DocId);
    return digest;
  }
}
