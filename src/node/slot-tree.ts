import type { Item, Prefix, TreeReader, TreeWriter } from '../../crdt/fingerprint-tree.ts';
import type { KvReader, KvTransaction } from '../ports/kv.ts';
import { rawDocOfSlotKey, slotRange, treeKey } from './storage-keys.ts';

/** The fingerprint tree of a slot as rows: items are documents and the digests of their states. */
export function slotTree(reader: KvReader, slot: number): TreeReader {
  return {
    node: (prefix) => reader.get(treeKey(slot, prefix)),
    items: (prefix) => itemsOf(reader, slot, prefix),
  };
}

/** The same within a transaction, which keeps it in step with the documents. */
export function slotTreeWriter(transaction: KvTransaction, slot: number): TreeWriter {
  return {
    ...slotTree(transaction, slot),
    putNode: (prefix, row) => transaction.put(treeKey(slot, prefix), row),
    deleteNode: (prefix) => transaction.delete(treeKey(slot, prefix)),
  };
}

function* itemsOf(reader: KvReader, slot: number, prefix: Prefix): Generator<Item> {
  for (const [key, value] of reader.range(slotRange(slot, prefix))) yield { key: rawDocOfSlotKey(key), value };
}
