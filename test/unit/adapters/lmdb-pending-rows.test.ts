import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PendingRows } from '../../../src/adapters/lmdb/pending-rows.ts';
import { SortedKeys } from '../../../src/adapters/lmdb/sorted-keys.ts';

const name = fc.nat(3_000).map((number) => String(number).padStart(4, '0'));
const change = fc.record({
  kind: fc.constantFrom('add' as const, 'remove' as const, 'list' as const),
  from: name,
  to: name,
});

test('sorted keys list as a sorted array does, through any additions and removals', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(name, { maxLength: 2_000, size: 'max' }),
      fc.array(change, { maxLength: 400, size: 'max' }),
      (initial, changes) => {
        const keys = new SortedKeys(initial);
        const model = new Set(initial);
        for (const { kind, from, to } of changes) {
          if (kind === 'add' && !model.has(from)) {
            model.add(from);
            keys.add(from);
          }
          if (kind === 'remove' && model.delete(from)) keys.remove(from);
          if (kind !== 'list') continue;
          const expected = [...model].filter((key) => key >= from && key < to).sort();
          expect([...keys.between(from, to, false)]).toEqual(expected);
          expect([...keys.between(from, to, true)]).toEqual(expected.reverse());
        }
        expect([...keys.between('', '~', false)]).toEqual([...model].sort());
      },
    ),
    { numRuns: 30 },
  );
});

test('sorted keys stay in order however many come one by one', () => {
  const keys = new SortedKeys([]);
  const all = Array.from({ length: 5_000 }, (_, index) => String((index * 3_571) % 5_000).padStart(4, '0'));
  for (const key of all) keys.add(key);
  expect([...keys.between('', '~', false)]).toEqual(all.toSorted());
  for (const key of all.slice(0, 4_990)) keys.remove(key);
  expect([...keys.between('', '~', true)]).toEqual(all.slice(4_990).sort().reverse());
});

test('pending rows say so when a range is read on after one was written', () => {
  const rows = new PendingRows();
  for (const key of ['a', 'b', 'c']) rows.set(key, Buffer.from('1'));
  const entries = rows.rowsIn({ start: Buffer.from('a'), end: Buffer.from('z') });
  expect(entries.next().value?.[0]).toBe('a');
  rows.set('d', Buffer.from('1'));
  expect(() => entries.next()).toThrow(/after the store had changed/);
});
