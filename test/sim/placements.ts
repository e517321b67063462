import type { DocId, NodeId } from '../../crdt/ids.ts';
import { slotOf } from '../../crdt/object-document.ts';
import { SlotPlacement } from '../../crdt/slot-placement.ts';
import { SlotSet } from '../../crdt/slot-set.ts';
import { owedRows } from '../../src/node/slots/slot-rows.ts';
import type { SlotSettings } from '../../src/node/slots/slots.ts';
import type { PlacementMap } from '../../src/replication/placement-map.ts';
import type { Machine, Process } from './machine.ts';

/** What the control log says of a run as long as it was when somebody asked last. */
interface AtSize {
  readonly size: number;
  readonly slots: SlotPlacement | undefined;
  readonly contents: PlacementMap;
  readonly contentHolders: Map<string, readonly Machine[]>;
}

/** Which machine is to hold what, by the longest control log that any node has. */
export class Placements {
  readonly #machines: ReadonlyMap<string, Machine>;
  readonly #hostile: ReadonlySet<NodeId>;
  readonly #slots: number;
  readonly #slotPlacement: SlotSettings | undefined;
  #last: AtSize | undefined;
  /** Nobody's control log grows meanwhile. */
  #isStill = false;

  constructor(options: {
    readonly machines: ReadonlyMap<string, Machine>;
    readonly hostile: ReadonlySet<NodeId>;
    /** How many slots there are. */
    readonly slots: number;
    readonly slotPlacement: SlotSettings | undefined;
  }) {
    this.#machines = options.machines;
    this.#hostile = options.hostile;
    this.#slots = options.slots;
    this.#slotPlacement = options.slotPlacement;
  }

  /** Lets something look at placement over and over, at one moment: who has the longest log is asked once. */
  atOnce<T>(look: () => T): T {
    this.#now();
    this.#isStill = true;
    try {
      return look();
    } finally {
      this.#isStill = false;
    }
  }

  /** The machines that are to hold a document; all where slots are not placed. */
  holdersOf(doc: DocId): Machine[] {
    const machines = [...this.#machines.values()];
    const placement = this.#now()?.slots;
    if (placement === undefined) return machines;
    const holders = placement.holdersOf(slotOf(doc, this.#slots));
    return machines.filter(({ member }) => holders.includes(member.nodeId));
  }

  /** Where content is to be; undefined before the first node has started. */
  contents(): PlacementMap | undefined {
    return this.#now()?.contents;
  }

  /** The machines that are to hold an object's content when all are there but the hostile ones. */
  contentHoldersOf({ ns, key }: { readonly ns: string; readonly key: string }): readonly Machine[] {
    const now = this.#now();
    const known = now?.contentHolders.get(`${ns}/${key}`);
    if (known !== undefined || now === undefined) return known ?? [];
    const { desired, substitutes } = now.contents.assigned(ns, key, this.#hostile);
    const nodes = new Set([...desired.holders, ...substitutes]);
    const holders = [...this.#machines.values()].filter(({ member }) => nodes.has(member.nodeId));
    now.contentHolders.set(`${ns}/${key}`, holders);
    return holders;
  }

  /** Whether those that are to hold an object's content are enough without the hostile ones for a version to be confirmed by itself. */
  canBeBacked(object: { readonly ns: string; readonly key: string }): boolean {
    const placed = this.contents()?.desired(object.ns, object.key).holders.length ?? 0;
    return this.contentHoldersOf(object).length >= Math.min(2, placed);
  }

  /** Why some node does not have the whole control log, or not stand with its slots as it should; undefined when all do. */
  unsettled(): string | undefined {
    const now = this.#now();
    for (const { name, process } of this.#machines.values()) {
      const size = process?.node.cluster.checkpoint().size;
      if (size !== now?.size) return `${name} has ${size} entries of the control log`;
    }
    const placement = now?.slots;
    return placement === undefined ? undefined : this.#unsettledSlots(placement);
  }

  #unsettledSlots(placement: SlotPlacement): string | undefined {
    for (const { name, member, process, kv } of this.#machines.values()) {
      const count = (state: string): number => process?.metrics.value('anabranch_slots', { state }) ?? 0;
      const own = placement.slotsOf(member.nodeId);
      const kept = own.size;
      if (count('kept') !== kept) return `${name} keeps ${count('kept')} slots, not ${kept}`;
      if (count('held') !== kept) return `${name} answers for ${count('held')} of ${kept} slots`;
      // A hostile holder never says that it has everything.
      const unending = SlotSet.all(this.#slots)
        .minus(own)
        .list()
        .filter((slot) => this.#hasHostileHolder(placement, slot));
      if (count('leaving') > unending.length) return `${name} hands over ${count('leaving')} slots`;
      if (!owedRows.isEmpty(kv)) return `${name} owes documents to holders of their slots`;
    }
    return undefined;
  }

  #hasHostileHolder(placement: SlotPlacement, slot: number): boolean {
    return placement.holdersOf(slot).some((holder) => this.#hostile.has(holder));
  }

  #now(): AtSize | undefined {
    if (this.#isStill) return this.#last;
    for (const { process } of this.#machines.values()) {
      const size = process?.ready ? process.node.cluster.checkpoint().size : 0;
      if (process !== undefined && size > (this.#last?.size ?? 0)) this.#last = this.#at(size, process);
    }
    return this.#last;
  }

  #at(size: number, { node }: Process): AtSize {
    const rules = this.#slotPlacement;
    return {
      size,
      slots: rules === undefined ? undefined : new SlotPlacement(node.nodes(), this.#slots, rules),
      contents: node.replicationParts.placement.map(),
      contentHolders: new Map(),
    };
  }
}
