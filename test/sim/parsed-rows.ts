import { rawHash } from '../../crdt/digest.ts';
import type { DocId } from '../../crdt/ids.ts';
import type { CertificateRow } from '../../src/node/confirmation/certificate-rows.ts';
import type { KvKey, KvReader } from '../../src/ports/kv.ts';

/** The room of objects' certificates, see `certificateRows`. */
export const certificateRoom = 0x63;

/**
 * Several checkers look at what one transaction wrote, and again once all is quiet. The simulated store hands out one array
 * for one value and never changes it.
 */
const parsed = new WeakMap<Uint8Array, unknown>();

/** A row of JSON, or undefined when there is none. */
export function parsedRow<Row>(store: KvReader, key: KvKey): Row | undefined {
  const bytes = store.get(key);
  return bytes === undefined ? undefined : parsedText<Row>(bytes);
}

/** A row's value, read from its JSON. */
export function parsedText<Row>(bytes: Uint8Array): Row {
  let row = parsed.get(bytes);
  if (row === undefined) {
    row = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')) as unknown;
    parsed.set(bytes, row);
  }
  return row as Row;
}

/** An object's certificates, or undefined when there are none. */
export function certificatesOf(store: KvReader, doc: DocId): CertificateRow | undefined {
  return parsedRow(store, Uint8Array.of(certificateRoom, ...rawHash(doc)));
}
