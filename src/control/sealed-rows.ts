import { createBlake3 } from '../../crdt/digest.ts';
import type { KvKey, KvReader, KvTransaction } from '../ports/kv.ts';
import { MeshError } from '../ports/mesh-error.ts';

/**
 * Rows of the control log carry the beginning of a BLAKE3 of their key and value, since the store's pages have no
 * checksums of their own: a bit that rotted, or a row in another's place, is noticed where it is read, and named.
 */
const sealBytes = 8;

export function putSealed(transaction: KvTransaction, key: KvKey, value: Uint8Array): void {
  const row = new Uint8Array(sealBytes + value.length);
  row.set(sealOf(key, value));
  row.set(value, sealBytes);
  transaction.put(key, row);
}

/** The row's value, or undefined when there is none. Throws `MeshError` `corrupt`, naming it, when it is damaged. */
export function getSealed(reader: KvReader, key: KvKey, what: string): Uint8Array | undefined {
  const row = reader.get(key);
  return row === undefined ? undefined : unsealed(key, row, what);
}

/** The value of a row that was read. Throws `MeshError` `corrupt`, naming it, when it is damaged. */
export function unsealed(key: KvKey, row: Uint8Array, what: string): Uint8Array {
  const value = row.subarray(sealBytes);
  const seal = sealOf(key, value);
  if (row.length < sealBytes || seal.some((byte, at) => byte !== row[at])) {
    throw damaged(what, 'its bytes are not the ones that were written');
  }
  return value;
}

export function damaged(what: string, why: string, cause?: unknown): MeshError {
  return new MeshError('corrupt', `${what} is damaged: ${why}`, { cause, detail: { row: what } });
}

function sealOf(key: KvKey, value: Uint8Array): Uint8Array {
  const hash = createBlake3();
  hash.update(key);
  hash.update(value);
  return hash.digest().subarray(0, sealBytes);
}
