import { expect, test } from 'vitest';
import type { DocId } from '../../../crdt/ids.ts';
import { StateDigests } from '../../../src/node/state-digests.ts';

const doc = (name: string): DocId => name as DocId;
const bytes = (text: string): Uint8Array => Buffer.from(text);

test('a digest is made once for each row of an object, and again when the row is another', () => {
  const digests = new StateDigests(10);
  let made = 0;
  const make = (): Uint8Array => {
    made += 1;
    return bytes(`digest ${made}`);
  };
  const row = bytes('row 1');
  expect(digests.of(doc('a'), row, make)).toEqual(bytes('digest 1'));
  expect(digests.of(doc('a'), bytes('row 1'), make)).toEqual(bytes('digest 1'));
  expect(digests.of(doc('a'), bytes('row 2'), make)).toEqual(bytes('digest 2'));
  expect(digests.of(doc('a'), bytes('row 1'), make)).toEqual(bytes('digest 3'));
  expect(digests.of(doc('b'), bytes('row 1'), make)).toEqual(bytes('digest 4'));
});

test('what is done to a row afterwards changes nothing, and the oldest are forgotten first', () => {
  const digests = new StateDigests(2);
  let made = 0;
  const make = (): Uint8Array => {
    made += 1;
    return bytes(`digest ${made}`);
  };
  const row = Uint8Array.from(bytes('row'));
  digests.of(doc('a'), row, make);
  row.fill(0);
  expect(digests.of(doc('a'), row, make)).toEqual(bytes('digest 2'));
  digests.of(doc('b'), row, make);
  digests.of(doc('c'), row, make);
  expect(digests.of(doc('b'), row, make)).toEqual(bytes('digest 3'));
  expect(digests.of(doc('a'), row, make)).toEqual(bytes('digest 5'));
});
