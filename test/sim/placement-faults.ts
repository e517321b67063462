import type { Role } from '../../crdt/control/member.ts';
import type { NamespacePolicy } from '../../crdt/control/namespace-policy.ts';
import type { AskedOperation } from '../../src/node/cluster-api.ts';
import type { Draw } from './draw.ts';
import { namespace, type Simulation } from './simulation.ts';

/** What an operator does that moves content. */
export type PlacementFault = 'changePolicy' | 'changeLabels' | 'changeCapacity' | 'drain' | 'changeStorage';

/** Values of the label `dc`. */
export const dcs = ['ams', 'fra', 'par'] as const;
const capacitiesMax = 8;

const policies: readonly NamespacePolicy[] = [
  {},
  { replicas: 1 },
  { replicas: 2 },
  { replicas: 4 },
  { replicas: 3, diversity: { dc: 2 } },
  { replicas: 3, diversity: { dc: 3 } },
  { replicas: 2, diversity: { dc: 2, rack: 2 } },
  { replicas: 2, forbidden: { dc: ['par'] } },
  { replicas: 2, required: { dc: ['ams', 'fra'] } },
];

/** Each has the control log changed through a node; what can be refused may be. */
export function placementFaults(
  sim: Simulation,
  draw: Draw,
  through: string,
): Readonly<Record<PlacementFault, () => void>> {
  const change = (kind: PlacementFault, operationFor: () => AskedOperation): (() => void) => {
    return () => {
      const operation = operationFor();
      sim.countFault(kind);
      sim.trace.note(`${kind} through ${through}: ${JSON.stringify(operation)}`);
      sim.change(through, operation).then(
        (outcome) => sim.trace.note(`${kind}: ${outcome.ok ? 'done' : outcome.error.code}`),
        (error: unknown) => sim.trace.note(`${kind}: ${String(error)}`),
      );
    };
  };
  const someone = () => draw.pick(sim.node(through).nodes());
  return {
    changePolicy: change('changePolicy', () => ({ type: 'namespace', ns: namespace, policy: draw.pick(policies) })),
    changeLabels: change('changeLabels', () => {
      const { nodeId, labels } = someone();
      return { type: 'labels', nodeId, labels: { ...labels, dc: draw.pick(dcs) } };
    }),
    changeCapacity: change('changeCapacity', () => {
      return { type: 'capacity', nodeId: someone().nodeId, capacity: draw.integer(1, capacitiesMax) };
    }),
    drain: change('drain', () => {
      const { nodeId, draining } = someone();
      return { type: 'drain', nodeId, draining: !draining };
    }),
    changeStorage: change('changeStorage', () => {
      // Who votes can do without content: it leaves placement so, and joins it again.
      const coordinators = sim
        .node(through)
        .nodes()
        .filter(({ roles }) => roles.includes('coordinator'));
      const { nodeId, roles } = draw.pick(coordinators);
      const next: readonly Role[] = roles.includes('storage') ? ['coordinator'] : ['coordinator', 'storage'];
      return { type: 'roles', nodeId, roles: next };
    }),
  };
}
