import type { DocId, NodeId } from '../../../crdt/ids.ts';
import type { SlotSet } from '../../../crdt/slot-set.ts';
import type { SyncClient } from '../../../protocols/sync/client.ts';
import type { Kv, KvTransaction } from '../../ports/kv.ts';
import type { Counter, Metrics } from '../../ports/metrics.ts';
import type { SlotHoldings } from './slot-holdings.ts';
import { guestRows, type OwedRow, owedRows } from './slot-rows.ts';

/** Documents offered, and noted, at once. */
const pageMax = 256;

interface Dependencies {
  readonly kv: Kv;
  readonly slotOf: (doc: DocId) => number;
  readonly slots: SlotHoldings;
  /** Something is owed that was not before. */
  readonly owed: () => void;
  readonly metrics: Metrics;
}

/** A change of a document, as its transaction makes it. */
interface DocumentChange {
  readonly doc: DocId;
  readonly change: number;
  /** Who wrote the version, or had it confirmed. */
  readonly maker: string;
}

/**
 * What this node owes to the holders of slots that it does not hold itself, so that nothing stays where nobody looks
 * for it. What is written here of such a slot is owed, from the very transaction that stores it, until as many holders
 * have it as the slot has replicas: it is offered to each that is connected, which fetches what it lacks. All that is
 * here of a slot that is no longer kept is compared with each holder, and what differs is offered likewise.
 */
export class SlotDuties {
  readonly #dependencies: Dependencies;
  readonly #nodeId: NodeId;
  readonly #offered: Counter;

  constructor(dependencies: Dependencies, options: { readonly nodeId: NodeId }) {
    this.#dependencies = dependencies;
    this.#nodeId = options.nodeId;
    this.#offered = dependencies.metrics.counter({
      name: 'anabranch_slot_offers_total',
      help: 'Documents offered to holders of their slots, by whether the holder had them already or lacked them.',
      labels: ['outcome'],
    });
  }

  /** Sees every change of a document in its transaction. */
  changed(transaction: KvTransaction, { doc, change, maker }: DocumentChange): void {
    const { slots, slotOf, owed } = this.#dependencies;
    if (slots.isEverything) return;
    const slot = slotOf(doc);
    if (slots.kept.has(slot)) return;
    if (maker === this.#nodeId) {
      owedRows.put(transaction, slot, doc, { change, holders: [] });
      owed();
    } else if (!guestRows.has(transaction, doc)) {
      guestRows.put(transaction, doc);
    }
  }

  /** True when a node is to be told of something. */
  owes(node: NodeId): boolean {
    const { slots } = this.#dependencies;
    return slots.leavingTo(node).length > 0 || this.#owedTo(node).next().done === false;
  }

  /**
   * Does what is owed to a node, as far as it keeps the slots by now. Resolves with whether something is left that it is
   * to fetch first.
   */
  async carryOut(client: SyncClient, node: NodeId, kept: SlotSet): Promise<boolean> {
    const isOffered = await this.#offerOwed(client, node, kept);
    const isHandedOver = await this.#handOver(client, node, kept);
    return isOffered || isHandedOver;
  }

  async #offerOwed(client: SyncClient, node: NodeId, kept: SlotSet): Promise<boolean> {
    const { kv, slots } = this.#dependencies;
    if (owedRows.isEmpty(kv)) return false;
    let isLacking = false;
    for (const slot of kept.list()) {
      if (!slots.placement.holdersOf(slot).includes(node)) continue;
      let after: DocId | undefined;
      for (;;) {
        const page = owedRows.ofSlot(kv, slot, { after, limit: pageMax });
        if (page.length === 0) break;
        after = page.at(-1)?.doc;
        const open = page.filter(({ row }) => !row.holders.includes(node));
        if (await this.#offerPage(client, { node, slot, page: open })) isLacking = true;
      }
    }
    return isLacking;
  }

  /** Resolves with whether the node lacks some of it. */
  async #offerPage(
    client: SyncClient,
    offer: {
      readonly node: NodeId;
      readonly slot: number;
      readonly page: readonly { readonly doc: DocId; readonly row: OwedRow }[];
    },
  ): Promise<boolean> {
    if (offer.page.length === 0) return false;
    const lacking = new Set(await client.offer(Array.from(offer.page, ({ doc }) => doc)));
    this.#count(offer.page.length, lacking.size);
    const had = offer.page.filter(({ doc }) => !lacking.has(doc));
    if (had.length === 0) return true;
    await this.#dependencies.kv.transact((transaction) => {
      for (const { doc, row } of had) this.#arrived(transaction, { ...offer, doc, change: row.change });
    });
    return lacking.size > 0;
  }

  #arrived(
    transaction: KvTransaction,
    { node, slot, doc, change }: { node: NodeId; slot: number; doc: DocId; change: number },
  ): void {
    const row = owedRows.get(transaction, slot, doc);
    // What was written since is another debt.
    if (row?.change !== change) return;
    const { placement } = this.#dependencies.slots;
    const holders = [...new Set([...row.holders, node])].filter((each) => placement.holdersOf(slot).includes(each));
    if (holders.length >= placement.enoughHolders(slot)) owedRows.delete(transaction, slot, doc);
    else owedRows.put(transaction, slot, doc, { change, holders });
  }

  /** Compares what is here of the slots that are leaving, and offers what the node has not, or in another state. */
  async #handOver(client: SyncClient, node: NodeId, kept: SlotSet): Promise<boolean> {
    const { kv, slots } = this.#dependencies;
    const leaving = slots.leavingTo(node).filter((slot) => kept.has(slot));
    if (leaving.length === 0) return false;
    // A write that came before the slot was lost is seen from here on.
    await kv.flush();
    const { offered, lacking } = await client.offerSlots(leaving);
    this.#count(offered, lacking);
    if (lacking === 0) slots.handedOver(node, leaving);
    return lacking > 0;
  }

  #count(offered: number, lacking: number): void {
    if (lacking > 0) this.#offered.add(lacking, { outcome: 'lacked' });
    if (offered > lacking) this.#offered.add(offered - lacking, { outcome: 'had' });
  }

  /** The slots of which something is owed to a node. */
  *#owedTo(node: NodeId): Generator<number> {
    const { kv, slots } = this.#dependencies;
    if (owedRows.isEmpty(kv)) return;
    for (let slot = 0; slot < slots.placement.count; slot += 1) {
      if (!slots.placement.holdersOf(slot).includes(node)) continue;
      const [first] = owedRows.ofSlot(kv, slot, { limit: 1 });
      if (first !== undefined) yield slot;
    }
  }
}
