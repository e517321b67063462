import type { NodeId } from '../../../crdt/ids.ts';
import { type SlotMember, SlotPlacement, type SlotRules } from '../../../crdt/slot-placement.ts';
import { SlotSet } from '../../../crdt/slot-set.ts';
import type { Kv } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import type { Gauge, Metrics } from '../../ports/metrics.ts';
import { holdingsRow } from './slot-rows.ts';

interface Dependencies {
  readonly kv: Kv;
  /** The members as the control log has them now. */
  readonly members: () => Iterable<SlotMember>;
  readonly log: Log;
  readonly metrics: Metrics;
}

interface Options {
  readonly nodeId: NodeId;
  /** How many slots there are. */
  readonly slots: number;
  readonly rules: SlotRules;
}

/** How it stands with the slots at a node. */
export interface SlotStatus {
  /** How many there are. */
  readonly count: number;
  /** How many this node is to hold, and how many of them it has whole and answers for. */
  readonly kept: number;
  readonly held: number;
  /** How many it does not hold any more, and has still to hand over. */
  readonly leaving: number;
}

/**
 * Which slots this node keeps, by the members that the control log has, and which of them it can answer for.
 *
 * 1. In a mesh where slots were never placed every node keeps all and answers for all at once, whatever it has.
 * 2. Where they are placed, a slot that is gained is answered for only once it is *whole*: compared, since then, with a
 *    holder that has it whole, or with a majority of its holders.
 * 3. A slot that is lost is *leaving* until every holder is known to have all that is here of it. What is on the disk
 *    stays there.
 */
export class SlotHoldings {
  readonly #dependencies: Dependencies;
  readonly #options: Options;
  readonly #listeners = new Set<() => void>();
  /** Holders that a slot was compared with, and that do not have it whole either. */
  readonly #compared = new Map<number, Set<NodeId>>();
  readonly #gauge: Gauge;
  #placement: SlotPlacement;
  #isPlaced = false;
  #kept: SlotSet;
  #whole: SlotSet;
  #leaving = new Map<number, Set<NodeId>>();
  #writing: Promise<void> = Promise.resolve();
  #isDirty = false;

  constructor(dependencies: Dependencies, options: Options) {
    this.#dependencies = dependencies;
    this.#options = options;
    this.#placement = new SlotPlacement([], options.slots, options.rules);
    this.#kept = SlotSet.all(options.slots);
    this.#whole = SlotSet.none(options.slots);
    this.#gauge = dependencies.metrics.gauge({
      name: 'anabranch_slots',
      help: 'Slots of the metadata: all there are, those this node is to hold, those it answers for, those it hands over.',
      labels: ['state'],
    });
  }

  /** To be called once the control log is here, before anything asks. */
  async start(hasObjects: boolean): Promise<void> {
    const { slots } = this.#options;
    const row = holdingsRow.get(this.#dependencies.kv);
    if (row !== undefined) {
      this.#isPlaced = row.isPlaced;
      this.#kept = SlotSet.of(slots, row.kept);
      this.#whole = SlotSet.of(slots, row.whole);
      this.#leaving = new Map(row.leaving.map(([slot, holders]) => [slot, new Set(holders)]));
    } else if (hasObjects) {
      // A directory from before slots were placed: everything was kept everywhere.
      this.#whole = SlotSet.all(slots);
    }
    if (row === undefined) this.#isDirty = true;
    this.membersChanged();
    await this.idle();
  }

  get placement(): SlotPlacement {
    return this.#placement;
  }

  /** True where slots are not placed: this node answers for everything, and nobody is to be asked. */
  get isEverything(): boolean {
    return !this.#isPlaced;
  }

  get kept(): SlotSet {
    return this.#kept;
  }

  /** The kept slots that have been reconciled. Where slots are not placed, some may be answered for that are not. */
  get whole(): SlotSet {
    return this.#whole;
  }

  /** The slots this node answers for. */
  get held(): SlotSet {
    return this.#isPlaced ? this.#whole : this.#kept;
  }

  holds(slot: number): boolean {
    return !this.#isPlaced || this.#whole.has(slot);
  }

  /** True while something that is here of a slot may be lacking at one of its holders. */
  isLeaving(slot: number): boolean {
    return this.#leaving.has(slot);
  }

  /** The slots that a node is still to be shown to have all of. */
  leavingTo(node: NodeId): number[] {
    return [...this.#leaving]
      .filter(([slot, holders]) => !holders.has(node) && this.#placement.holdersOf(slot).includes(node))
      .map(([slot]) => slot);
  }

  status(): SlotStatus {
    return {
      count: this.#options.slots,
      kept: this.#kept.size,
      held: this.held.size,
      leaving: this.#leaving.size,
    };
  }

  /** Calls back after each change of what is kept. Returns the unsubscriber. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The members are others, or have other roles. */
  membersChanged(): void {
    const { nodeId, slots, rules } = this.#options;
    const before = this.#kept;
    this.#placement = new SlotPlacement(this.#dependencies.members(), slots, rules);
    this.#kept = this.#placement.slotsOf(nodeId);
    const lost = before.minus(this.#kept);
    const gained = this.#kept.minus(before);
    if (lost.size + gained.size > 0) this.#isDirty = true;
    if (!this.#placement.isWhole && !this.#isPlaced) {
      this.#isPlaced = true;
      this.#isDirty = true;
    }
    for (const slot of lost.list()) this.#leaving.set(slot, new Set());
    for (const slot of gained.list()) this.#leaving.delete(slot);
    this.#whole = this.#whole.and(before).and(this.#kept);
    for (const slot of this.#compared.keys()) if (!this.#kept.has(slot)) this.#compared.delete(slot);
    for (const slot of [...this.#leaving.keys()]) this.#settleLeaving(slot);
    this.#settle(this.#kept.minus(this.#whole));
    this.#changed();
    if (lost.size + gained.size === 0) return;
    const { log } = this.#dependencies;
    log.info('slots:placed', { kept: this.#kept.size, gained: gained.size, lost: lost.size, of: slots });
    for (const listener of [...this.#listeners]) listener();
  }

  /** These slots were compared with a node, of which it has some whole, and what it had of them is here. */
  compared(node: NodeId, slots: SlotSet, whole: SlotSet): void {
    const lacking = slots.and(this.#kept).minus(this.#whole);
    if (lacking.size === 0) return;
    for (const slot of lacking.list()) {
      const nodes = this.#compared.get(slot) ?? new Set();
      this.#compared.set(slot, nodes.add(node));
    }
    this.#settle(lacking, whole);
    this.#changed();
  }

  /** A node is known to have all that is here of these slots. */
  handedOver(node: NodeId, slots: readonly number[]): void {
    for (const slot of slots) {
      const holders = this.#leaving.get(slot);
      if (holders === undefined || holders.has(node)) continue;
      holders.add(node);
      this.#isDirty = true;
      this.#settleLeaving(slot);
    }
    this.#changed();
  }

  /** Resolves when what is on disk is how it stands, or could not be written. */
  idle(): Promise<void> {
    return this.#writing;
  }

  #settleLeaving(slot: number): void {
    const done = this.#leaving.get(slot);
    const holders = this.#placement.holdersOf(slot);
    // With nobody to hold it, it stays here until somebody does.
    if (done === undefined || holders.length === 0 || holders.some((holder) => !done.has(holder))) return;
    this.#leaving.delete(slot);
    this.#isDirty = true;
    this.#dependencies.log.info('slots:handed_over', { slot });
  }

  /** Notes as whole those of the slots that are. */
  #settle(slots: SlotSet, wholeElsewhere?: SlotSet): void {
    const settled = slots.list().filter((slot) => wholeElsewhere?.has(slot) || this.#isComparedWithMost(slot));
    if (settled.length === 0) return;
    for (const slot of settled) this.#compared.delete(slot);
    this.#whole = this.#whole.or(SlotSet.of(slots.count, settled));
    if (this.#placement.isWhole && this.#whole.isAll) this.#isPlaced = false;
    this.#isDirty = true;
    this.#dependencies.log.debug('slots:whole', { settled: settled.length, whole: this.#whole.size });
  }

  #isComparedWithMost(slot: number): boolean {
    const holders = this.#placement.holdersOf(slot);
    const compared = this.#compared.get(slot);
    const known = holders.filter((holder) => holder === this.#options.nodeId || compared?.has(holder));
    return known.length * 2 > holders.length;
  }

  #changed(): void {
    const { count, kept, held, leaving } = this.status();
    for (const [state, value] of Object.entries({ all: count, kept, held, leaving })) this.#gauge.set(value, { state });
    if (this.#isDirty) this.#writing = this.#writing.then(() => this.#write());
  }

  async #write(): Promise<void> {
    if (!this.#isDirty) return;
    this.#isDirty = false;
    const row = {
      isPlaced: this.#isPlaced,
      kept: this.#kept.list(),
      whole: this.#whole.list(),
      leaving: [...this.#leaving].map(([slot, holders]) => [slot, [...holders]] as const),
    };
    try {
      await this.#dependencies.kv.transact((transaction) => holdingsRow.put(transaction, row));
    } catch (error) {
      // The next change writes all of it again; until then a restart repeats what was done since.
      this.#isDirty = true;
      this.#dependencies.log.warn('slots:not_kept', { error });
    }
  }
}
