import { describe, expect, test } from 'vitest';
import { decodeCanonical, encodeCanonical, hasExactly } from '../../../crdt/canonical-json.ts';
import { readVectors } from '../../support/vectors/index.ts';

const vectors = readVectors('canonical-json');

test.each(vectors.canonical)('$input has one canonical text', ({ input, text }) => {
  expect(encodeCanonical(JSON.parse(input))).toBe(text);
  expect(decodeCanonical(text, vectors.bytesMax)).toEqual({ ok: true, value: JSON.parse(input.replace('-0,', '0,')) });
});

test.each(vectors.accepted)('%s is read', (text) => {
  expect(decodeCanonical(text, vectors.bytesMax)).toEqual({ ok: true, value: JSON.parse(text) });
});

test.each(vectors.refused)('$text is refused: $why', ({ text }) => {
  expect(decodeCanonical(text, vectors.bytesMax)).toEqual({ ok: false, error: expect.any(String) });
});

test('a text that nests as deep as its length allows is refused, and exhausts no stack', () => {
  const depth = 500_000;
  for (const text of ['['.repeat(depth) + ']'.repeat(depth), '{"a":'.repeat(depth), '['.repeat(depth)]) {
    expect(decodeCanonical(text, 10_000_000).ok).toBe(false);
  }
});

test('what JSON cannot carry is never written', () => {
  for (const value of [undefined, Number.NaN, Number.POSITIVE_INFINITY, '\ud800', { a: '\udc00' }, () => 1]) {
    expect(() => encodeCanonical(value)).toThrow();
  }
});

describe('an object with exactly some fields', () => {
  test('has all of them, as its own, and no other', () => {
    expect(hasExactly({ a: 1, b: undefined }, ['a', 'b'])).toBe(true);
    for (const value of [{ a: 1 }, { a: 1, b: 2, c: 3 }, { a: 1, toString: 2 }, [1, 2], null, 'ab', 1]) {
      expect(hasExactly(value, ['a', 'b'])).toBe(false);
    }
    expect(hasExactly({ a: 1 }, ['toString'])).toBe(false);
  });
});
