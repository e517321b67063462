import { expect, test } from 'vitest';
import type { PeerId } from '../../../crdt/ids.ts';
import { HolderGroup } from '../../../protocols/blobs/holder-group.ts';

test('peers are listed once a second, and at once when one has come', () => {
  let lists = 0;
  const names: PeerId[] = ['alice' as PeerId];
  const group = new HolderGroup(() => {
    lists += 1;
    return [...names];
  });
  expect(group.peers(5_000, 0)).toEqual(['alice']);
  expect(group.peers(6_000, 0)).toEqual(['alice']);
  expect(lists).toBe(1);
  names.push('bob' as PeerId);
  expect(group.peers(6_000, 5_999)).toEqual(['alice', 'bob']);
  expect(group.peers(7_000, 5_999)).toEqual(['alice', 'bob']);
  expect(lists).toBe(2);
  group.peers(7_001, 5_999);
  expect(lists).toBe(3);
});
