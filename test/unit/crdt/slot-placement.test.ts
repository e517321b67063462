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

/** By slot, who holds it. */
function holders(members: readonly SlotMember[]): NodeId[][] {
  const held = members.map(({ nodeId }) => ({ nodeId, own: new Set(slotsHeldBy(nodeId, members, slots)) }));
  return everySlot.map((slot) => held.filter(({ own }) => own.has(slot)).map(({ nodeId }) => nodeId));
}

describe('the placement of slots', () => {
  it('gives every node every slot in a mesh of up to 32', () => {
    for (const { nodeId } of mesh(32, 3)) expect(slotsHeldBy(nodeId, mesh(32, 3), slots)).toEqual(everySlot);
  });

  it('gives each slot of a larger mesh to its coordinators and eight others', () => {
    const members = mesh(50, 5);
    for (const nodes of holders(members)) {
      expect(nodes).toHaveLength(5 + 8);
      expect(nodes.slice(0, 5)).toEqual(members.slice(0, 5).map(({ nodeId }) => nodeId));
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
    const after = holders(members.slice(0, -1));
    for (const [slot, nodes] of holders(members).entries()) {
      expect(after[slot]).toEqual(expect.arrayContaining(nodes.filter((node) => node !== 'node-59')));
    }
  });

  it('spreads the slots over all nodes', () => {
    const members = mesh(64, 0);
    const held = members.map(({ nodeId }) => slotsHeldBy(nodeId, members, 1_024).length);
    // An eighth of them is 128, give or take 11.
    expect(Math.min(...held)).toBeGreaterThan(128 - 5 * 11);
    expect(Math.max(...held)).toBeLessThan(128 + 5 * 11);
  });

  it('gives every slot to a node that the members do not name', () => {
    expect(slotsHeldBy('stranger' as NodeId, mesh(50, 3), slots)).toEqual(everySlot);
  });
});
