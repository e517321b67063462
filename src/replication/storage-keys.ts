import { readUint64, writeUint64 } from '../../crdt/big-endian.ts';
import { fromBase32, hashBytes, rawHash, toBase32 } from '../../crdt/digest.ts';
import type { Prefix } from '../../crdt/fingerprint-tree.ts';
import type { BlobHash, DocId, NodeId, VersionId } from '../../crdt/ids.ts';
import type { KvKey } from '../ports/kv.ts';

/**
 * The rooms of replication in the key-value store: leading bytes 0x50 to 0x5f are its own. Hashes are their 32 bytes,
 * node ids their 16, integers are big-endian.
 */
const room = {
  /** Set, number of the last change → changes: keys, each with the size, or with eight bytes of ones or nothing where it is gone. */
  journal: 0x50,
  /** Set, prefix → row of the set's fingerprint tree. */
  tree: 0x51,
  /** Set → how far the journal is folded into the tree. */
  folded: 0x52,
  /** Manifest, node → what the replica index knows of that copy. */
  copy: 0x53,
  /** Node → how far the replica index has followed its inventory, and what it comes to. */
  account: 0x54,
  /** Manifest, node → for how many milliseconds this node is bound to that one not to drop the content. */
  lease: 0x55,
  /** Manifest, version → a write of this node whose desired holders have not proved it yet. */
  intent: 0x56,
  /** Document, version → a version with content. */
  subject: 0x57,
  /** Manifest, version → the document whose version has this content. */
  reference: 0x58,
  /** Document → one with a record that could not be read when its versions were gone through. */
  unsound: 0x59,
  /** Name → a row about replication itself. */
  meta: 0x5a,
} as const;

const nodeIdBytes = 16;
const integerBytes = 8;

/** Names a set: the node whose inventory it is, in the eyes of the replica index. */
export type SetName = Uint8Array;

/** This node's own inventory: no node has this id, since ids are drawn at random. */
export const ownSet: SetName = new Uint8Array(nodeIdBytes);

/** The set of a node's inventory as the replica index has it. */
export function setOf(node: NodeId): SetName {
  return rawNode(node);
}

export function journalKey(set: SetName, change: number): KvKey {
  const key = new Uint8Array(1 + nodeIdBytes + integerBytes);
  key[0] = room.journal;
  key.set(set, 1);
  writeUint64(key, change, 1 + nodeIdBytes);
  return key;
}

/** The changes of a set after one of them, up to another. */
export function journalRange(set: SetName, after: number, through?: number): { start: KvKey; end: KvKey } {
  const end = through === undefined ? prefixEnd(withRoom(room.journal, set)) : journalKey(set, through + 1);
  return { start: journalKey(set, after + 1), end };
}

export function changeOfJournalKey(key: KvKey): number {
  return readUint64(key, key.length - integerBytes);
}

export function treeKey(set: SetName, prefix: Prefix): KvKey {
  return withRoom(room.tree, set, Uint8Array.from(prefix));
}

export function treeRange(set: SetName): { start: KvKey; end: KvKey } {
  const start = withRoom(room.tree, set);
  return { start, end: prefixEnd(start) };
}

export function foldedKey(set: SetName): KvKey {
  return withRoom(room.folded, set);
}

export function copyKey(manifest: Uint8Array, node: SetName): KvKey {
  return withRoom(room.copy, manifest, node);
}

export function copyRange(manifest: BlobHash): { start: KvKey; end: KvKey } {
  const start = withRoom(room.copy, rawHash(manifest));
  return { start, end: prefixEnd(start) };
}

export function accountKey(node: NodeId): KvKey {
  return withRoom(room.account, rawNode(node));
}

export const accountRange = { start: Uint8Array.of(room.account), end: Uint8Array.of(room.account + 1) };

export function leaseKey(manifest: BlobHash, node: NodeId): KvKey {
  return withRoom(room.lease, rawHash(manifest), rawNode(node));
}

export const leaseRange = { start: Uint8Array.of(room.lease), end: Uint8Array.of(room.lease + 1) };

export function intentKey(manifest: BlobHash, version: VersionId): KvKey {
  return withRoom(room.intent, rawHash(manifest), rawHash(version));
}

/** The intents after one of them; all without it. */
export function intentRange(after?: KvKey): { start: KvKey; end: KvKey } {
  return {
    start: after === undefined ? Uint8Array.of(room.intent) : afterKey(after),
    end: Uint8Array.of(room.intent + 1),
  };
}

export function subjectKey(doc: DocId, version: VersionId): KvKey {
  return withRoom(room.subject, rawHash(doc), rawHash(version));
}

/** The subjects after one of them; all without it. */
export function subjectRange(after?: KvKey): { start: KvKey; end: KvKey } {
  const start = after === undefined ? Uint8Array.of(room.subject) : afterKey(after);
  return { start, end: Uint8Array.of(room.subject + 1) };
}

export function referenceKey(manifest: BlobHash, version: VersionId): KvKey {
  return withRoom(room.reference, rawHash(manifest), rawHash(version));
}

export function referenceRange(manifest: BlobHash): { start: KvKey; end: KvKey } {
  const start = withRoom(room.reference, rawHash(manifest));
  return { start, end: prefixEnd(start) };
}

export function unsoundKey(doc: DocId): KvKey {
  return withRoom(room.unsound, rawHash(doc));
}

export const unsoundRange = { start: Uint8Array.of(room.unsound), end: Uint8Array.of(room.unsound + 1) };

export function metaKey(name: 'inventory' | 'placement' | 'subjects'): KvKey {
  return withRoom(room.meta, Buffer.from(name));
}

/** The hash that a key of one of these rooms has first. */
export function firstHash<Id extends string>(key: KvKey): Id {
  return toBase32(key.subarray(1, 1 + hashBytes)) as Id;
}

/** The hash that a key of one of these rooms has after the first. */
export function secondHash<Id extends string>(key: KvKey): Id {
  return toBase32(key.subarray(1 + hashBytes, 1 + 2 * hashBytes)) as Id;
}

/** The node that a key of one of these rooms ends with. */
export function nodeOfKey(key: KvKey): NodeId {
  return toBase32(key.subarray(key.length - nodeIdBytes)) as NodeId;
}

function rawNode(node: NodeId): Uint8Array {
  const bytes = fromBase32(node);
  // Node ids are checked where they are decoded, so this can only be a bug.
  if (bytes?.length !== nodeIdBytes) throw new TypeError(`not a node id: ${node}`);
  return bytes;
}

function afterKey(key: KvKey): KvKey {
  return withRoom(key[0] as number, key.subarray(1), Uint8Array.of(0));
}

/** A key beyond every key that starts with this one: what follows a prefix is never 64 bytes of ones. */
function prefixEnd(prefix: KvKey): KvKey {
  const end = new Uint8Array(prefix.length + 2 * hashBytes).fill(0xff);
  end.set(prefix);
  return end;
}

function withRoom(byte: number, ...parts: readonly Uint8Array[]): KvKey {
  const key = new Uint8Array(parts.reduce((length, part) => length + part.length, 1));
  key[0] = byte;
  let at = 1;
  for (const part of parts) {
    key.set(part, at);
    at += part.length;
  }
  return key;
}
