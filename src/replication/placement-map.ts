import { encodeCanonical } from '../../crdt/canonical-json.ts';
import { effectivePolicy, type NamespacePolicy } from '../../crdt/control/namespace-policy.ts';
import type { NodeId } from '../../crdt/ids.ts';
import { type Placement, type PlacementNode, type PlacementPolicy, Placer } from '../../crdt/placement.ts';

/** Placers kept: one for each policy, and again for each set of nodes that are gone. */
const placersMax = 256;

/** Who is to hold an object's content now. */
export interface Assignment {
  /** By the control log alone. */
  readonly desired: Placement;
  /** Who stands in for desired holders that are gone; never desired holders themselves. */
  readonly substitutes: readonly NodeId[];
}

/**
 * Where everything is to be, by one state of the control log: a pure function of nodes and policies, which every node
 * of the mesh computes the same.
 */
export class PlacementMap {
  readonly nodes: readonly PlacementNode[];
  /** Equal for equal nodes, whatever their order. */
  readonly nodesText: string;
  readonly #namespaces: ReadonlyMap<string, NamespacePolicy>;
  readonly #policies = new Map<string, { readonly policy: PlacementPolicy; readonly text: string }>();
  readonly #placers = new Map<string, Placer>();

  constructor(nodes: readonly PlacementNode[], namespaces: ReadonlyMap<string, NamespacePolicy>) {
    this.nodes = [...nodes].sort((left, right) => (left.nodeId < right.nodeId ? -1 : 1));
    this.nodesText = encodeCanonical(this.nodes);
    this.#namespaces = namespaces;
  }

  /** The same policies over other nodes. */
  withNodes(nodes: readonly PlacementNode[]): PlacementMap {
    return new PlacementMap(nodes, this.#namespaces);
  }

  policyOf(ns: string): PlacementPolicy {
    return this.#policy(ns).policy;
  }

  /** Equal for equal policies. */
  policyText(ns: string): string {
    return this.#policy(ns).text;
  }

  /** The desired holders of an object. */
  desired(ns: string, key: string): Placement {
    return this.#placer(ns, nobody).place(ns, key);
  }

  /**
   * The desired holders, and who stands in for those of them that are gone: the holders that an object would have if
   * the mesh were without the nodes that are gone, less the desired ones.
   */
  assigned(ns: string, key: string, gone: ReadonlySet<NodeId>): Assignment {
    const desired = this.desired(ns, key);
    if (!desired.holders.some((holder) => gone.has(holder))) return { desired, substitutes: [] };
    const { holders } = this.#placer(ns, gone).place(ns, key);
    return { desired, substitutes: holders.filter((holder) => !desired.holders.includes(holder)) };
  }

  #policy(ns: string): { readonly policy: PlacementPolicy; readonly text: string } {
    const own = this.#namespaces.get(ns);
    // Those without a policy share one entry, so that there are no more than there are policies.
    const name = own === undefined ? '' : ns;
    const known = this.#policies.get(name);
    if (known !== undefined) return known;
    const { replicas, diversity, required, forbidden } = effectivePolicy(own);
    const policy = { replicas, diversity, required, forbidden };
    const entry = { policy, text: encodeCanonical(policy) };
    this.#policies.set(name, entry);
    return entry;
  }

  #placer(ns: string, gone: ReadonlySet<NodeId>): Placer {
    const { policy, text } = this.#policy(ns);
    const name = gone.size === 0 ? text : `${[...gone].sort().join(' ')} ${text}`;
    const known = this.#placers.get(name);
    if (known !== undefined) return known;
    if (this.#placers.size >= placersMax) this.#placers.clear();
    const nodes = gone.size === 0 ? this.nodes : this.nodes.filter(({ nodeId }) => !gone.has(nodeId));
    const placer = new Placer(nodes, policy);
    this.#placers.set(name, placer);
    return placer;
  }
}

const nobody: ReadonlySet<NodeId> = new Set();

/** What of placement differs between two states. */
export interface PlacementChange {
  /** False when nothing can have moved. */
  readonly isAny: boolean;
  /** Whether an object has other desired holders than before. */
  readonly touches: (ns: string, key: string) => boolean;
}

/** What changed in placement from one state to another: a changed node moves some objects, a changed policy some of its namespace. */
export function placementChange(
  before: PlacementMap,
  after: PlacementMap,
  namespaces: Iterable<string>,
): PlacementChange {
  const sameNodes = before.nodesText === after.nodesText;
  const touched = new Set<string>();
  for (const ns of namespaces) if (before.policyText(ns) !== after.policyText(ns)) touched.add(ns);
  return {
    isAny: !sameNodes || touched.size > 0,
    touches: (ns, key) => {
      if (sameNodes && !touched.has(ns)) return false;
      const [former, present] = [before.desired(ns, key).holders, after.desired(ns, key).holders];
      return former.length !== present.length || former.some((holder) => !present.includes(holder));
    },
  };
}
