import { hashBytes, sha256 } from './digest.ts';

/**
 * The Merkle tree of Certificate Transparency (RFC 6962, section 2.1) over an append-only list: its root stands for
 * the whole list, a proof of a few hashes shows that an entry is in it (2.1.1) or that a longer list only adds to a
 * shorter one (2.1.2). Hashes are 32 bytes of SHA-256, and an entry's leaf hash takes the entry's own bytes.
 *
 * Nothing here holds the leaves. A subtree that is full never changes again, so its hash is kept for good as a
 * node; an append adds at most one node a level, and a proof reads a few.
 */

/** As many leaves as 32-bit arithmetic carries safely: far more than a control log ever has entries. */
const treeSizeMax = 2 ** 31 - 1;

/** The root of the tree without leaves: SHA-256 of nothing. */
export const emptyTreeRoot: Uint8Array = sha256(new Uint8Array());

/** The hash of a full subtree: it covers the `2^level` leaves from `index * 2^level` on. Level 0 is the leaves. */
export interface MerkleNode {
  readonly level: number;
  readonly index: number;
  readonly hash: Uint8Array;
}

/** Looks up a node that `appendLeaf` made. Throws when it is not there: then the store is damaged. */
export type MerkleNodeReader = (level: number, index: number) => Uint8Array;

/** All that an append needs of a tree: the roots of its greatest full subtrees, from left to right. */
export interface MerklePeaks {
  /** Leaves in the tree. */
  readonly size: number;
  /** One hash for each bit that is set in `size`, the greatest subtree first. */
  readonly hashes: readonly Uint8Array[];
}

/** The tree without leaves. */
export const emptyPeaks: MerklePeaks = { size: 0, hashes: [] };

/** The leaf hash of an entry: SHA-256 of a zero byte and the entry. */
export function leafHash(entry: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(1 + entry.length);
  bytes.set(entry, 1);
  return sha256(bytes);
}

/** Two hashes are joined here: memory of its own would cost each call about as much as hashing them does. */
const joined = new Uint8Array(1 + 2 * hashBytes);

/** The hash of two subtrees: SHA-256 of a one byte, the left hash and the right. */
function parentHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  const length = 1 + left.length + right.length;
  // A path that proves nothing may have anything for a hash.
  const bytes = length === joined.length ? joined : new Uint8Array(length);
  bytes[0] = 1;
  bytes.set(left, 1);
  bytes.set(right, 1 + left.length);
  return sha256(bytes);
}

/**
 * Appends a leaf: O(log size) hashes at worst, one on average.
 *
 * @returns the new tree, and the nodes that are full from now on, the leaf first
 */
export function appendLeaf(
  tree: MerklePeaks,
  leaf: Uint8Array,
): { readonly peaks: MerklePeaks; readonly nodes: readonly MerkleNode[] } {
  if (tree.size >= treeSizeMax) throw new RangeError(`a tree has at most ${treeSizeMax} leaves`);
  const hashes = [...tree.hashes];
  const nodes: MerkleNode[] = [{ level: 0, index: tree.size, hash: leaf }];
  let hash = leaf;
  // Every trailing one of the size is a full subtree that finds its equal now, as carries do in an addition.
  for (let level = 0; (tree.size >> level) % 2 === 1; level += 1) {
    hash = parentHash(hashes.pop() as Uint8Array, hash);
    nodes.push({ level: level + 1, index: tree.size >> (level + 1), hash });
  }
  hashes.push(hash);
  return { peaks: { size: tree.size + 1, hashes }, nodes };
}

/** The peaks of the tree's first `size` leaves. Throws a RangeError for a size that no tree has. */
export function peaksOf(size: number, read: MerkleNodeReader): MerklePeaks {
  checkSize(size);
  const hashes: Uint8Array[] = [];
  let start = 0;
  for (let level = 30; level >= 0; level -= 1) {
    if ((size >> level) % 2 === 0) continue;
    hashes.push(read(level, start >> level));
    start += 2 ** level;
  }
  return { size, hashes };
}

/** The Merkle tree hash of the leaves. */
export function rootOf(tree: MerklePeaks): Uint8Array {
  return (
    tree.hashes.reduceRight<Uint8Array | undefined>(
      (right, left) => (right === undefined ? left : parentHash(left, right)),
      undefined,
    ) ?? emptyTreeRoot
  );
}

/**
 * The audit path of leaf `index` in the tree of the first `size` leaves, from the leaf upwards.
 * Throws a RangeError unless 0 ≤ index < size.
 */
export function inclusionProof(index: number, size: number, read: MerkleNodeReader): Uint8Array[] {
  checkSize(size);
  if (!Number.isInteger(index) || index < 0 || index >= size) throw new RangeError(`no leaf ${index} of ${size}`);
  const path: Uint8Array[] = [];
  let [start, end] = [0, size];
  while (end - start > 1) {
    const middle = start + splitOf(end - start);
    if (index < middle) {
      path.push(rangeHash(middle, end, read));
      end = middle;
    } else {
      path.push(rangeHash(start, middle, read));
      start = middle;
    }
  }
  return path.reverse();
}

/**
 * The proof that the tree of the first `second` leaves only adds to that of the first `first`.
 * Throws a RangeError unless 0 ≤ first ≤ second; the proof from an empty or an equal tree has no hashes.
 */
export function consistencyProof(first: number, second: number, read: MerkleNodeReader): Uint8Array[] {
  checkSize(second);
  if (!Number.isInteger(first) || first < 0 || first > second) throw new RangeError(`no tree ${first} in ${second}`);
  if (first === 0 || first === second) return [];
  const path: Uint8Array[] = [];
  let [start, end] = [0, second];
  while (end !== first) {
    const middle = start + splitOf(end - start);
    if (first <= middle) {
      path.push(rangeHash(middle, end, read));
      end = middle;
    } else {
      path.push(rangeHash(start, middle, read));
      start = middle;
    }
  }
  // A checker knows the older root, which is this subtree's hash when the subtree starts at the first leaf.
  if (start > 0) path.push(rangeHash(start, end, read));
  return path.reverse();
}

/** What an inclusion proof claims. */
export interface InclusionClaim {
  /** `leafHash` of the entry. */
  readonly leaf: Uint8Array;
  readonly index: number;
  /** Leaves in the tree, and its root. */
  readonly size: number;
  readonly root: Uint8Array;
}

/** True when the path proves the claim (RFC 9162, section 2.1.3.2). False for anything else; never throws. */
export function verifyInclusion(claim: InclusionClaim, path: readonly Uint8Array[]): boolean {
  const root = rootFromInclusion(claim, path);
  return root !== undefined && equal(root, claim.root);
}

/** The root that the path leads to from a leaf; undefined when no tree has such a path. Never throws. */
export function rootFromInclusion(
  { leaf, index, size }: Omit<InclusionClaim, 'root'>,
  path: readonly Uint8Array[],
): Uint8Array | undefined {
  if (!isSize(size) || !Number.isInteger(index) || index < 0 || index >= size) return undefined;
  let [at, last, hash] = [index, size - 1, leaf];
  for (const sibling of path) {
    if (last === 0) return undefined;
    if (at % 2 === 1 || at === last) {
      hash = parentHash(sibling, hash);
      // At the right edge a subtree climbs until it is somebody's right child.
      while (at % 2 === 0 && at !== 0) [at, last] = [at >> 1, last >> 1];
    } else {
      hash = parentHash(hash, sibling);
    }
    [at, last] = [at >> 1, last >> 1];
  }
  return last === 0 ? hash : undefined;
}

/** What a consistency proof claims: the first tree is how the second one began. */
export interface ConsistencyClaim {
  readonly first: number;
  readonly firstRoot: Uint8Array;
  readonly second: number;
  readonly secondRoot: Uint8Array;
}

/** True when the path proves the claim (RFC 9162, section 2.1.4.2). False for anything else; never throws. */
export function verifyConsistency(claim: ConsistencyClaim, path: readonly Uint8Array[]): boolean {
  const { first, firstRoot, second, secondRoot } = claim;
  if (!isSize(first) || !isSize(second) || first > second) return false;
  if (first === second) return path.length === 0 && equal(firstRoot, secondRoot);
  if (first === 0) return path.length === 0 && equal(firstRoot, emptyTreeRoot);
  let [at, last] = [first - 1, second - 1];
  while (at % 2 === 1) [at, last] = [at >> 1, last >> 1];
  // A full first tree is itself the subtree that the path starts from, and is not sent.
  const [start, ...rest] = at === 0 ? [firstRoot, ...path] : path;
  if (start === undefined) return false;
  let [older, newer] = [start, start];
  for (const sibling of rest) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      [older, newer] = [parentHash(sibling, older), parentHash(sibling, newer)];
      while (at % 2 === 0 && at !== 0) [at, last] = [at >> 1, last >> 1];
    } else {
      newer = parentHash(newer, sibling);
    }
    [at, last] = [at >> 1, last >> 1];
  }
  return last === 0 && equal(older, firstRoot) && equal(newer, secondRoot);
}

/** The hash of the leaves from `start` to `end`, a subtree of the recursion, whose parts to the left are full. */
function rangeHash(start: number, end: number, read: MerkleNodeReader): Uint8Array {
  const size = end - start;
  const level = 31 - Math.clz32(size);
  if (size === 2 ** level) return read(level, start >> level);
  const middle = start + splitOf(size);
  return parentHash(rangeHash(start, middle, read), rangeHash(middle, end, read));
}

/** The greatest power of two below `size`, which is at least 2. */
function splitOf(size: number): number {
  return 2 ** (31 - Math.clz32(size - 1));
}

function checkSize(size: number): void {
  if (!isSize(size)) throw new RangeError(`a tree has 0 to ${treeSizeMax} leaves, not ${size}`);
}

function isSize(size: number): boolean {
  return Number.isInteger(size) && size >= 0 && size <= treeSizeMax;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
