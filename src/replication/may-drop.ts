import type { NodeId } from '../../crdt/ids.ts';
import { isEligible } from '../../crdt/placement.ts';
import type { PlacementMap } from './placement-map.ts';
import type { Subject } from './subject.ts';

/** What a lease must still have to run when a drop begins, in milliseconds: the drop itself takes a transaction. */
const leaseMarginMs = 5_000;

/** Why a content stays. */
export type DropRefusal =
  /** No version is known to have it: then nothing says how many copies there are to be. */
  | 'unreferenced'
  /** This node is to hold it, or stands in for one that is. */
  | 'wanted_here'
  /** This node has given its word to another that it keeps it for now. */
  | 'bound'
  /** Fewer others than the policy asks have proved every chunk of it under a lease that still runs. */
  | 'too_few_proofs'
  /** Those who have do not lie as far apart as the policy asks. */
  | 'too_little_diversity';

export interface DropView {
  /** The node that would drop it. */
  readonly self: NodeId;
  /** Every version kept here that has the content. */
  readonly subjects: readonly Subject[];
  readonly placement: PlacementMap;
  /** Nodes that have been offline for longer than the repair delay. */
  readonly gone: ReadonlySet<NodeId>;
  /** True while a lease runs that this node gave. */
  readonly isBound: boolean;
  /** Others that proved every chunk for this deletion, and until when each is bound, on this node's monotonic clock. */
  readonly provedUntilMs: ReadonlyMap<NodeId, number>;
  readonly nowMs: number;
}

/**
 * Whether a node may drop its copy of a content: undefined, or why not. What remains after it then meets the policy of
 * every version that has the content, by copies whose holders have all given their word to keep them meanwhile: so of two
 * nodes that ask each other neither drops, and of several that ask the same holders each counts only those who stay.
 * Copies on nodes where the policy would not place the content (that drain, or have the wrong labels) do not count.
 */
export function mayDrop(view: DropView): DropRefusal | undefined {
  const { self, subjects, placement, gone, isBound } = view;
  if (subjects.length === 0) return 'unreferenced';
  if (isBound) return 'bound';
  for (const { ns, key } of subjects) {
    const { desired, substitutes } = placement.assigned(ns, key, gone);
    if (desired.holders.includes(self) || substitutes.includes(self)) return 'wanted_here';
    const refusal = whatIsLacking(view, ns);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function whatIsLacking({ self, placement, provedUntilMs, nowMs }: DropView, ns: string): DropRefusal | undefined {
  const policy = placement.policyOf(ns);
  const proved = placement.nodes.filter(
    (node) =>
      node.nodeId !== self &&
      (provedUntilMs.get(node.nodeId) ?? Number.NEGATIVE_INFINITY) >= nowMs + leaseMarginMs &&
      isEligible(node, policy),
  );
  if (proved.length < policy.replicas) return 'too_few_proofs';
  for (const [label, wanted] of Object.entries(policy.diversity)) {
    const values = new Set(proved.flatMap(({ labels }) => labels[label] ?? []));
    if (values.size < wanted) return 'too_little_diversity';
  }
  return undefined;
}
