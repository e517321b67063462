import { fromBase32, hashBytes, toBase32 } from '../../../crdt/digest.ts';
import type { BlobHash, VersionId } from '../../../crdt/ids.ts';
import type { KvKey } from '../../ports/kv.ts';

/**
 * The content plane's rooms in the key-value store: leading bytes 0x40 to 0x4f are its own. Hashes are their
 * 32 bytes, integers are big-endian.
 */
const room = {
  /** hash → bytes of a small blob; a manifest's hash and one more byte → marker that the content is here whole. */
  blob: 0x40,
  /** sequence number → job. */
  job: 0x42,
  /** hash → sequence number of its job. */
  jobIndex: 0x43,
  /** manifest hash, version id → who is told when the content is here. */
  subject: 0x44,
  /** Next sequence number and number of jobs. */
  jobCounts: 0x45,
  /** hash → bytes of a small blob that no longer matched it, kept for inspection. */
  quarantine: 0x46,
} as const;

const sequenceBytes = 8;

export function blobKey(hash: BlobHash): KvKey {
  return hashKey(room.blob, hash);
}

/** Right after the manifest, so that both are written to one page. */
export function completeKey(manifest: BlobHash): KvKey {
  const key = new Uint8Array(1 + hashBytes + 1);
  key.set(hashKey(room.blob, manifest));
  return key;
}

export function jobKey(sequence: number): KvKey {
  const key = new Uint8Array(1 + sequenceBytes);
  key[0] = room.job;
  new DataView(key.buffer).setBigUint64(1, BigInt(sequence));
  return key;
}

export function sequenceOfJobKey(key: KvKey): number {
  return Number(new DataView(key.buffer, key.byteOffset, key.byteLength).getBigUint64(1));
}

/** Every job whose sequence number is at least `from`. */
export function jobRange(from: number): { readonly start: KvKey; readonly end: KvKey } {
  return { start: jobKey(from), end: Uint8Array.of(room.job + 1) };
}

export function jobIndexKey(hash: BlobHash): KvKey {
  return hashKey(room.jobIndex, hash);
}

export function subjectKey(manifest: BlobHash, version: VersionId): KvKey {
  const key = new Uint8Array(1 + 2 * hashBytes);
  key[0] = room.subject;
  key.set(bytesOf(manifest), 1);
  key.set(bytesOf(version), 1 + hashBytes);
  return key;
}

export function subjectRange(manifest: BlobHash): { readonly start: KvKey; readonly end: KvKey } {
  const start = hashKey(room.subject, manifest);
  const end = new Uint8Array(1 + 2 * hashBytes + 1).fill(0xff);
  end.set(start);
  return { start, end };
}

export function versionOfSubjectKey(key: KvKey): VersionId {
  return toBase32(key.subarray(1 + hashBytes)) as VersionId;
}

export function jobCountsKey(): KvKey {
  return Uint8Array.of(room.jobCounts);
}

export function quarantineKey(hash: BlobHash): KvKey {
  return hashKey(room.quarantine, hash);
}

function hashKey(leading: number, hash: BlobHash): KvKey {
  const key = new Uint8Array(1 + hashBytes);
  key[0] = leading;
  key.set(bytesOf(hash), 1);
  return key;
}

function bytesOf(hash: BlobHash | VersionId): Uint8Array {
  const bytes = fromBase32(hash);
  // Hashes from peers and users are checked where they are decoded, so this can only be a bug.
  if (bytes?.length !== hashBytes) throw new TypeError(`not a hash: ${hash}`);
  return bytes;
}
