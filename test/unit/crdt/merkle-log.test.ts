import { describe, expect, test } from 'vitest';
import { fromHex, sha256, toHex } from '../../../crdt/digest.ts';
import {
  appendLeaf,
  consistencyProof,
  emptyPeaks,
  inclusionProof,
  leafHash,
  peaksOf,
  rootFromInclusion,
  rootOf,
  verifyConsistency,
  verifyInclusion,
} from '../../../crdt/merkle-log.ts';
import { readVectors } from '../../support/vectors/index.ts';
import { treeOf } from '../../support/vectors/merkle-log.ts';

const vectors = readVectors('merkle-log');
const bytes = (hex: string): Uint8Array => fromHex(hex) ?? expect.fail(hex);
const leaves = vectors.leaves.map(bytes);
const roots = vectors.roots.map(bytes);

/** The definition of RFC 6962, section 2.1, word for word. */
function treeHash(entries: readonly Uint8Array[]): Uint8Array {
  if (entries.length === 0) return sha256(new Uint8Array());
  if (entries.length === 1) return sha256(Buffer.concat([Buffer.of(0), entries[0] as Uint8Array]));
  let split = 1;
  while (split * 2 < entries.length) split *= 2;
  return sha256(Buffer.concat([Buffer.of(1), treeHash(entries.slice(0, split)), treeHash(entries.slice(split))]));
}

describe('the Merkle tree of the reference leaves', () => {
  test('has the published root of all eight', () => {
    expect(vectors.roots.at(-1)).toBe('5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328');
  });

  test.each(vectors.roots.map((root, size) => ({ root, size })))('has the reference root at $size leaves', (vector) => {
    const { root, size } = vector;
    const { read } = treeOf(leaves);
    expect(toHex(treeHash(leaves.slice(0, size)))).toBe(root);
    expect(toHex(rootOf(peaksOf(size, read)))).toBe(root);
  });

  test.each(vectors.inclusion)('proves leaf $index of $size as the reference does', ({ index, size, path }) => {
    expect(inclusionProof(index, size, treeOf(leaves).read).map(toHex)).toEqual(path);
    const claim = { leaf: leafHash(leaves[index] as Uint8Array), index, size, root: roots[size] as Uint8Array };
    expect(verifyInclusion(claim, path.map(bytes))).toBe(true);
  });

  test.each(vectors.consistency)('proves that $second leaves only add to $first', ({ first, second, path }) => {
    expect(consistencyProof(first, second, treeOf(leaves).read).map(toHex)).toEqual(path);
    const [firstRoot, secondRoot] = [roots[first] as Uint8Array, roots[second] as Uint8Array];
    expect(verifyConsistency({ first, firstRoot, second, secondRoot }, path.map(bytes))).toBe(true);
  });
});

describe('a Merkle tree', () => {
  test('adds 2n nodes at the most for n leaves', () => {
    let [tree, nodes] = [emptyPeaks, 0];
    for (let at = 0; at < 1_000; at += 1) {
      const appended = appendLeaf(tree, leafHash(Buffer.from(String(at))));
      tree = appended.peaks;
      nodes += appended.nodes.length;
    }
    expect(nodes).toBeLessThan(2_000);
    expect(tree.hashes).toHaveLength(6);
  });

  test('is not asked for what it does not have', () => {
    const { read } = treeOf(leaves);
    expect(() => inclusionProof(8, 8, read)).toThrow(RangeError);
    expect(() => inclusionProof(-1, 8, read)).toThrow(RangeError);
    expect(() => consistencyProof(5, 4, read)).toThrow(RangeError);
    expect(() => peaksOf(1.5, read)).toThrow(RangeError);
  });

  test('has the root that each of its paths leads to, and none where there is no such path', () => {
    for (const { index, size, path } of vectors.inclusion) {
      const leaf = leafHash(leaves[index] as Uint8Array);
      expect(rootFromInclusion({ leaf, index, size }, path.map(bytes))).toEqual(roots[size]);
      expect(rootFromInclusion({ leaf, index, size }, [...path.map(bytes), leaf])).toBe(undefined);
      if (path.length > 0) expect(rootFromInclusion({ leaf, index, size }, path.slice(1).map(bytes))).toBe(undefined);
      expect(rootFromInclusion({ leaf, index: size, size }, path.map(bytes))).toBe(undefined);
    }
  });

  test('is not proved with sizes that make no sense', () => {
    const [root] = roots as [Uint8Array];
    for (const [index, size] of [
      [1, 1],
      [-1, 1],
      [0, 0],
      [0.5, 1],
      [0, Number.NaN],
      [0, 2 ** 40],
    ] as const) {
      expect(verifyInclusion({ leaf: root, index, size, root }, [])).toBe(false);
    }
    expect(verifyConsistency({ first: 0, firstRoot: root, second: 5, secondRoot: root }, [])).toBe(true);
    expect(verifyConsistency({ first: 2, firstRoot: root, second: 1, secondRoot: root }, [])).toBe(false);
  });
});
