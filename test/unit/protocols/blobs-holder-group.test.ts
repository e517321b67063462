import { expect, test } from 'vitest';
import type { PeerId } from '../../../crdt/ids.ts';
import { HolderGroup } from '../../../protocols/blobs/holder-group.ts';

const [alice, bob] = ['alice' as PeerId, 'bob' as PeerId];

test('a writer is known to have the content where nobody is named', () => {
  const group = new HolderGroup(() => [alice, bob], { writer: alice });
  expect([group.doubtOf(alice), group.doubtOf(bob)]).toEqual(['none', 'even']);
  group.noteMissing(alice, 0);
  group.noteHeld(bob);
  expect([group.doubtOf(alice), group.doubtOf(bob)]).toEqual(['even', 'none']);
});

test('where somebody is named, others are doubted, its writer too, until they give some of it or the named lack it', () => {
  const carol = 'carol' as PeerId;
  const group = new HolderGroup(() => [alice, bob, carol], { named: [carol], writer: alice });
  expect([alice, bob, carol].map((peer) => group.doubtOf(peer))).toEqual(['strong', 'strong', 'none']);
  group.noteHeld(bob);
  expect([alice, bob, carol].map((peer) => group.doubtOf(peer))).toEqual(['strong', 'none', 'none']);
  group.noteMissing(carol, 0);
  expect([alice, bob, carol].map((peer) => group.doubtOf(peer))).toEqual(['even', 'none', 'even']);
});

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
