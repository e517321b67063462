import { readUint64, writeUint64 } from '../../crdt/big-endian.ts';
import { hashBytes, rawHash } from '../../crdt/digest.ts';
import type { Prefix } from '../../crdt/fingerprint-tree.ts';
import type { DocId, PeerId, VersionId } from '../../crdt/ids.ts';
import type { KvKey } from '../ports/kv.ts';

/**
 * The node's rooms in the key-value store: one leading byte each. Bytes 0x40 to 0x4f belong to the
 * content plane. Integers are big-endian, so byte order is numeric order.
 */
const room = {
  meta: 0x01,
  object: 0x02,
  version: 0x03,
  listing: 0x05,
  conflict: 0x07,
  event: 0x08,
  tree: 0x09,
  feed: 0x0a,
  feedCursor: 0x0b,
  snapshot: 0x0c,
  damaged: 0x0d,
} as const;

const separator = 0;

/** Rows about the node itself. */
export function metaKey(name: 'format' | 'incarnation' | 'clean-stop' | 'counts' | 'folded'): KvKey {
  return withRoom(room.meta, Buffer.from(name));
}

/** One row an object: its heads and what summarises its graph. */
export function objectKey(doc: DocId): KvKey {
  return hashKey(room.object, doc);
}

/** One row a version, see `ObjectStore`. */
export function versionKey(version: VersionId): KvKey {
  return hashKey(room.version, version);
}

/** That a version's record was found damaged. */
export function damagedKey(version: VersionId): KvKey {
  return hashKey(room.damaged, version);
}

export const damagedRange = { start: Uint8Array.of(room.damaged), end: Uint8Array.of(room.damaged + 1) } as const;

/** A document's snapshot. */
export function snapshotKey(doc: DocId): KvKey {
  return hashKey(room.snapshot, doc);
}

/** The objects of a namespace that are listed, in the order of their keys' UTF-8 bytes. */
export function listingKey(ns: string, key: string): KvKey {
  return named(room.listing, ns, key);
}

/** The objects in conflict, by namespace and key. */
export function conflictKey(ns: string, key: string): KvKey {
  return named(room.conflict, ns, key);
}

export function listingRange(ns: string, prefix: string): { start: KvKey; end: KvKey } {
  const start = named(room.listing, ns, prefix);
  return { start, end: successor(start) };
}

export function conflictRange(ns?: string): { start: KvKey; end: KvKey } {
  const start = ns === undefined ? withRoom(room.conflict) : named(room.conflict, ns, '');
  return { start, end: successor(start) };
}

/** Splits a listing or conflict key into its namespace and key. */
export function nameOf(key: KvKey): { ns: string; key: string } {
  const cut = key.indexOf(separator, 1);
  const text = Buffer.from(key.buffer, key.byteOffset, key.byteLength);
  return { ns: text.toString('utf8', 1, cut), key: text.toString('utf8', cut + 1) };
}

/** A node of a slot's fingerprint tree. */
export function treeKey(slot: number, prefix: Prefix): KvKey {
  return withRoom(room.tree, uint16(slot), Uint8Array.from(prefix));
}

/** The newest change of each document, by the number this node gave it. */
export function feedKey(change: number): KvKey {
  return numberKey(room.feed, change);
}

export function feedRange(after: number): { start: KvKey; end: KvKey } {
  return { start: feedKey(after + 1), end: successor(withRoom(room.feed)) };
}

/** How far this node has followed a peer's feed. */
export function feedCursorKey(peer: PeerId): KvKey {
  return withRoom(room.feedCursor, Buffer.from(peer));
}

/** Events that were written together, by the number of the last of them. */
export function eventKey(id: number): KvKey {
  return numberKey(room.event, id);
}

export function eventRange(after: number): { start: KvKey; end: KvKey } {
  return { start: eventKey(after + 1), end: successor(withRoom(room.event)) };
}

/** The number in an event's or a change's key. */
export function numberOfKey(key: KvKey): number {
  return readUint64(key, 1);
}

/** The smallest key greater than this one. */
export function afterKey(key: KvKey): KvKey {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

/** The smallest key that does not start with this one. */
export function successor(prefix: KvKey): KvKey {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length -= 1;
  const next = prefix.slice(0, length);
  next[length - 1] = (next[length - 1] ?? 0) + 1;
  return next;
}

function named(byte: number, ns: string, key: string): KvKey {
  return withRoom(byte, Buffer.from(ns), Uint8Array.of(separator), Buffer.from(key));
}

function withRoom(byte: number, ...parts: readonly Uint8Array[]): KvKey {
  let length = 1;
  for (const part of parts) length += part.length;
  const key = new Uint8Array(length);
  key[0] = byte;
  let at = 1;
  for (const part of parts) {
    key.set(part, at);
    at += part.length;
  }
  return key;
}

function uint16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}

function hashKey(byte: number, hash: DocId | VersionId): KvKey {
  const key = new Uint8Array(1 + hashBytes);
  key[0] = byte;
  key.set(rawHash(hash), 1);
  return key;
}

function numberKey(byte: number, value: number): KvKey {
  const key = new Uint8Array(1 + 8);
  key[0] = byte;
  writeUint64(key, value, 1);
  return key;
}
