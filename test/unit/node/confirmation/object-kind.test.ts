import { describe, expect, test } from 'vitest';
import type { RegisterValue } from '../../../../crdt/certificate.ts';
import type { PeerId } from '../../../../crdt/ids.ts';
import { ObjectKind, type ObjectKindDependencies } from '../../../../src/node/confirmation/object-kind.ts';

/** first is the parent of left and right, and both is their merge. */
const parents: Readonly<Record<string, readonly string[]>> = {
  first: [],
  left: ['first'],
  right: ['first'],
  both: ['left', 'right'],
};
const isAncestor = (ancestor: string, version: string): boolean =>
  (parents[version] ?? []).some((parent) => parent === ancestor || isAncestor(ancestor, parent));

function kindWith(damaged: readonly string[] = []): ObjectKind {
  const objects = {
    ancestry: () => (ancestor: string, version: string) =>
      !damaged.includes(version) && !damaged.includes(ancestor) && isAncestor(ancestor, version),
    damaged: () => damaged,
  };
  return new ObjectKind({ objects, localPeer: 'alice' as PeerId } as unknown as ObjectKindDependencies);
}

const judged = (head: string | null, candidate: string, kind = kindWith()) => {
  const current = head === null ? null : ({ position: 1, head, previous: null } satisfies RegisterValue);
  const verdict = kind.check('register', current, candidate);
  return typeof verdict === 'string' ? verdict : verdict.code;
};

describe('a candidate for the confirmed head', () => {
  test('is accepted where there is none, and where it descends from the one there is', () => {
    expect(judged(null, 'left')).toBe('accept');
    expect(judged('first', 'left')).toBe('accept');
    expect(judged('left', 'both')).toBe('accept');
  });

  test('is held when it is the head or any of its ancestors: what proves the head proves it as well', () => {
    expect(judged('both', 'both')).toBe('held');
    expect(judged('both', 'left')).toBe('held');
    expect(judged('both', 'first')).toBe('held');
  });

  test('of another branch is refused for good, until a version names both', () => {
    expect(judged('left', 'right')).toBe('not_a_descendant');
    expect(judged('right', 'left')).toBe('not_a_descendant');
    expect(judged('right', 'both')).toBe('accept');
  });

  test('is not refused for good while the way to the head leads through a damaged record', () => {
    expect(judged('first', 'both', kindWith(['both']))).toBe('damaged');
    expect(judged('left', 'right', kindWith(['elsewhere']))).toBe('damaged');
  });
});
