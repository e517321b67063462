import { describe, expect, it } from 'vitest';
import type { NodeId } from '../../../crdt/ids.ts';
import { type SlotMember, slotsHeldBy } from '../../../crdt/slot-placement.ts';

const slots = 64;
const everySlot = Array.from({ length: slots }, (_, slot) => slot);
const mesh = (count: number, coordinators: number): SlotMember[] =>
  Array.from({ length: count }, (_, index) => ({
    nodeId: `node-${index}` as NodeId,
    isCoordinator: index < coordinators,
  }));

function holdersOf(slot: number, members: readonly SlotMember[]): NodeId[] {
  return members.map(({ nodeId }) => nodeId).filter((node) => slotsHeldBy(node, members, slots).includes(slot));
}

describe('the placement of slots', () => {
  it('gives every node every slot in a mesh of up to 32', () => {
    for (const { nodeId } of mesh(32, 3)) expect(slotsHeldBy(nodeId, mesh(32, 3), slots)).toEqual(everySlot);
  });

  it('gives each slot of a larger mesh to its coordinators and eight others', () => {
    const members = mesh(50, 5);
    for (const slot of everySlot) {
      const holders = holdersOf(slot, members);
      expect(holders).toHaveLength(5 + 8);
      expect(holders.slice(0, 5)).toEqual(members.slice(0, 5).map(({ nodeId }) => nodeId));
    }
  });

  it('does not depend on the order of the members', () => {
    const members = mesh(50, 3);
    for (const { nodeId } of members) {
      expect(slotsHeldBy(nodeId, [...members].reverse(), slots)).toEqual(slotsHeldBy(nodeId, members, slots));
    }
  });

  it('moves only the share of a node that goes', () => {
    const members = mesh(60, 3);
    const rest = members.slice(0, -1);
    for (const slot of everySlot) {
      const before = holdersOf(slot, members).filter((node) => node !== 'node-59');
      const after = holdersOf(slot, rest);
      expect(after).toEqual(expect.arrayContaining(before));
    }
  });

  it('spreads the slots over all nodes', () => {
    const members = mesh(64, 0);
    const held = members.map(({ nodeId }) => slotsHeldBy(nodeId, members, slots).length);
    expect(Math.min(...held)).toBeGreaterThan(0);
    expect(Math.max(...held)).toBeLessThan(24);
  });

  it('gives every slot to a node that the members do not name', () => {
    expect(slotsHeldBy('stranger' as NodeId, mesh(50, 3), slots)).toEqual(everySlot);
  });
});
