import { expect, test } from 'vitest';
import type { BlobHash, NodeId } from '../../../crdt/ids.ts';
import { ProvedCopies } from '../../../src/replication/proved-copies.ts';

const [north, east] = ['n'.repeat(26), 'e'.repeat(26)] as [NodeId, NodeId];
const manifest = (index: number) => `m${index}` as BlobHash;

test('what a node has proved is forgotten once it is no member, of every content, and nothing else is', () => {
  const proved = new ProvedCopies();
  proved.add(manifest(1), north);
  proved.add(manifest(1), east);
  proved.add(manifest(2), east);
  proved.keepOnly(new Set([north, east]));
  expect([...proved.of(manifest(1))]).toEqual([north, east]);
  proved.keepOnly(new Set([north]));
  expect([...proved.of(manifest(1))]).toEqual([north]);
  expect(proved.of(manifest(2)).size).toBe(0);
  // It may be admitted again, and proves again then.
  proved.add(manifest(2), east);
  expect([...proved.of(manifest(2))]).toEqual([east]);
  proved.keepOnly(new Set([north]));
  expect(proved.of(manifest(2)).size).toBe(0);
});

test('proofs of more contents than are remembered push the oldest out, and tell whoever listens of each', () => {
  const proved = new ProvedCopies();
  let told = 0;
  const unsubscribe = proved.onAdded(() => {
    told += 1;
  });
  for (let index = 0; index <= 65_536; index += 1) proved.add(manifest(index), north);
  unsubscribe();
  proved.add(manifest(1), north);
  expect(told).toBe(65_537);
  expect(proved.of(manifest(0)).size).toBe(0);
  expect([1, 65_536].map((index) => proved.of(manifest(index)).size)).toEqual([1, 1]);
});
