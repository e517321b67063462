import { describe, expect, test } from 'vitest';
import {
  blake3,
  blobHashOf,
  createBlake3,
  fromBase32,
  fromHex,
  isHash,
  keyedBlake3,
  loadNativeBlake3,
  loadPortableBlake3,
  rawHash,
  sha256,
  toBase32,
  toHex,
} from '../../../crdt/digest.ts';
import { patternBytes } from '../../support/vectors/digest.ts';
import { readVectors } from '../../support/vectors/index.ts';

const vectors = readVectors('digest');
const key = Buffer.from(vectors.key, 'utf8');
const native = loadNativeBlake3();
const implementations = [loadPortableBlake3(), ...(native === undefined ? [] : [native])];

test('the native binding loads where its package has a binary', () => {
  expect(native?.name).toBe('native');
});

describe.each(implementations)('the $name BLAKE3', (implementation) => {
  test.each(vectors.blake3)('gives the official outputs for $inputLength bytes', ({ inputLength, hash, keyedHash }) => {
    const input = patternBytes(inputLength);
    expect(toHex(implementation.hash(input))).toBe(hash);
    expect(toHex(implementation.keyedHash(key, input))).toBe(keyedHash);
    for (const piece of [1_000, 4_096, 65_536]) {
      const hasher = implementation.create();
      for (let at = 0; at < input.length; at += piece) hasher.update(input.subarray(at, at + piece));
      expect(toHex(hasher.digest())).toBe(hash);
    }
  });

  test('reads exactly the bytes of a view into a larger buffer, and answers with plain bytes', () => {
    const input = patternBytes(5_000);
    const view = input.subarray(1_000, 2_025);
    const hash = implementation.hash(view);
    expect(hash).toEqual(implementation.hash(Uint8Array.from(view)));
    expect(Object.getPrototypeOf(hash)).toBe(Uint8Array.prototype);
    const hasher = implementation.create();
    hasher.update(view);
    expect(hasher.digest()).toEqual(hash);
  });

  test('refuses a hasher that has given its digest', () => {
    const hasher = implementation.create();
    hasher.digest();
    expect(() => hasher.digest()).toThrow();
    expect(() => hasher.update(new Uint8Array(1))).toThrow();
  });
});

test.each(vectors.blake3)('a hash of $inputLength bytes is the official one however it is fed', (vector) => {
  const input = patternBytes(vector.inputLength);
  expect(toHex(blake3(input))).toBe(vector.hash);
  expect(toHex(keyedBlake3(key, input))).toBe(vector.keyedHash);
  for (const piece of [1, 700, 1_536, 4_096]) {
    const hasher = createBlake3();
    for (let at = 0; at < input.length; at += piece) hasher.update(input.subarray(at, at + piece));
    expect(toHex(hasher.digest())).toBe(vector.hash);
    expect(() => hasher.update(input)).toThrow();
    expect(() => hasher.digest()).toThrow();
  }
});

test('both implementations agree on large input', () => {
  const input = patternBytes(3_000_001);
  const [first, ...others] = implementations.map((implementation) => toHex(implementation.hash(input)));
  for (const other of others) expect(other).toBe(first);
  expect(toHex(blake3(input))).toBe(first);
  const hasher = createBlake3();
  hasher.update(input);
  expect(toHex(hasher.digest())).toBe(first);
});

test('a key of the wrong length is refused before the library sees it', () => {
  for (const length of [0, 31, 33]) expect(() => keyedBlake3(new Uint8Array(length), key)).toThrow(RangeError);
});

test('sha256 gives the value of FIPS 180-4 for "abc"', () => {
  expect(toHex(sha256(Buffer.from('abc')))).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
});

describe('base32', () => {
  test.each(vectors.base32)('writes $hex as "$text" and reads it back', ({ hex, text }) => {
    expect(toBase32(Buffer.from(hex, 'hex'))).toBe(text);
    expect(toHex(fromBase32(text) ?? expect.fail())).toBe(hex);
  });

  test.each(vectors.base32Refused)('does not read %j', (text) => {
    expect(fromBase32(text)).toBeUndefined();
  });
});

describe('the text of a hash', () => {
  test('is what a blob is named by, and gives its bytes back', () => {
    const name = blobHashOf(patternBytes(10));
    expect(isHash(name)).toBe(true);
    expect(rawHash(name)).toEqual(blake3(patternBytes(10)));
  });

  test.each(vectors.hashesRefused)('is not %j', (text) => {
    expect(isHash(text)).toBe(false);
    expect(() => rawHash(text)).toThrow();
  });
});

test('the bytes of a hash are its own, however many others were asked for, and of nothing else are there any', () => {
  const hashes = Array.from({ length: 2_000 }, (_, index) => blobHashOf(Buffer.from(String(index))));
  for (const hash of [...hashes, ...hashes.toReversed()]) expect(rawHash(hash)).toEqual(fromBase32(hash));
  const [hash = ''] = hashes;
  expect(rawHash(hash)).toHaveLength(32);
  for (const text of ['', hash.slice(0, 51), `${hash}a`, hash.toUpperCase(), `${hash.slice(0, 51)}b`]) {
    expect(() => rawHash(text)).toThrow('not a hash');
  }
});

test('hexadecimal is read in lowercase and whole bytes only', () => {
  expect(fromHex('00ff10')).toEqual(Uint8Array.of(0, 255, 16));
  expect(fromHex('')).toEqual(new Uint8Array());
  for (const text of ['0', 'FF', '0x', 'zz', ' 00', '00 ']) expect(fromHex(text)).toBeUndefined();
});
