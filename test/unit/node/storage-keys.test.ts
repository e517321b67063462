import fc from 'fast-check';
import { expect, test } from 'vitest';
import { toBase32 } from '../../../crdt/digest.ts';
import type { DocId } from '../../../crdt/ids.ts';
import { eventKey, feedKey, numberOfKey, objectKey } from '../../../src/node/storage-keys.ts';

test('numbers are big-endian in keys, so their order is that of the bytes', () => {
  expect(Buffer.from(eventKey(0x01_02_03_04_05_06)).toString('hex')).toBe('080000010203040506');
  expect(Buffer.from(feedKey(Number.MAX_SAFE_INTEGER)).toString('hex')).toBe('0a001fffffffffffff');
  const number = fc.maxSafeNat();
  fc.assert(
    fc.property(number, number, (left, right) => {
      expect(numberOfKey(eventKey(left))).toBe(left);
      expect(Buffer.compare(eventKey(left), eventKey(right))).toBe(Math.sign(left - right));
    }),
  );
});

test('an object is under the bytes of its id', () => {
  const raw = Uint8Array.from({ length: 32 }, (_, index) => 255 - index);
  expect([...objectKey(toBase32(raw) as DocId)]).toEqual([0x02, ...raw]);
});
