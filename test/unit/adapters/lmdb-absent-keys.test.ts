import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AbsentKeys } from '../../../src/adapters/lmdb/absent-keys.ts';

const text = fc.string({
  unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
  minLength: 1,
  maxLength: 4,
});

test('says of no key that it is absent that was not added since it was last removed', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), text), { maxLength: 300, size: 'max' }), (steps) => {
      const keys = new AbsentKeys();
      const added = new Set<string>();
      for (const [isAdded, key] of steps) {
        if (keys.has(key)) expect(added.has(key)).toBe(true);
        if (isAdded) {
          keys.add(key);
          added.add(key);
        } else {
          keys.remove(key);
          added.delete(key);
        }
        expect(keys.has(key)).toBe(isAdded);
      }
    }),
  );
});
