import { readUint64, writeUint64 } from '../../crdt/big-endian.ts';
import { rawHash } from '../../crdt/digest.ts';
import type { KvKey } from '../ports/kv.ts';

/**
 * The control log's rooms in the key-value store: leading bytes 0x68 to 0x6f are its own. Hashes are their 32 bytes,
 * integers are big-endian.
 */
const room = {
  /** Position → the genesis text, or the line of the certified entry. */
  entry: 0x68,
  /** Level, index → hash of a full subtree of the Merkle tree. */
  node: 0x69,
  /** Operation id → position of the entry that has it. */
  operation: 0x6a,
  /** Position → the state there. */
  snapshot: 0x6b,
  /** Entry hash → text of an entry that was proposed and is not certified yet. */
  candidate: 0x6c,
  /** How far the registers have been carried to the present coordinators. */
  carry: 0x6d,
} as const;

const integerBytes = 8;

export function entryKey(seq: number): KvKey {
  return numbered(room.entry, seq);
}

/** The entries after a position. */
export function entryRange(after: number): { readonly start: KvKey; readonly end: KvKey } {
  return { start: entryKey(after + 1), end: Uint8Array.of(room.entry + 1) };
}

export function nodeKey(level: number, index: number): KvKey {
  const key = new Uint8Array(2 + integerBytes);
  key[0] = room.node;
  key[1] = level;
  writeUint64(key, index, 2);
  return key;
}

export function operationKey(id: string): KvKey {
  return Uint8Array.of(room.operation, ...Buffer.from(id, 'utf8'));
}

export function snapshotKey(seq: number): KvKey {
  return numbered(room.snapshot, seq);
}

/** The snapshots at a position and before it. */
export function snapshotRange(upTo: number): { readonly start: KvKey; readonly end: KvKey } {
  return { start: snapshotKey(0), end: snapshotKey(upTo + 1) };
}

export function candidateKey(hash: string): KvKey {
  return Uint8Array.of(room.candidate, ...rawHash(hash));
}

export const carryKey: KvKey = Uint8Array.of(room.carry);

export const candidateRange = { start: Uint8Array.of(room.candidate), end: Uint8Array.of(room.candidate + 1) };

/** The position in the key of an entry or a snapshot. */
export function positionOfKey(key: KvKey): number {
  return readUint64(key, 1);
}

function numbered(byte: number, seq: number): KvKey {
  const key = new Uint8Array(1 + integerBytes);
  key[0] = byte;
  writeUint64(key, seq, 1);
  return key;
}
