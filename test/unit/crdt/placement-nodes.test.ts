import { describe, expect, test } from 'vitest';
import { capacityStepDefault, capacityStepMax, stepOfBytes, weightOfStep } from '../../../crdt/control/capacity.ts';
import type { ControlMember } from '../../../crdt/control/member.ts';
import { placementNodes } from '../../../crdt/control/placement-nodes.ts';
import { Placer } from '../../../crdt/placement.ts';
import { memberOf, placementLog } from '../../support/control-log.ts';
import { testNode } from '../../support/versions.ts';

const stateOf = (...members: readonly ControlMember[]) => ({
  members: new Map(members.map((member) => [member.nodeId, member])),
});
const gibibyte = 2 ** 30;

describe('the nodes that content is placed on', () => {
  test('are those that store and do not drain, by node id, with their labels', () => {
    const labels = { dc: 'a' };
    const nodes = placementNodes(
      stateOf(
        memberOf('north', ['storage'], { labels }),
        memberOf('east', ['coordinator', 'storage']),
        memberOf('south', ['coordinator']),
        memberOf('west', ['agent']),
        { ...memberOf('a'), draining: true },
      ),
    );
    const expected = ['north', 'east'].map((name) => testNode(name).nodeId).toSorted();
    expect(nodes.map(({ nodeId }) => nodeId)).toEqual(expected);
    expect(nodes.find(({ nodeId }) => nodeId === testNode('north').nodeId)?.labels).toEqual(labels);
  });

  test('weigh what the log says, and 1,024 when it says nothing', () => {
    const weights = new Map(placementNodes(placementLog().state).map(({ nodeId, weight }) => [nodeId, weight]));
    expect(weights.get(testNode('north').nodeId)).toBe(2_048 * Math.SQRT2);
    expect(weights.get(testNode('east').nodeId)).toBe(Math.SQRT2);
    expect(weights.has(testNode('south').nodeId)).toBe(false);
    expect(placementNodes(stateOf(memberOf('a')))[0]?.weight).toBe(1_024);
  });

  test('get content by their weight', () => {
    const nodes = placementNodes(stateOf({ ...memberOf('a'), capacity: 20 }, { ...memberOf('b'), capacity: 22 }));
    const placer = new Placer(nodes, { replicas: 1, diversity: {}, required: {}, forbidden: {} });
    const held = Array.from({ length: 3_000 }, (_, at) => placer.place('docs', String(at)).holders[0]);
    const share = held.filter((holder) => holder === testNode('b').nodeId).length / held.length;
    expect(share).toBeGreaterThan(0.64);
    expect(share).toBeLessThan(0.7);
  });
});

describe('a step of capacity', () => {
  test('is doubled by two more, exactly', () => {
    expect(weightOfStep(2)).toBe(2);
    expect(weightOfStep(capacityStepDefault)).toBe(1_024);
    expect(weightOfStep(capacityStepMax)).toBe(2 ** 32);
    for (let step = 1; step <= capacityStepMax - 2; step += 1) {
      expect(weightOfStep(step + 2)).toBe(2 * weightOfStep(step));
      expect(weightOfStep(step + 1)).toBeGreaterThan(weightOfStep(step));
    }
  });

  test.each([
    [1_024 * gibibyte, 20],
    [2_048 * gibibyte, 22],
    [500e9, 18],
    [1, 1],
    [0, 1],
    [2 ** 70, 64],
  ])('is the nearest to %d bytes', (bytes, step) => {
    expect(stepOfBytes(bytes)).toBe(step);
  });
});
