import { blake3 } from './digest.ts';

/**
 * A hash tree over a set of items, kept up to date item by item, by which two holders of nearly equal sets find
 * their differences. The design is that of a Merkle trie: keys are uniformly distributed 32-byte hashes, an inner
 * node splits its range 16 ways by the next four bits of the key, and a range is inner exactly when it holds
 * more than `leafItemsMax` items and is not `depthMax` deep. So the tree is a function of the set alone, whatever the order of changes.
 *
 * A fingerprint is a hash of what is below it, not a sum: sums of hashes can be made to collide by whoever may
 * add items (Wagner, "A Generalized Birthday Problem", 2002), and would hide a difference for good.
 */

/** Bytes of an item's key and of its value. */
export const itemKeyBytes = 32;
export const itemValueBytes = 32;
/** Bytes of a fingerprint: a collision costs 2^64 work, and then hides one range until its next change. */
export const fingerprintBytes = 16;
/** The ranges an inner node splits into. */
export const branches = 16;
/** The most items of a leaf. */
export const leafItemsMax = 32;
/** Four-bit steps below which no range is split: 2^64 hashes would have to be tried to crowd one that deep. */
export const depthMax = 16;

/** A key's first four-bit steps, each 0 to 15: names the range of keys that begin so. */
export type Prefix = readonly number[];

/** One item: `key` decides its place, `value` its state. */
export interface Item {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** What is known of a range: how many items it holds, and the hash over them. */
export interface Summary {
  readonly count: number;
  readonly fingerprint: Uint8Array;
}

/** Reads a set and its tree. */
export interface TreeReader {
  /** The stored row of an inner node, or undefined when the range is a leaf. */
  node(prefix: Prefix): Uint8Array | undefined;
  /** The items of a range in key order. */
  items(prefix: Prefix): Iterable<Item>;
}

/** Changes a set's tree; the items themselves are changed by the caller, before `treeChanged`. */
export interface TreeWriter extends TreeReader {
  putNode(prefix: Prefix, row: Uint8Array): void;
  deleteNode(prefix: Prefix): void;
}

const emptyFingerprint = new Uint8Array(fingerprintBytes);
const emptySummary: Summary = { count: 0, fingerprint: emptyFingerprint };
const summaryBytes = 4 + fingerprintBytes;
const leafTag = Buffer.from('anabranch/leaf/1\0');
const innerTag = Buffer.from('anabranch/inner/1\0');

/** The prefix of so many steps that a key begins with. */
export function prefixOf(key: Uint8Array, length: number): Prefix {
  return Array.from({ length }, (_, depth) => stepOf(key, depth));
}

/** What a range holds. Reads one row for an inner range, the items of a leaf otherwise. */
export function summaryOf(reader: TreeReader, prefix: Prefix): Summary {
  const row = reader.node(prefix);
  return row === undefined ? summaryOfItems([...reader.items(prefix)]) : summaryOfRow(row);
}

/** The 16 ranges below one, whether it is split in this tree or not. */
export function childrenOf(reader: TreeReader, prefix: Prefix): Summary[] {
  const row = reader.node(prefix);
  if (row !== undefined) return Array.from({ length: branches }, (_, step) => childOfRow(row, step));
  return byStep([...reader.items(prefix)], prefix.length).map(summaryOfItems);
}

/** True when a range is not split, so that its items are listed instead. */
export function isLeaf(reader: TreeReader, prefix: Prefix): boolean {
  return reader.node(prefix) === undefined;
}

/**
 * Brings the tree up to date after the item of `key` was added, changed or removed. Costs one leaf's items and
 * a row for each level above it.
 */
export function treeChanged(writer: TreeWriter, key: Uint8Array): void {
  change(writer, key, []);
}

/** Compares two summaries of the same range. */
export function sameSummary(left: Summary, right: Summary): boolean {
  return left.count === right.count && Buffer.compare(left.fingerprint, right.fingerprint) === 0;
}

function change(writer: TreeWriter, key: Uint8Array, prefix: Prefix): Summary {
  const row = writer.node(prefix);
  if (row === undefined) {
    const items = [...writer.items(prefix)];
    return isSplit(items, prefix) ? split(writer, prefix, items) : summaryOfItems(items);
  }
  const step = stepOf(key, prefix.length);
  const child = change(writer, key, [...prefix, step]);
  const next = Uint8Array.from(row);
  writeChild(next, step, child);
  const summary = summaryOfRow(next);
  if (summary.count > leafItemsMax) {
    writer.putNode(prefix, next);
    return summary;
  }
  // The range has become a leaf. What is below it has fewer items still, so nothing below is split.
  writer.deleteNode(prefix);
  return summaryOfItems([...writer.items(prefix)]);
}

function split(writer: TreeWriter, prefix: Prefix, items: readonly Item[]): Summary {
  const row = new Uint8Array(branches * summaryBytes);
  for (const [step, part] of byStep(items, prefix.length).entries()) {
    const below = [...prefix, step];
    writeChild(row, step, isSplit(part, below) ? split(writer, below, part) : summaryOfItems(part));
  }
  writer.putNode(prefix, row);
  return summaryOfRow(row);
}

function isSplit(items: readonly Item[], prefix: Prefix): boolean {
  return items.length > leafItemsMax && prefix.length < depthMax;
}

function byStep(items: readonly Item[], depth: number): Item[][] {
  const parts: Item[][] = Array.from({ length: branches }, () => []);
  for (const item of items) parts[stepOf(item.key, depth)]?.push(item);
  return parts;
}

function stepOf(key: Uint8Array, depth: number): number {
  const byte = key[depth >> 1] ?? 0;
  return depth % 2 === 0 ? byte >> 4 : byte & 0x0f;
}

function summaryOfItems(items: readonly Item[]): Summary {
  if (items.length === 0) return emptySummary;
  const parts: Uint8Array[] = [leafTag];
  for (const { key, value } of items) parts.push(key, value);
  return { count: items.length, fingerprint: fingerprintOf(parts) };
}

/** An inner node's fingerprint covers its children's counts too, which a peer is told along with it. */
function summaryOfRow(row: Uint8Array): Summary {
  let count = 0;
  for (let step = 0; step < branches; step += 1) count += childOfRow(row, step).count;
  return { count, fingerprint: fingerprintOf([innerTag, row]) };
}

function fingerprintOf(parts: readonly Uint8Array[]): Uint8Array {
  return blake3(Buffer.concat(parts)).subarray(0, fingerprintBytes);
}

function childOfRow(row: Uint8Array, step: number): Summary {
  const at = step * summaryBytes;
  const count = new DataView(row.buffer, row.byteOffset, row.byteLength).getUint32(at);
  return { count, fingerprint: row.subarray(at + 4, at + summaryBytes) };
}

function writeChild(row: Uint8Array, step: number, child: Summary): void {
  const at = step * summaryBytes;
  new DataView(row.buffer, row.byteOffset, row.byteLength).setUint32(at, child.count);
  row.set(child.fingerprint, at + 4);
}
