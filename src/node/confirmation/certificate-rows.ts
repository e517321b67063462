import type { Certificate } from '../../../crdt/certificate.ts';
import { rawHash } from '../../../crdt/digest.ts';
import type { DocId } from '../../../crdt/ids.ts';
import type { KvKey, KvReader, KvTransaction } from '../../ports/kv.ts';
import { KeptRows } from '../kept-rows.ts';
import { decodeRow, encodeRow } from '../rows.ts';

/** Rooms of confirmation in the key-value store, in the range of the quorum register's. */
const room = { certificate: 0x63, cursor: 0x64 } as const;

/** What is kept of an object's confirmed chain: its end, and while that is not here, the last link that is. */
export interface CertificateRow {
  /** The certificate that supersedes every other one known. */
  readonly latest: Certificate;
  /** While the latest one's head is not here: the greatest one whose head is. */
  readonly earlier?: Certificate;
}

const kept = new KeptRows<CertificateRow>('certificate of');

/** The certificates of objects, one row each. */
export const certificateRows = {
  get(reader: KvReader, doc: DocId): CertificateRow | undefined {
    const row = reader.get(keyOf(doc));
    return row === undefined ? undefined : kept.read(doc, row);
  },

  put(transaction: KvTransaction, doc: DocId, row: CertificateRow): void {
    transaction.put(keyOf(doc), kept.write(doc, row));
  },

  delete(transaction: KvTransaction, doc: DocId): void {
    transaction.delete(keyOf(doc));
  },
} as const;

/** The change up to which no object waits for its confirmation by this node. */
export const confirmationCursor = {
  get(reader: KvReader): number {
    const row = reader.get(cursorKey);
    return row === undefined ? 0 : decodeRow<{ readonly change: number }>(row, 'confirmation cursor').change;
  },

  put(transaction: KvTransaction, change: number): void {
    transaction.put(cursorKey, encodeRow({ change }));
  },
} as const;

const cursorKey: KvKey = Uint8Array.of(room.cursor);

function keyOf(doc: DocId): KvKey {
  const key = new Uint8Array(33);
  key[0] = room.certificate;
  key.set(rawHash(doc), 1);
  return key;
}
