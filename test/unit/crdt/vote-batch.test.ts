import { expect, test } from 'vitest';
import { blake3, sha256, toHex } from '../../../crdt/digest.ts';
import { leafHash, rootFromInclusion } from '../../../crdt/merkle-log.ts';
import { type BatchPlace, batchPathMax, batchSizeMax, digestOfPlace, VoteBatch } from '../../../crdt/vote-batch.ts';

const digests = Array.from({ length: batchSizeMax }, (_, at) => blake3(Buffer.from(`statement ${at}`)));
const batchOf = (size: number): VoteBatch => new VoteBatch(digests.slice(0, size));
const sizes = [...Array.from({ length: 39 }, (_, at) => at + 2), batchSizeMax];

/** The digest a place leads to from the statement at `index`, in hex; undefined for a place no batch has. */
const reached = (index: number, place: BatchPlace): string | undefined => {
  const digest = digestOfPlace(digests[index] as Uint8Array, place);
  return digest && toHex(digest);
};

test('every place of every batch leads to the digest of the whole', () => {
  for (const size of sizes) {
    const batch = batchOf(size);
    for (let index = 0; index < size; index += 1) {
      const place = batch.place(index);
      expect(place.path.length).toBeLessThanOrEqual(batchPathMax);
      expect(reached(index, place)).toBe(toHex(batch.digest));
    }
  }
});

test('no other statement, index or size leads to it', () => {
  const misled: unknown[] = [];
  for (const size of sizes.slice(0, 39)) {
    const batch = batchOf(size);
    const whole = toHex(batch.digest);
    const check = (index: number, place: BatchPlace): void => {
      if (reached(index, place) === whole) misled.push([index, place.index, place.size]);
    };
    for (let index = 0; index < size; index += 1) {
      const place = batch.place(index);
      for (let other = 0; other <= 41; other += 1) {
        if (other !== index) check(index, { ...place, index: other });
        if (other !== size) check(index, { ...place, size: other });
      }
      check((index + 1) % size, place);
      check(size, place);
    }
  }
  expect(misled).toEqual([]);
});

test('no other path leads to it', () => {
  for (const size of sizes) {
    const batch = batchOf(size);
    const whole = toHex(batch.digest);
    for (const index of [0, 1, size >> 1, size - 1]) {
      const place = batch.place(index);
      const { path } = place;
      for (const [at, hash] of path.entries()) {
        const flipped = hash.map((byte, place) => (place === (index + at) % 32 ? byte ^ 0x80 : byte));
        expect(reached(index, { ...place, path: path.with(at, flipped) })).not.toBe(whole);
        expect(reached(index, { ...place, path: path.toSpliced(at, 1) })).not.toBe(whole);
        expect(reached(index, { ...place, path: path.toSpliced(at, 0, hash) })).not.toBe(whole);
      }
      expect(reached(index, { ...place, path: [...path, sha256(Buffer.from('more'))] })).toBe(undefined);
    }
  }
});

test('the size is signed, since trees of other sizes may have the same root', () => {
  // The last statement of five stands beside the root of the first four, as the second of two stands beside the first.
  const { path } = batchOf(5).place(4);
  const leaf = leafHash(digests[4] as Uint8Array);
  expect(rootFromInclusion({ leaf, index: 1, size: 2 }, path)).toEqual(
    rootFromInclusion({ leaf, index: 4, size: 5 }, path),
  );
  expect(reached(4, { index: 1, size: 2, path })).not.toBe(toHex(batchOf(5).digest));
});

test('a place that no batch has leads nowhere', () => {
  const { path } = batchOf(4).place(1);
  for (const place of [
    { index: 4, size: 4, path },
    { index: -1, size: 4, path },
    { index: 0.5, size: 4, path },
    { index: 1, size: 0, path },
    { index: 1, size: 2 ** 32, path },
    { index: 1, size: 4, path: [] },
  ]) {
    expect(reached(1, place)).toBe(undefined);
  }
});

test('the order of the statements is part of it, and so is each of them', () => {
  const [one, two, three] = digests as [Uint8Array, Uint8Array, Uint8Array];
  const wholes = [
    [one, two, three],
    [two, one, three],
    [one, two],
    [one, two, two],
  ].map((each) => toHex(new VoteBatch(each).digest));
  expect(new Set(wholes).size).toBe(4);
});

test('has two statements at least and 512 at most, and no place outside', () => {
  expect(() => new VoteBatch(digests.slice(0, 1))).toThrow(RangeError);
  expect(() => new VoteBatch([...digests, ...digests.slice(0, 1)])).toThrow(RangeError);
  expect(() => batchOf(3).place(3)).toThrow(RangeError);
});
