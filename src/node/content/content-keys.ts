import { readUint64, writeUint64 } from '../../../crdt/big-endian.ts';
import { hashBytes, rawHash, toBase32 } from '../../../crdt/digest.ts';
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
  /** blob hash, manifest hash → that the manifest lists the blob, and as what. */
  link: 0x47,
  /** manifest hash → it is to be taken apart, unless something retains it. */
  condemned: 0x48,
  /** hash → a job that was given up. */
  dead: 0x49,
  /** name → what the content plane remembers of itself. */
  state: 0x4a,
  /** manifest hash → the content was whole here, and what it lacks now. */
  mending: 0x4b,
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
  writeUint64(key, sequence, 1);
  return key;
}

export function sequenceOfJobKey(key: KvKey): number {
  return readUint64(key, 1);
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
  key.set(rawHash(manifest), 1);
  key.set(rawHash(version), 1 + hashBytes);
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

/** The row that says that a manifest lists a blob. */
export function linkKey(child: BlobHash, parent: BlobHash): KvKey {
  const key = new Uint8Array(1 + 2 * hashBytes);
  key.set(hashKey(room.link, child));
  key.set(rawHash(parent), 1 + hashBytes);
  return key;
}

/** Every manifest that lists a blob. */
export function linkRange(child: BlobHash): { readonly start: KvKey; readonly end: KvKey } {
  const end = new Uint8Array(1 + 2 * hashBytes + 1).fill(0xff);
  end.set(hashKey(room.link, child));
  return { start: hashKey(room.link, child), end };
}

/** Every link after one, of any blob; all of them when it is absent. */
export function linksAfter(key: KvKey | undefined): { readonly start: KvKey; readonly end: KvKey } {
  return { start: key === undefined ? Uint8Array.of(room.link) : after(key), end: Uint8Array.of(room.link + 1) };
}

export function childOfLinkKey(key: KvKey): BlobHash {
  return toBase32(key.subarray(1, 1 + hashBytes)) as BlobHash;
}

export function parentOfLinkKey(key: KvKey): BlobHash {
  return toBase32(key.subarray(1 + hashBytes)) as BlobHash;
}

export function condemnedKey(manifest: BlobHash): KvKey {
  return hashKey(room.condemned, manifest);
}

export function mendingKey(manifest: BlobHash): KvKey {
  return hashKey(room.mending, manifest);
}

export function deadKey(hash: BlobHash): KvKey {
  return hashKey(room.dead, hash);
}

/** Rows of one hash each in the order of the hashes, those after one of them. */
export function hashedRange(
  kind: 'blob' | 'condemned' | 'dead' | 'mending',
  afterHash?: BlobHash,
): { readonly start: KvKey; readonly end: KvKey } {
  const leading = room[kind];
  if (afterHash === undefined) return { start: Uint8Array.of(leading), end: Uint8Array.of(leading + 1) };
  // Past the hash and past the marker behind it.
  const start = new Uint8Array(1 + hashBytes + 2);
  start.set(hashKey(leading, afterHash));
  return { start, end: Uint8Array.of(leading + 1) };
}

/** The hash of a row that `hashedRange` found. */
export function hashOfKey(key: KvKey): BlobHash {
  return toBase32(key.subarray(1, 1 + hashBytes)) as BlobHash;
}

/** True for the marker that a content is whole, which stands among the small blobs. */
export function isCompleteKey(key: KvKey): boolean {
  return key.length === 1 + hashBytes + 1;
}

export function stateKey(name: 'linked' | 'scrub' | 'dead-count'): KvKey {
  const text = Buffer.from(name);
  const key = new Uint8Array(1 + text.length);
  key[0] = room.state;
  key.set(text, 1);
  return key;
}

export function quarantineKey(hash: BlobHash): KvKey {
  return hashKey(room.quarantine, hash);
}

function after(key: KvKey): KvKey {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

function hashKey(leading: number, hash: BlobHash): KvKey {
  const key = new Uint8Array(1 + hashBytes);
  key[0] = leading;
  key.set(rawHash(hash), 1);
  return key;
}
