import { base32 } from 'multiformats/bases/base32';
import { describe, expect, it } from 'vitest';
import { decodeBase32, encodeBase32 } from '../../../crdt/base32.ts';

describe('base32', () => {
  it('agrees with another implementation on every length up to 64 bytes', () => {
    for (let length = 0; length <= 64; length += 1) {
      const bytes = Uint8Array.from({ length }, (_, index) => (index * 151 + length * 37) & 0xff);
      const text = encodeBase32(bytes);
      expect(text).toBe(base32.baseEncode(bytes));
      expect(decodeBase32(text)).toEqual(bytes);
    }
  });

  it.each([
    ['an upper-case letter', 'A'],
    ['padding', 'me======'],
    ['a character outside ASCII', 'mé'],
    ['a digit that is none of base32', 'm1'],
    ['bits beyond the last byte', 'mf'],
    ['a whole character too many', 'mea'],
    ['a single character', 'a'],
  ])('refuses %s', (_, text) => {
    expect(decodeBase32(text)).toBeUndefined();
  });
});
