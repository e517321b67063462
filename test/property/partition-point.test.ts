import fc from 'fast-check';
import { expect, it } from 'vitest';
import { partitionPoint, placeOfText } from '../../crdt/partition-point.ts';

it('counts those that come before, and asks few of them', () => {
  fc.assert(
    fc.property(fc.nat(5_000), fc.nat(5_000), (length, wanted) => {
      const point = Math.min(length, wanted);
      let asked = 0;
      const found = partitionPoint(length, (index) => {
        asked += 1;
        expect(index).toBeLessThan(length);
        return index < point;
      });
      expect(found).toBe(point);
      expect(asked).toBeLessThanOrEqual(Math.ceil(Math.log2(length + 1)));
    }),
  );
});

it('finds where a text belongs among sorted ones', () => {
  const texts = fc.array(fc.string({ maxLength: 3 })).map((each) => each.sort());
  fc.assert(
    fc.property(texts, fc.string({ maxLength: 3 }), (sorted, text) => {
      expect(placeOfText(sorted, text)).toBe(sorted.filter((each) => each < text).length);
    }),
  );
});
