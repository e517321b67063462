import type { NodeId } from './ids.ts';
import { arrival, type HashWords, hashWords } from './rendezvous.ts';

/** A node that content can be placed on, as the control log has it. */
export interface PlacementNode {
  readonly nodeId: NodeId;
  /** Its share of the content: capacity in coarse steps, so that it changes seldom. More than 0. */
  readonly weight: number;
  readonly labels: Readonly<Record<string, string>>;
}

/** Where the content of an object is to be. */
export interface PlacementPolicy {
  readonly replicas: number;
  /** By label, how many distinct values its holders have at least. */
  readonly diversity: Readonly<Record<string, number>>;
  /** By label, the values of which a holder has one. */
  readonly required: Readonly<Record<string, readonly string[]>>;
  /** By label, the values that no holder has. */
  readonly forbidden: Readonly<Record<string, readonly string[]>>;
}

/** What of a policy cannot be met with the nodes there are. */
export type PlacementLack =
  | { readonly kind: 'replicas'; readonly wanted: number; readonly placed: number }
  | { readonly kind: 'diversity'; readonly label: string; readonly wanted: number; readonly placed: number };

export interface Placement {
  /** The desired holders, best first. */
  readonly holders: readonly NodeId[];
  /** Empty when the policy is met. */
  readonly lacks: readonly PlacementLack[];
}

interface Candidate {
  readonly nodeId: NodeId;
  readonly words: HashWords;
  readonly weight: number;
  /** For each label of the diversity, the number of its value; -1 without one. */
  readonly values: readonly number[];
}

interface Diversity {
  readonly label: string;
  readonly wanted: number;
  /** What can be had: no more than there are values, or replicas. */
  readonly possible: number;
}

const subjectDomain = 'anabranch/placement/subject/1';
const nodeDomain = 'anabranch/placement/node/1';

/**
 * Places objects on nodes under one policy. A pure function of its inputs, whatever order the nodes come in: every
 * node of the mesh computes the same.
 */
export class Placer {
  readonly #candidates: readonly Candidate[];
  readonly #diversity: readonly Diversity[];
  readonly #replicas: number;

  constructor(nodes: readonly PlacementNode[], policy: PlacementPolicy) {
    const eligible = nodes
      .filter((node) => isEligible(node, policy))
      .sort((left, right) => (left.nodeId < right.nodeId ? -1 : 1));
    const labels = Object.keys(policy.diversity).sort();
    const values = labels.map((label) => distinctValues(eligible, label));
    this.#replicas = policy.replicas;
    this.#diversity = labels.map((label, index) => {
      const wanted = policy.diversity[label] ?? 0;
      return { label, wanted, possible: Math.min(wanted, values[index]?.length ?? 0, policy.replicas) };
    });
    this.#candidates = eligible.map(({ nodeId, weight, labels: own }) => ({
      nodeId,
      weight,
      words: hashWords(nodeDomain, nodeId),
      values: labels.map((label, index) => values[index]?.indexOf(own[label] ?? '') ?? -1),
    }));
  }

  /** The desired holders of an object. */
  place(ns: string, key: string): Placement {
    const times = this.#arrivals(hashWords(subjectDomain, `${ns}/${key}`));
    const chosen: NodeId[] = [];
    const seen = this.#diversity.map(() => new Set<number>());
    const count = Math.min(this.#replicas, this.#candidates.length);
    while (chosen.length < count) {
      const next = this.#choose(times, seen, this.#replicas - chosen.length - 1);
      const { nodeId, values } = this.#candidates[next] as Candidate;
      chosen.push(nodeId);
      times[next] = Number.POSITIVE_INFINITY;
      for (const [index, known] of seen.entries()) {
        const value = values[index] ?? -1;
        if (value >= 0) known.add(value);
      }
    }
    return { holders: chosen, lacks: this.#lacks(chosen.length, seen) };
  }

  #arrivals(subject: HashWords): Float64Array {
    const times = new Float64Array(this.#candidates.length);
    for (const [index, { words, weight }] of this.#candidates.entries())
      times[index] = arrival(subject, words) / weight;
    return times;
  }

  /**
   * The first to arrive that leaves the diversity within reach: with it, what is still lacking of each label fits into
   * the `left` places. Where no node does (labels that contradict each other), the first that exceeds them least. Of two
   * that arrive together the lesser id is first.
   */
  #choose(times: Float64Array, seen: readonly ReadonlySet<number>[], left: number): number {
    let best = 0;
    let bestTime = Number.POSITIVE_INFINITY;
    let bestExcess = Number.POSITIVE_INFINITY;
    for (let index = 0; index < times.length; index += 1) {
      const time = times[index] as number;
      if (time === Number.POSITIVE_INFINITY || (time >= bestTime && bestExcess === 0)) continue;
      const excess = seen.length === 0 ? 0 : this.#excess(this.#candidates[index] as Candidate, seen, left);
      if (excess > bestExcess || (excess === bestExcess && time >= bestTime)) continue;
      best = index;
      bestTime = time;
      bestExcess = excess;
    }
    return best;
  }

  #excess(candidate: Candidate, seen: readonly ReadonlySet<number>[], left: number): number {
    let excess = 0;
    for (const [index, { possible }] of this.#diversity.entries()) {
      const values = seen[index] as ReadonlySet<number>;
      const value = candidate.values[index] ?? -1;
      const lacking = possible - values.size - (value >= 0 && !values.has(value) ? 1 : 0);
      excess += Math.max(0, lacking - left);
    }
    return excess;
  }

  #lacks(placed: number, seen: readonly ReadonlySet<number>[]): PlacementLack[] {
    const lacks: PlacementLack[] = [];
    if (placed < this.#replicas) lacks.push({ kind: 'replicas', wanted: this.#replicas, placed });
    for (const [index, { label, wanted }] of this.#diversity.entries()) {
      const size = seen[index]?.size ?? 0;
      if (size < wanted) lacks.push({ kind: 'diversity', label, wanted, placed: size });
    }
    return lacks;
  }
}

/** Whether a policy lets content be placed on a node. */
export function isEligible(
  { labels }: Pick<PlacementNode, 'labels'>,
  { required, forbidden }: Pick<PlacementPolicy, 'required' | 'forbidden'>,
): boolean {
  for (const [label, values] of Object.entries(required)) if (!values.includes(labels[label] ?? '')) return false;
  for (const [label, values] of Object.entries(forbidden)) if (values.includes(labels[label] ?? '')) return false;
  return true;
}

function distinctValues(nodes: readonly PlacementNode[], label: string): string[] {
  return [...new Set(nodes.flatMap(({ labels }) => labels[label] ?? []))].sort();
}
