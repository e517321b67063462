import { expect, test } from 'vitest';
import { blobHashOf } from '../../../crdt/digest.ts';
import type { DocId, NodeId, VersionId } from '../../../crdt/ids.ts';
import { ObjectRows } from '../../../src/node/object-rows.ts';
import { encodeRow, type ObjectRow } from '../../../src/node/rows.ts';

const idOf = (name: string): string => blobHashOf(Buffer.from(name));
const docOf = (name: string): DocId => idOf(name) as DocId;

function rowOf(key: string, change: number): ObjectRow {
  const head = { id: idOf(key) as VersionId, generation: 1, kind: 'put', size: 3, time: 5 } as const;
  const heads = [{ ...head, author: 'admin', node: 'alice' as NodeId }];
  return { ns: 'a', key, heads, versions: 1, dots: {}, increments: 1, change };
}

test('gives the row that the bytes say, be it read, written or another one, of as many objects as there are', () => {
  const rows = new ObjectRows();
  const names = Array.from({ length: 3_000 }, (_, index) => `key ${index}`);
  for (const name of names) {
    const row = rowOf(name, 1);
    rows.wrote(docOf(name), encodeRow(row), row);
    expect(rows.of(docOf(name), encodeRow(row))).toBe(row);
  }
  for (const name of names) {
    for (const change of [1, 2, 1]) {
      const bytes = encodeRow(rowOf(name, change));
      expect(rows.of(docOf(name), bytes)).toEqual(rowOf(name, change));
      expect(rows.of(docOf(name), bytes)).toEqual(rowOf(name, change));
    }
  }
});

test('a row that came to nothing, as in a transaction that failed, is not taken for the one that is stored', () => {
  const rows = new ObjectRows();
  const stored = encodeRow(rowOf('a', 1));
  rows.wrote(docOf('a'), encodeRow(rowOf('a', 2)), rowOf('a', 2));
  expect(rows.of(docOf('a'), stored).change).toBe(1);
});

test('bytes that were read into memory which is used again are told from those that were there', () => {
  const rows = new ObjectRows();
  const memory = Uint8Array.from(encodeRow(rowOf('a', 1)));
  expect(rows.of(docOf('a'), memory).change).toBe(1);
  memory.set(encodeRow(rowOf('a', 2)));
  expect(rows.of(docOf('a'), memory).change).toBe(2);
});

test('what cannot be read is corrupt, whatever was kept', () => {
  const rows = new ObjectRows();
  const row = rowOf('a', 1);
  rows.wrote(docOf('a'), encodeRow(row), row);
  expect(() => rows.of(docOf('a'), Buffer.from('{'))).toThrow(expect.objectContaining({ code: 'corrupt' }));
});
