import { rawHash, toBase32 } from '../../../crdt/digest.ts';
import type { DocId, NodeId } from '../../../crdt/ids.ts';
import type { KvKey, KvReader, KvTransaction } from '../../ports/kv.ts';
import { decodeRow, encodeRow } from '../rows.ts';
import { afterKey, successor } from '../storage-keys.ts';

/** Rooms of slots in the key-value store; bytes 0x78 to 0x7f belong to them. */
const room = { holdings: 0x78, owed: 0x79, guest: 0x7a } as const;

/** Which slots this node keeps and has whole, and what it has to hand over. */
interface HoldingsRow {
  /** Slots were placed here once, and not all of what is kept since is whole. */
  readonly isPlaced: boolean;
  readonly kept: readonly number[];
  readonly whole: readonly number[];
  /** Slots that are no longer kept, and the holders that are known to have all that is here of them. */
  readonly leaving: readonly (readonly [slot: number, holders: readonly NodeId[]])[];
}

/** A document that was written here, of a slot that others hold, and the holders that are known to have it. */
export interface OwedRow {
  /** The change it was owed from; a later one is owed to everybody again. */
  readonly change: number;
  readonly holders: readonly NodeId[];
}

export const holdingsRow = {
  get(reader: KvReader): HoldingsRow | undefined {
    const row = reader.get(holdingsKey);
    return row === undefined ? undefined : decodeRow<HoldingsRow>(row, 'holdings of slots');
  },

  put(transaction: KvTransaction, row: HoldingsRow): void {
    transaction.put(holdingsKey, encodeRow(row));
  },
} as const;

/** Documents this node owes to the holders of their slots, by slot. */
export const owedRows = {
  get(reader: KvReader, slot: number, doc: DocId): OwedRow | undefined {
    const row = reader.get(owedKey(slot, doc));
    return row === undefined ? undefined : decodeRow<OwedRow>(row, `debt of ${doc}`);
  },

  put(transaction: KvTransaction, slot: number, doc: DocId, row: OwedRow): void {
    transaction.put(owedKey(slot, doc), encodeRow(row));
  },

  delete(transaction: KvTransaction, slot: number, doc: DocId): void {
    transaction.delete(owedKey(slot, doc));
  },

  /** The documents owed of a slot, in the order of their ids, after one of them. */
  ofSlot(
    reader: KvReader,
    slot: number,
    { after, limit }: { readonly after?: DocId | undefined; readonly limit: number },
  ): { readonly doc: DocId; readonly row: OwedRow }[] {
    const prefix = Uint8Array.of(room.owed, slot >> 8, slot & 0xff);
    const start = after === undefined ? prefix : afterKey(owedKey(slot, after));
    return Array.from(reader.range({ start, end: successor(prefix), limit }), ([key, row]) => {
      const doc = toBase32(key.subarray(3)) as DocId;
      return { doc, row: decodeRow<OwedRow>(row, `debt of ${doc}`) };
    });
  },

  /** True when nothing is owed to anybody. */
  isEmpty(reader: KvReader): boolean {
    for (const _ of reader.range({ start: Uint8Array.of(room.owed), end: Uint8Array.of(room.owed + 1), limit: 1 })) {
      return false;
    }
    return true;
  },
} as const;

/** Documents that came here only because they were asked for here. */
export const guestRows = {
  has(reader: KvReader, doc: DocId): boolean {
    return reader.get(guestKey(doc)) !== undefined;
  },

  put(transaction: KvTransaction, doc: DocId): void {
    transaction.put(guestKey(doc), new Uint8Array(1));
  },

  delete(transaction: KvTransaction, doc: DocId): void {
    transaction.delete(guestKey(doc));
  },

  list(reader: KvReader): DocId[] {
    const range = { start: Uint8Array.of(room.guest), end: Uint8Array.of(room.guest + 1) };
    return Array.from(reader.range(range), ([key]) => toBase32(key.subarray(1)) as DocId);
  },
} as const;

const holdingsKey: KvKey = Uint8Array.of(room.holdings);

function owedKey(slot: number, doc: DocId): KvKey {
  return Buffer.concat([Uint8Array.of(room.owed, slot >> 8, slot & 0xff), rawHash(doc)]);
}

function guestKey(doc: DocId): KvKey {
  return Buffer.concat([Uint8Array.of(room.guest), rawHash(doc)]);
}
