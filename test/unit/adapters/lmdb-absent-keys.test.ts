import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AbsentKeys } from '../../../src/adapters/lmdb/absent-keys.ts';

const text = fc.string({
  unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
  minLength: 1,
  maxLength: 4,
});

test('says of no key that it is absent that was not added since the last clearing', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(text, fc.constant('clear all')), { maxLength: 300, size: 'max' }), (steps) => {
      const keys = new AbsentKeys();
      const added = new Set<string>();
      for (const step of steps) {
        if (keys.has(step)) expect(added.has(step)).toBe(true);
        if (step === 'clear all') {
          keys.clear();
          added.clear();
          continue;
        }
        keys.add(step);
        added.add(step);
        expect(keys.has(step)).toBe(true);
      }
    }),
  );
});
