import type { BlobHash } from '../../../crdt/ids.ts';
import { isEligible, type PlacementPolicy } from '../../../crdt/placement.ts';
import type { PlacementMap } from '../../../src/replication/placement-map.ts';
import type { Machine } from '../machine.ts';
import { isContentIntact } from '../soundness.ts';
import type { CheckerFactory, Violate, World } from './checker.ts';

/**
 * A copy counts for so long after its disk was exchanged: so long an answer may be on its way, and who stood still
 * meanwhile is given as much more.
 */
const proofMsMax = 12_000;
const standstillMsMax = 30_000;

/**
 * Invariant 8: whoever drops a copy leaves as many others as the policy of every version with that content asks, with as
 * many values of each label, on nodes that the policy lets hold it. Policy, labels and versions are those that the node
 * itself knows; whether the others have the content, their disks say, whatever anybody believes.
 */
export const drops: CheckerFactory = {
  name: 'drops',
  create: (world) => ({
    committed: ({ machine, dropped }, violate) => {
      for (const manifest of dropped) checkDrop(machine, manifest, world, violate);
    },
  }),
};

function checkDrop(machine: Machine, manifest: BlobHash, world: World, violate: Violate): void {
  const placement = machine.process?.node.replicationParts.placement.map();
  const namespaces = new Set<string>();
  for (const id of machine.holdings.ids()) {
    const record = world.library.get(id)?.version.record;
    if (record?.content?.manifest === manifest) namespaces.add(record.ns);
  }
  if (placement === undefined || namespaces.size === 0) {
    violate(`${machine.name} dropped content ${manifest}, of which it has no version`);
    return;
  }
  const stoodStill = machine.resumedMs >= world.nowMs() - standstillMsMax;
  const sinceMs = world.nowMs() - proofMsMax - (stoodStill ? standstillMsMax : 0);
  const others = [...world.machines.values()].filter((other) => other !== machine);
  const holders = others.filter((other) => hasCopy(other, manifest, sinceMs));
  for (const ns of namespaces) {
    const lack = lackOf(holders, { placement, policy: placement.policyOf(ns) });
    if (lack !== undefined) violate(`${machine.name} dropped content ${manifest} and left ${lack}`);
  }
}

/** It is there whole and would be after a power cut, or was until its disk failed a moment ago. */
function hasCopy(machine: Machine, manifest: BlobHash, sinceMs: number): boolean {
  const { contents, spoiledContents } = machine;
  const isThere =
    contents.has(manifest) && (spoiledContents.has(manifest) || isContentIntact(machine, manifest, 'durable'));
  // One that was fetched again after that may not be durable yet.
  return isThere || contents.failedSince(manifest, sinceMs);
}

/** What these holders lack of a policy, where its content may be placed; undefined when nothing does. */
export function lackOf(
  holders: readonly Machine[],
  { placement, policy }: { readonly placement: PlacementMap; readonly policy: PlacementPolicy },
): string | undefined {
  const ids = new Set(holders.map(({ member }) => member.nodeId));
  const counting = placement.nodes.filter((node) => ids.has(node.nodeId) && isEligible(node, policy));
  if (counting.length < policy.replicas) return `${counting.length} copies of ${policy.replicas}`;
  for (const [label, wanted] of Object.entries(policy.diversity)) {
    const values = new Set(counting.flatMap(({ labels }) => labels[label] ?? []));
    if (values.size < wanted) return `copies in ${values.size} of ${wanted} values of ${label}`;
  }
  return undefined;
}
