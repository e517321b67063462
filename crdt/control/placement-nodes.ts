import type { PlacementNode } from '../placement.ts';
import { capacityStepDefault, weightOfStep } from './capacity.ts';
import type { ControlState } from './state.ts';

/**
 * The members that content can be placed on: those with the role `storage` that are not draining, by node id. All of it
 * is what every node agrees on at a position of the control log, so all of them place alike.
 */
export function placementNodes({ members }: Pick<ControlState, 'members'>): readonly PlacementNode[] {
  return [...members.values()]
    .filter(({ roles, draining }) => roles.includes('storage') && draining !== true)
    .map(({ nodeId, labels, capacity = capacityStepDefault }) => ({ nodeId, labels, weight: weightOfStep(capacity) }))
    .sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
}
