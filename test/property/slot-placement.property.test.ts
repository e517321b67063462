import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Role } from '../../crdt/control/member.ts';
import type { NodeId } from '../../crdt/ids.ts';
import { defaultSlotRules, type SlotMember, SlotPlacement, type SlotRules } from '../../crdt/slot-placement.ts';
import { SlotSet } from '../../crdt/slot-set.ts';
import { runs } from '../support/property-runs.ts';

const rolesOf = fc.constantFrom<readonly Role[]>(
  ['storage'],
  ['storage'],
  ['storage'],
  ['coordinator'],
  ['coordinator', 'storage'],
  ['agent'],
  ['agent', 'storage'],
);
const meshes = fc
  .array(rolesOf, { maxLength: 60 })
  .map((list): SlotMember[] => list.map((roles, index) => ({ nodeId: `node-${index}` as NodeId, roles })));
const rules: fc.Arbitrary<SlotRules> = fc.record({
  threshold: fc.integer({ min: 0, max: 40 }),
  replicas: fc.integer({ min: 1, max: 10 }),
});
const counts = fc.constantFrom(1, 2, 16, 64);
const isCoordinator = ({ roles }: SlotMember): boolean => roles.includes('coordinator');

/** By slot, the members that find it among theirs. */
function holders(members: readonly SlotMember[], count: number, by: SlotRules): NodeId[][] {
  const placement = new SlotPlacement(members, count, by);
  const held = members.map(({ nodeId }) => ({ nodeId, slots: placement.slotsOf(nodeId) }));
  return Array.from({ length: count }, (_, slot) => held.filter((each) => each.slots.has(slot)).map((h) => h.nodeId));
}

describe('the placement of slots', () => {
  it('gives every slot to its replica count of the members that store, or to all of them, and to every coordinator', () => {
    fc.assert(
      fc.property(meshes, counts, rules, (members, count, by) => {
        if (members.length <= by.threshold) return;
        const storing = members.filter((member) => member.roles.includes('storage') && !isCoordinator(member));
        for (const nodes of holders(members, count, by)) {
          const coordinators = members.filter(isCoordinator).map(({ nodeId }) => nodeId);
          expect(nodes).toEqual(expect.arrayContaining(coordinators));
          expect(nodes).toHaveLength(coordinators.length + Math.min(by.replicas, storing.length));
        }
      }),
    );
  });

  it('gives every slot to every member of a small mesh', () => {
    fc.assert(
      fc.property(meshes, counts, rules, (members, count, by) => {
        if (members.length > by.threshold) return;
        for (const nodes of holders(members, count, by)) expect(nodes).toHaveLength(members.length);
      }),
    );
  });

  it('says the same of a slot as of a member, whatever the order of the members', () => {
    fc.assert(
      fc.property(meshes, counts, rules, (members, count, by) => {
        const reversed = new SlotPlacement(members.toReversed(), count, by);
        for (const [slot, nodes] of holders(members, count, by).entries()) {
          expect([...reversed.holdersOf(slot)].sort()).toEqual([...nodes].sort());
        }
      }),
    );
  });

  it('moves only what a member that comes or goes holds', () => {
    fc.assert(
      fc.property(meshes, counts, rules, fc.nat(), (members, count, by, pick) => {
        const gone = members[pick % Math.max(1, members.length)];
        // At the threshold everything moves, which is what it is for.
        if (gone === undefined || members.length - 1 <= by.threshold) return;
        const rest = members.filter((member) => member !== gone);
        const after = holders(rest, count, by);
        for (const [slot, nodes] of holders(members, count, by).entries()) {
          const before = nodes.filter((node) => node !== gone.nodeId);
          expect(after[slot]).toEqual(expect.arrayContaining(before));
          const moved = (after[slot] as NodeId[]).filter((node) => !before.includes(node));
          expect(moved.length).toBeLessThanOrEqual(nodes.includes(gone.nodeId) && !isCoordinator(gone) ? 1 : 0);
        }
      }),
    );
  });

  it('gives a coordinator that steps down, or a member that becomes one, nobody else’s slots but one place each', () => {
    fc.assert(
      fc.property(meshes, counts, rules, fc.nat(), (members, count, by, pick) => {
        const changed = members[pick % Math.max(1, members.length)];
        if (changed === undefined || members.length <= by.threshold) return;
        const roles: readonly Role[] = isCoordinator(changed) ? ['storage'] : ['coordinator', 'storage'];
        const others = members.map((member) => (member === changed ? { ...member, roles } : member));
        const after = holders(others, count, by);
        for (const [slot, nodes] of holders(members, count, by).entries()) {
          const of = (list: readonly NodeId[]): NodeId[] => list.filter((node) => node !== changed.nodeId);
          const came = of(after[slot] as NodeId[]).filter((node) => !nodes.includes(node));
          const went = of(nodes).filter((node) => !after[slot]?.includes(node));
          expect(came.length + went.length).toBeLessThanOrEqual(1);
        }
      }),
    );
  });

  it('places nothing up to 32 members, and eight holders a slot beside the coordinators past it', () => {
    const members = Array.from({ length: 33 }, (_, index): SlotMember => {
      return { nodeId: `node-${index}` as NodeId, roles: index < 3 ? ['coordinator', 'storage'] : ['storage'] };
    });
    expect(new SlotPlacement(members.slice(1), 16).isWhole).toBe(true);
    expect(new SlotPlacement(members, 16).isWhole).toBe(false);
    for (const nodes of holders(members, 16, defaultSlotRules)) expect(nodes).toHaveLength(3 + 8);
  });

  it('spreads the slots over all members', () => {
    const members = Array.from({ length: 64 }, (_, index): SlotMember => {
      return { nodeId: `node-${index}` as NodeId, roles: ['storage'] };
    });
    const placement = new SlotPlacement(members, 1_024);
    const sizes = members.map(({ nodeId }) => placement.slotsOf(nodeId).size);
    // An eighth of them is 128, give or take 11.
    expect(Math.min(...sizes)).toBeGreaterThan(128 - 5 * 11);
    expect(Math.max(...sizes)).toBeLessThan(128 + 5 * 11);
  });

  it('gives one that is no member everything in a small mesh and nothing in a larger one', () => {
    const members: SlotMember[] = [{ nodeId: 'node-1' as NodeId, roles: ['storage'] }];
    const stranger = 'stranger' as NodeId;
    expect(new SlotPlacement(members, 16).slotsOf(stranger).isAll).toBe(true);
    expect(new SlotPlacement(members, 16, { threshold: 0, replicas: 1 }).slotsOf(stranger).size).toBe(0);
  });
});

describe('a set of slots', () => {
  const sets = counts.chain((count) =>
    fc.record({
      count: fc.constant(count),
      left: fc.uniqueArray(fc.nat({ max: count - 1 })),
      right: fc.uniqueArray(fc.nat({ max: count - 1 })),
    }),
  );

  it('behaves as a set of numbers does', () => {
    fc.assert(
      fc.property(sets, ({ count, left, right }) => {
        const [a, b] = [SlotSet.of(count, left), SlotSet.of(count, right)];
        const [x, y] = [new Set(left), new Set(right)];
        const sorted = (set: Iterable<number>): number[] => [...set].sort((l, r) => l - r);
        expect(a.list()).toEqual(sorted(x));
        expect(a.size).toBe(x.size);
        expect(a.isAll).toBe(x.size === count);
        expect(a.and(b).list()).toEqual(sorted(left.filter((slot) => y.has(slot))));
        expect(a.or(b).list()).toEqual(sorted(new Set([...left, ...right])));
        expect(a.minus(b).list()).toEqual(sorted(left.filter((slot) => !y.has(slot))));
        expect(a.equals(b)).toBe(sorted(x).join() === sorted(y).join());
        expect(Array.from({ length: count }, (_, slot) => slot).filter((slot) => a.has(slot))).toEqual(sorted(x));
      }),
    );
  });

  it('is read back from its bytes, and from no others', () => {
    fc.assert(
      fc.property(sets, ({ count, left }) => {
        const set = SlotSet.of(count, left);
        expect(SlotSet.decode(set.encode(), count)?.equals(set)).toBe(true);
        expect(SlotSet.decode(new Uint8Array([...set.encode(), 0]), count)).toBeUndefined();
        expect(SlotSet.decode(set.encode().subarray(1), count)).toBeUndefined();
      }),
      runs(1),
    );
    expect(SlotSet.decode(Uint8Array.of(0b100), 2)).toBeUndefined();
    expect(SlotSet.decode(Uint8Array.of(0b11), 2)?.isAll).toBe(true);
  });

  it('is not made of slots that there are not', () => {
    expect(() => SlotSet.of(16, [16])).toThrow(RangeError);
    expect(() => SlotSet.of(16, [-1])).toThrow(RangeError);
    expect(SlotSet.all(16).has(16)).toBe(false);
  });
});
