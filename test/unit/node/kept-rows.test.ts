import { expect, test } from 'vitest';
import { blobHashOf } from '../../../crdt/digest.ts';
import type { DocId, NodeId, VersionId } from '../../../crdt/ids.ts';
import { KeptRows } from '../../../src/node/kept-rows.ts';
import { encodeRow, type ObjectRow } from '../../../src/node/rows.ts';

const idOf = (name: string): string => blobHashOf(Buffer.from(name));
const docOf = (name: string): DocId => idOf(name) as DocId;

function rowOf(key: string, change: number): ObjectRow {
  const head = { id: idOf(key) as VersionId, generation: 1, kind: 'put', size: 3, time: 5 } as const;
  const heads = [{ ...head, author: 'admin', node: 'alice' as NodeId }];
  return { ns: 'a', key, heads, versions: 1, dots: {}, increments: 1, change };
}

test('gives the row that the bytes say, be it read, written or another one, of as many objects as there are', () => {
  const rows = new KeptRows<ObjectRow>('object');
  const names = Array.from({ length: 3_000 }, (_, index) => `key ${index}`);
  for (const name of names) {
    const row = rowOf(name, 1);
    const bytes = rows.write(docOf(name), row);
    expect(bytes).toEqual(encodeRow(row));
    expect(rows.read(docOf(name), bytes)).toBe(row);
  }
  for (const name of names) {
    for (const change of [1, 2, 1]) {
      const bytes = encodeRow(rowOf(name, change));
      expect(rows.read(docOf(name), bytes)).toEqual(rowOf(name, change));
      expect(rows.read(docOf(name), bytes)).toEqual(rowOf(name, change));
    }
  }
});

test('a row that came to nothing, as in a transaction that failed, is not taken for the one that is stored', () => {
  const rows = new KeptRows<ObjectRow>('object');
  const stored = encodeRow(rowOf('a', 1));
  rows.write(docOf('a'), rowOf('a', 2));
  expect(rows.read(docOf('a'), stored).change).toBe(1);
});

test('bytes that were read into memory which is used again are told from those that were there', () => {
  const rows = new KeptRows<ObjectRow>('object');
  const memory = Uint8Array.from(encodeRow(rowOf('a', 1)));
  expect(rows.read(docOf('a'), memory).change).toBe(1);
  memory.set(encodeRow(rowOf('a', 2)));
  expect(rows.read(docOf('a'), memory).change).toBe(2);
});

test('what cannot be read is corrupt, whatever was kept', () => {
  const rows = new KeptRows<ObjectRow>('object');
  rows.write(docOf('a'), rowOf('a', 1));
  expect(() => rows.read(docOf('a'), Buffer.from('{'))).toThrow(expect.objectContaining({ code: 'corrupt' }));
});
