import { readUint32, writeUint32 } from './big-endian.ts';
import { blake3 } from './digest.ts';
import { partitionPoint } from './partition-point.ts';

/**
 * A hash tree over a set of items, kept up to date item by item, by which two holders of nearly equal sets find
 * their differences. The design is that of a Merkle trie: keys are uniformly distributed 32-byte hashes, an inner
 * node splits its range 16 ways by the next four bits of the key, and a range is inner exactly when it holds
 * more than `leafItemsMax` items and is not `depthMax` deep. So the tree is a function of the set alone, whatever the order of changes.
 *
 * One row a node: a leaf's row lists its items, an inner node's the summaries of the ranges below. So a change costs
 * one row a level, and nothing is kept of empty ranges. A row is exactly what its fingerprint is the hash of.
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

/** What becomes of the item of a key: its new value, or undefined when there is to be none. */
export interface ItemChange {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/** What is known of a range: how many items it holds, and the hash over them. */
export interface Summary {
  readonly count: number;
  readonly fingerprint: Uint8Array;
}

/** Reads a set's tree. */
export interface TreeReader {
  /** The stored row of a node; undefined when the range is empty or part of a leaf above it. */
  row(prefix: Prefix): Uint8Array | undefined;
}

/** Changes a set's tree. */
export interface TreeWriter extends TreeReader {
  putRow(prefix: Prefix, row: Uint8Array): void;
  deleteRow(prefix: Prefix): void;
}

const emptySummary: Summary = { count: 0, fingerprint: new Uint8Array(fingerprintBytes) };
const summaryBytes = 4 + fingerprintBytes;
const itemBytes = itemKeyBytes + itemValueBytes;
const leafTag = Buffer.from('anabranch/leaf/1\0');
const innerTag = Buffer.from('anabranch/inner/1\0');
/** The byte by which the two tags differ. */
const tagByte = 10;
const noItems: Uint8Array = leafTag;

/** The prefix of so many steps that a key begins with. */
export function prefixOf(key: Uint8Array, length: number): Prefix {
  return Array.from({ length }, (_, depth) => stepOf(key, depth));
}

/** What a range holds. Reads one row; two where the range is part of a leaf. */
export function summaryOf(reader: TreeReader, prefix: Prefix): Summary {
  return summaryOfRow(rowOf(reader, prefix));
}

/** The 16 ranges below one, whether it is split in this tree or not. */
export function childrenOf(reader: TreeReader, prefix: Prefix): Summary[] {
  const row = rowOf(reader, prefix);
  if (isInner(row)) return Array.from({ length: branches }, (_, step) => childOfRow(row, step));
  return byStep(row, prefix.length).map(summaryOfRow);
}

/** True when a range is not split, so that its items are listed instead. */
export function isLeaf(reader: TreeReader, prefix: Prefix): boolean {
  return !isInner(rowOf(reader, prefix));
}

/** The items of a range in key order. */
export function* itemsOf(reader: TreeReader, prefix: Prefix): Generator<Item> {
  const row = rowOf(reader, prefix);
  if (isInner(row)) {
    for (let step = 0; step < branches; step += 1) {
      if (childOfRow(row, step).count > 0) yield* itemsOf(reader, [...prefix, step]);
    }
    return;
  }
  for (let at = leafTag.length; at < row.length; at += itemBytes) {
    yield { key: row.subarray(at, at + itemKeyBytes), value: row.subarray(at + itemKeyBytes, at + itemBytes) };
  }
}

/** The value of a key's item; undefined when the set has none. */
export function itemValue(reader: TreeReader, key: Uint8Array): Uint8Array | undefined {
  for (let depth = 0; depth <= depthMax; depth += 1) {
    const row = reader.row(prefixOf(key, depth));
    if (row === undefined) return undefined;
    if (isInner(row)) continue;
    const at = placeOf(row, key);
    return isAt(row, at, key) ? row.subarray(at + itemKeyBytes, at + itemBytes) : undefined;
  }
  return undefined;
}

/** Adds or changes the item of a key, or removes it (undefined). Costs a row for each level down to the item's leaf. */
export function setItem(writer: TreeWriter, key: Uint8Array, value: Uint8Array | undefined): void {
  change(writer, [], [{ key, value }]);
}

/**
 * Does the same for many items, in ascending order of their keys, each once: a row that several of them lie below is
 * written a single time.
 */
export function setItems(writer: TreeWriter, changes: readonly ItemChange[]): void {
  if (changes.length > 0) change(writer, [], changes);
}

/** Compares two summaries of the same range. */
export function sameSummary(left: Summary, right: Summary): boolean {
  return left.count === right.count && Buffer.compare(left.fingerprint, right.fingerprint) === 0;
}

/** The row of a range; where it is part of a leaf above it, what that leaf holds of it. */
function rowOf(reader: TreeReader, prefix: Prefix): Uint8Array {
  for (let depth = prefix.length; depth >= 0; depth -= 1) {
    const row = reader.row(depth === prefix.length ? prefix : prefix.slice(0, depth));
    if (row === undefined) continue;
    if (depth === prefix.length) return row;
    return isInner(row) ? noItems : within(row, prefix);
  }
  return noItems;
}

function change(writer: TreeWriter, prefix: Prefix, changes: readonly ItemChange[]): Summary {
  const row = writer.row(prefix);
  if (row === undefined || !isInner(row)) {
    return putItems(writer, prefix, row, withItems(row ?? noItems, changes));
  }
  const next = Uint8Array.from(row);
  for (let start = 0; start < changes.length; ) {
    const step = stepOf((changes[start] as ItemChange).key, prefix.length);
    let end = start + 1;
    while (end < changes.length && stepOf((changes[end] as ItemChange).key, prefix.length) === step) end += 1;
    const below = start === 0 && end === changes.length ? changes : changes.slice(start, end);
    writeChild(next, step, change(writer, [...prefix, step], below));
    start = end;
  }
  const summary = summaryOfRow(next);
  if (summary.count > leafItemsMax) {
    writer.putRow(prefix, next);
    return summary;
  }
  // The range has become a leaf. What is below it has fewer items still, so all of that are leaves.
  const parts: Uint8Array[] = [leafTag];
  for (let below = 0; below < branches; below += 1) {
    const leaf = writer.row([...prefix, below]);
    if (leaf === undefined) continue;
    parts.push(leaf.subarray(leafTag.length));
    writer.deleteRow([...prefix, below]);
  }
  return putItems(writer, prefix, row, Buffer.concat(parts));
}

/** Makes these the items of a range that is not split, or splits it when they are too many. */
function putItems(writer: TreeWriter, prefix: Prefix, former: Uint8Array | undefined, items: Uint8Array): Summary {
  const count = countOfItems(items);
  if (count > leafItemsMax && prefix.length < depthMax) {
    const row = new Uint8Array(innerTag.length + branches * summaryBytes);
    row.set(innerTag);
    for (const [step, part] of byStep(items, prefix.length).entries()) {
      writeChild(row, step, putItems(writer, [...prefix, step], undefined, part));
    }
    writer.putRow(prefix, row);
    return summaryOfRow(row);
  }
  if (count > 0) writer.putRow(prefix, items);
  else if (former !== undefined) writer.deleteRow(prefix);
  return summaryOfRow(items);
}

/** A leaf's row with items added, changed or removed. */
function withItems(row: Uint8Array, changes: readonly ItemChange[]): Uint8Array {
  const parts: Uint8Array[] = [];
  let from = 0;
  for (const { key, value } of changes) {
    const at = placeOf(row, key);
    parts.push(row.subarray(from, at));
    if (value !== undefined) parts.push(key, value);
    from = isAt(row, at, key) ? at + itemBytes : at;
  }
  return Buffer.concat([...parts, row.subarray(from)]);
}

/** Where the item of a key is in a leaf's row, or would be. */
function placeOf(row: Uint8Array, key: Uint8Array): number {
  const startOf = (index: number): number => leafTag.length + index * itemBytes;
  const isBefore = (index: number): boolean => {
    const at = startOf(index);
    return Buffer.compare(row.subarray(at, at + itemKeyBytes), key) < 0;
  };
  return startOf(partitionPoint(countOfItems(row), isBefore));
}

function isAt(row: Uint8Array, at: number, key: Uint8Array): boolean {
  return at < row.length && Buffer.compare(row.subarray(at, at + itemKeyBytes), key) === 0;
}

/** What a leaf holds of a range below it. */
function within(row: Uint8Array, prefix: Prefix): Uint8Array {
  const parts: Uint8Array[] = [leafTag];
  for (let at = leafTag.length; at < row.length; at += itemBytes) {
    const isBelow = prefix.every((step, depth) => stepOf(row, depth, at) === step);
    if (isBelow) parts.push(row.subarray(at, at + itemBytes));
  }
  return Buffer.concat(parts);
}

/** A leaf's items by the next step of their keys, each part a leaf's row. */
function byStep(row: Uint8Array, depth: number): Uint8Array[] {
  const parts: Uint8Array[][] = Array.from({ length: branches }, () => [leafTag]);
  for (let at = leafTag.length; at < row.length; at += itemBytes) {
    parts[stepOf(row, depth, at)]?.push(row.subarray(at, at + itemBytes));
  }
  return parts.map((part) => Buffer.concat(part));
}

/** A step of the key that begins at an offset. */
function stepOf(bytes: Uint8Array, depth: number, offset = 0): number {
  const byte = bytes[offset + (depth >> 1)] ?? 0;
  return depth % 2 === 0 ? byte >> 4 : byte & 0x0f;
}

function isInner(row: Uint8Array): boolean {
  return row[tagByte] === innerTag[tagByte];
}

function countOfItems(row: Uint8Array): number {
  return (row.length - leafTag.length) / itemBytes;
}

/** An inner node's fingerprint covers its children's counts too, which a peer is told along with it. */
function summaryOfRow(row: Uint8Array): Summary {
  let count = 0;
  if (isInner(row)) for (let step = 0; step < branches; step += 1) count += childOfRow(row, step).count;
  else count = countOfItems(row);
  return count === 0 ? emptySummary : { count, fingerprint: blake3(row).subarray(0, fingerprintBytes) };
}

function childOfRow(row: Uint8Array, step: number): Summary {
  const at = innerTag.length + step * summaryBytes;
  const count = readUint32(row, at);
  return { count, fingerprint: row.subarray(at + 4, at + summaryBytes) };
}

function writeChild(row: Uint8Array, step: number, child: Summary): void {
  const at = innerTag.length + step * summaryBytes;
  writeUint32(row, child.count, at);
  row.set(child.fingerprint, at + 4);
}
