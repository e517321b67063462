import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { NodeId } from '../../crdt/ids.ts';
import { readMembership, writeMembership } from '../../crdt/membership.ts';
import { isNewerDescriptor, type SignedDescriptor } from '../../crdt/membership-descriptor.ts';
import {
  type DescriptorSet,
  mayBeNewer,
  membershipDigest,
  packStamps,
  unpackStamps,
  withDescriptors,
} from '../../crdt/membership-set.ts';
import { descriptorOf } from '../support/descriptors.ts';
import { runs } from '../support/property-runs.ts';
import { shuffled } from '../support/random-history.ts';
import { accepted, testNode } from '../support/versions.ts';

const nodes = ['north', 'south', 'west'].map((name) => testNode(name));
/** Few nodes and few numbers, so that numbers are used twice, as by a disk that was put back. */
const pool = nodes.flatMap((node) =>
  [1, 2, 3].flatMap((sequence) => ['a', 'b'].map((version) => descriptorOf(node, { sequence, version }))),
);
const some = fc.array(fc.constantFrom(...pool), { maxLength: 12 });
const empty: DescriptorSet = new Map();
const setOf = (...parts: readonly (readonly SignedDescriptor[])[]): DescriptorSet =>
  parts.reduce<DescriptorSet>((set, part) => withDescriptors(set, part), empty);
const textsOf = (set: DescriptorSet): Map<NodeId, string> =>
  new Map([...set].sort().map(([nodeId, { text }]) => [nodeId, text]));

describe('joining descriptors', () => {
  test('is commutative, associative and idempotent, and nothing changes nothing', () => {
    fc.assert(
      fc.property(some, some, some, fc.integer(), (a, b, c, seed) => {
        const joined = textsOf(setOf(a, b, c));
        expect(textsOf(setOf(c, a, b))).toEqual(joined);
        expect(textsOf(setOf(b, b, c, a, c))).toEqual(joined);
        expect(textsOf(setOf(shuffled([...a, ...b, ...c], seed)))).toEqual(joined);
        expect(setOf(a)).toEqual(setOf(a, []));
        const set = setOf(a);
        expect(withDescriptors(set, a)).toBe(set);
      }),
    );
  });

  test('is monotone: of each node what is held is never older than what was taken', () => {
    fc.assert(
      fc.property(some, some, (a, b) => {
        const [before, after] = [setOf(a), setOf(a, b)];
        for (const each of [...a, ...b]) {
          const held = after.get(each.descriptor.nodeId) as SignedDescriptor;
          expect(isNewerDescriptor(each, held)).toBe(false);
        }
        for (const [nodeId, held] of before) expect(isNewerDescriptor(held, after.get(nodeId) as never)).toBe(false);
      }),
    );
  });
});

describe('two nodes that compare what they hold', () => {
  test('have the same digest exactly when they hold the same', () => {
    fc.assert(
      fc.property(some, some, (a, b) => {
        const [left, right] = [setOf(a), setOf(b)];
        const isSame = Buffer.from(membershipDigest(left)).equals(membershipDigest(right));
        expect(isSame).toBe(JSON.stringify([...textsOf(left)]) === JSON.stringify([...textsOf(right)]));
      }),
    );
  });

  test('hold the same once each has fetched what the stamps of the other show', () => {
    fc.assert(
      fc.property(some, some, (a, b) => {
        const pull = (own: DescriptorSet, other: DescriptorSet): DescriptorSet => {
          const stamps = accepted(unpackStamps(packStamps(other)));
          const wanted = stamps.filter((stamp) => mayBeNewer(stamp, own));
          return withDescriptors(
            own,
            wanted.map(({ nodeId }) => other.get(nodeId) as SignedDescriptor),
          );
        };
        const [left, right] = [setOf(a), setOf(b)];
        expect(textsOf(pull(left, right))).toEqual(textsOf(pull(right, left)));
        expect(textsOf(pull(left, right))).toEqual(textsOf(setOf(a, b)));
      }),
    );
  });
});

describe('the membership document', () => {
  test('says the same whatever came first and however many lives wrote it', () => {
    fc.assert(
      fc.property(some, some, fc.boolean(), (a, b, restarts) => {
        const actor = (life: number): Uint8Array => new Uint8Array(16).fill(life);
        const write = (first: readonly SignedDescriptor[], second: readonly SignedDescriptor[]): Uint8Array => {
          const saved = writeMembership(undefined, textsOf(setOf(first)), actor(1));
          return writeMembership(saved, textsOf(setOf(first, second)), actor(restarts ? 2 : 1));
        };
        const said = (saved: Uint8Array) => new Map([...readMembership(saved)].sort());
        expect(said(write(a, b))).toEqual(textsOf(setOf(a, b)));
        expect(said(write(b, a))).toEqual(textsOf(setOf(a, b)));
      }),
      runs(0.2),
    );
  });
});
