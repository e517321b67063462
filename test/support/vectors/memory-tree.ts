import { type Item, type Prefix, setItems, type TreeWriter } from '../../../crdt/fingerprint-tree.ts';

/** The hash tree of a set of items. */
export class MemoryTree implements TreeWriter {
  readonly #rows = new Map<string, Uint8Array>();

  static of(items: readonly Item[]): MemoryTree {
    const tree = new MemoryTree();
    setItems(
      tree,
      [...items].sort((left, right) => Buffer.compare(left.key, right.key)),
    );
    return tree;
  }

  row(prefix: Prefix): Uint8Array | undefined {
    return this.#rows.get(prefix.join());
  }

  putRow(prefix: Prefix, row: Uint8Array): void {
    this.#rows.set(prefix.join(), row);
  }

  deleteRow(prefix: Prefix): void {
    this.#rows.delete(prefix.join());
  }
}
