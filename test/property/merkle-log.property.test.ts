import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  consistencyProof,
  inclusionProof,
  leafHash,
  verifyConsistency,
  verifyInclusion,
} from '../../crdt/merkle-log.ts';
import { treeOf } from '../support/vectors/merkle-log.ts';

const sizeMax = 80;
const entries = Array.from({ length: sizeMax }, (_, at) => Buffer.from(`entry ${at}`));
const { roots, read } = treeOf(entries);
const root = (size: number): Uint8Array => roots[size] as Uint8Array;
const leaf = (index: number): Uint8Array => leafHash(entries[index] as Uint8Array);

/** One bit of one hash flipped, a hash too few, one too many, one twice, or two in the wrong order. */
function* mutants(path: readonly Uint8Array[], bit: number): Generator<Uint8Array[]> {
  for (const [at, hash] of path.entries()) {
    yield path.with(at, flipped(hash, bit));
    yield path.toSpliced(at, 1);
    yield path.toSpliced(at, 0, hash);
    if (at > 0) yield path.with(at, path[at - 1] as Uint8Array).with(at - 1, hash);
  }
  yield [...path, root(1)];
  yield [root(1), ...path];
}

function flipped(hash: Uint8Array, bit: number): Uint8Array {
  return hash.map((byte, at) => (at === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
}

const bits = fc.nat(255);

test('every leaf of every tree has a proof, which proves nothing else', () => {
  const cases = fc
    .integer({ min: 1, max: sizeMax })
    .chain((size) => fc.tuple(fc.constant(size), fc.nat(size - 1), bits));
  fc.assert(
    fc.property(cases, ([size, index, bit]) => {
      const path = inclusionProof(index, size, read);
      const claim = { leaf: leaf(index), index, size, root: root(size) };
      expect(verifyInclusion(claim, path)).toBe(true);
      for (const mutant of mutants(path, bit)) expect(verifyInclusion(claim, mutant)).toBe(false);
      expect(verifyInclusion({ ...claim, leaf: flipped(claim.leaf, bit) }, path)).toBe(false);
      expect(verifyInclusion({ ...claim, root: flipped(claim.root, bit) }, path)).toBe(false);
      for (let other = 0; other < size; other += 1) {
        if (other !== index) expect(verifyInclusion({ ...claim, index: other }, path)).toBe(false);
      }
    }),
  );
});

test('every tree is proved to begin as each of the smaller ones, and as no other', () => {
  const cases = fc
    .integer({ min: 1, max: sizeMax })
    .chain((second) => fc.tuple(fc.constant(second), fc.integer({ min: 1, max: second }), bits));
  fc.assert(
    fc.property(cases, ([second, first, bit]) => {
      const path = consistencyProof(first, second, read);
      const claim = { first, firstRoot: root(first), second, secondRoot: root(second) };
      expect(verifyConsistency(claim, path)).toBe(true);
      for (const mutant of mutants(path, bit)) expect(verifyConsistency(claim, mutant)).toBe(false);
      expect(verifyConsistency({ ...claim, firstRoot: flipped(claim.firstRoot, bit) }, path)).toBe(false);
      expect(verifyConsistency({ ...claim, secondRoot: flipped(claim.secondRoot, bit) }, path)).toBe(false);
      for (let other = 1; other < second; other += 1) {
        if (other !== first) expect(verifyConsistency({ ...claim, first: other }, path)).toBe(false);
      }
    }),
  );
});
