import type { TreeReader, TreeWriter } from '../../crdt/fingerprint-tree.ts';
import type { KvReader, KvTransaction } from '../ports/kv.ts';
import { treeKey } from './storage-keys.ts';

/** The fingerprint tree of a slot as rows: its items are documents and the digests of their states. */
export function slotTree(reader: KvReader, slot: number): TreeReader {
  return { row: (prefix) => reader.get(treeKey(slot, prefix)) };
}

/** The same within a transaction, which keeps it in step with the documents. */
export function slotTreeWriter(transaction: KvTransaction, slot: number): TreeWriter {
  return {
    ...slotTree(transaction, slot),
    putRow: (prefix, row) => transaction.put(treeKey(slot, prefix), row),
    deleteRow: (prefix) => transaction.delete(treeKey(slot, prefix)),
  };
}
