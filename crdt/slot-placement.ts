import type { Role } from './control/member.ts';
import type { NodeId } from './ids.ts';
import { arrival, type HashWords, hashWords } from './rendezvous.ts';
import { SlotSet } from './slot-set.ts';

/** A member, as far as the placement of slots asks. */
export interface SlotMember {
  readonly nodeId: NodeId;
  readonly roles: readonly Role[];
}

/** When slots are placed, and on how many. */
export interface SlotRules {
  /** Up to so many members every member holds every slot: all metadata everywhere costs less than asking for it. */
  readonly threshold: number;
  /** How many members hold a slot of a larger mesh, beside the coordinators. */
  readonly replicas: number;
}

/** What holds unless a development or test setting says otherwise. */
export const defaultSlotRules: SlotRules = { threshold: 32, replicas: 8 };

interface Candidate {
  readonly nodeId: NodeId;
  readonly words: HashWords;
}

const slotDomain = 'anabranch/slot/1';
const nodeDomain = 'anabranch/slot-holder/1';

/**
 * Which member holds which slot: all of them all of it in a small mesh; in a larger one every coordinator all of it,
 * and of the other members with the role `storage` the first `replicas` by rendezvous hashing. A pure function of the
 * members, whatever order they come in, so every node that has the same control log computes the same; and a member
 * that comes or goes moves only its own share.
 */
export class SlotPlacement {
  readonly rules: SlotRules;
  /** How many slots there are. */
  readonly count: number;
  /** True in a mesh so small that everybody holds everything. */
  readonly isWhole: boolean;
  readonly #members: ReadonlySet<NodeId>;
  readonly #coordinators: readonly NodeId[];
  readonly #candidates: readonly Candidate[];
  /** By slot, as far as somebody asked. */
  readonly #holders = new Map<number, readonly NodeId[]>();
  /** By member, likewise. */
  readonly #slots = new Map<NodeId, SlotSet>();

  /**
   * @param slots how many slots there are
   */
  constructor(members: Iterable<SlotMember>, slots: number, rules: SlotRules = defaultSlotRules) {
    const sorted = [...members].sort((left, right) => (left.nodeId < right.nodeId ? -1 : 1));
    this.rules = rules;
    this.count = slots;
    this.isWhole = sorted.length <= rules.threshold;
    this.#members = new Set(sorted.map(({ nodeId }) => nodeId));
    this.#coordinators = sorted.filter(({ roles }) => roles.includes('coordinator')).map(({ nodeId }) => nodeId);
    this.#candidates = this.isWhole
      ? []
      : sorted
          .filter(({ roles }) => roles.includes('storage') && !roles.includes('coordinator'))
          .map(({ nodeId }) => ({ nodeId, words: hashWords(nodeDomain, nodeId) }));
  }

  /** The slots a node holds. One that is no member: all of them in a small mesh, none in a larger one. */
  slotsOf(node: NodeId): SlotSet {
    if (this.isWhole || this.#coordinators.includes(node)) return SlotSet.all(this.count);
    const own = this.#candidates.find(({ nodeId }) => nodeId === node);
    if (own === undefined) return SlotSet.none(this.count);
    const known = this.#slots.get(node);
    if (known !== undefined) return known;
    const held: number[] = [];
    for (let slot = 0; slot < this.count; slot += 1) if (this.#isAmongFirst(own, slot)) held.push(slot);
    const slots = SlotSet.of(this.count, held);
    this.#slots.set(node, slots);
    return slots;
  }

  /** The members that hold a slot: those placed by rendezvous, the first first, then the coordinators. */
  holdersOf(slot: number): readonly NodeId[] {
    if (this.isWhole) return [...this.#members];
    const known = this.#holders.get(slot);
    if (known !== undefined) return known;
    const holders = [...this.#placed(slot), ...this.#coordinators];
    this.#holders.set(slot, holders);
    return holders;
  }

  /** How many holders a document of a slot must have come to before its writer may leave it to them. */
  enoughHolders(slot: number): number {
    return Math.min(this.rules.replicas, this.holdersOf(slot).length);
  }

  #placed(slot: number): NodeId[] {
    const subject = hashWords(slotDomain, String(slot));
    return this.#candidates
      .map(({ nodeId, words }) => ({ nodeId, time: arrival(subject, words) }))
      .sort((left, right) => left.time - right.time || (left.nodeId < right.nodeId ? -1 : 1))
      .slice(0, this.rules.replicas)
      .map(({ nodeId }) => nodeId);
  }

  /** Looks no further than to the last one that could come before it, which for most is among the first few. */
  #isAmongFirst(own: Candidate, slot: number): boolean {
    const subject = hashWords(slotDomain, String(slot));
    const time = arrival(subject, own.words);
    let before = 0;
    for (const { nodeId, words } of this.#candidates) {
      const theirs = arrival(subject, words);
      if (theirs < time || (theirs === time && nodeId < own.nodeId)) before += 1;
      if (before >= this.rules.replicas) return false;
    }
    return before < this.rules.replicas;
  }
}
