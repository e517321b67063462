import { describe, expect, it } from 'vitest';
import type { Random } from '../../src/ports/random.ts';

/** The promises of `src/ports/random.ts`, for every adapter. The bounds fail by chance less than once in 10^9 runs. */
export function randomContract(name: string, create: () => Random): void {
  describe(`Random: ${name}`, () => {
    it.each([0, 1, 3, 4, 5, 32, 1_000])('draws %i bytes', (length) => {
      const bytes = create().bytes(length);
      expect(bytes.constructor).toBe(Uint8Array);
      expect(bytes).toHaveLength(length);
    });

    it('never draws the same again', () => {
      const random = create();
      const drawn = new Set(Array.from({ length: 1_000 }, () => Buffer.from(random.bytes(16)).toString('hex')));
      expect(drawn.size).toBe(1_000);
    });

    it('hands out bytes that are the caller’s own', () => {
      const random = create();
      const first = random.bytes(16);
      const before = first.slice();
      random.bytes(16).fill(0);
      expect(first).toEqual(before);
      expect(first.buffer.byteLength).toBe(16);
    });

    it('draws every byte about as often as any other', () => {
      const counts = new Array<number>(256).fill(0);
      for (const byte of create().bytes(256_000)) counts[byte] = (counts[byte] ?? 0) + 1;
      expect(Math.min(...counts)).toBeGreaterThan(780);
      expect(Math.max(...counts)).toBeLessThan(1_220);
    });

    it('draws fractions evenly from 0 to below 1', () => {
      const random = create();
      const tenths = new Array<number>(10).fill(0);
      for (let index = 0; index < 10_000; index++) {
        const fraction = random.fraction();
        expect(fraction >= 0 && fraction < 1).toBe(true);
        const tenth = Math.floor(fraction * 10);
        tenths[tenth] = (tenths[tenth] ?? 0) + 1;
      }
      expect(Math.min(...tenths)).toBeGreaterThan(790);
      expect(Math.max(...tenths)).toBeLessThan(1_210);
    });
  });
}
