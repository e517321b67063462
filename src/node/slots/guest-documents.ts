import type { DocId, NodeId, PeerId } from '../../../crdt/ids.ts';
import { withDeadline } from '../../../protocols/wire/deadline.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Kv, KvTransaction } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import type { Counter, Metrics } from '../../ports/metrics.ts';
import type { Network } from '../../ports/network.ts';
import type { DocumentPuller } from '../document-puller.ts';
import type { ObjectStore } from '../object-store.ts';
import type { SlotHoldings } from './slot-holdings.ts';
import { guestRows, owedRows } from './slot-rows.ts';

/** A document that was asked for so recently is answered for without asking again. */
const freshMs = 2_000;
/** Holders asked one after the other, and how long each may take: a reader waits 6 s at most. */
const holdersAskedMax = 4;
const askMsMax = 1_500;

interface Dependencies {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly network: Network;
  readonly objects: () => ObjectStore;
  readonly slots: SlotHoldings;
  readonly puller: Pick<DocumentPuller, 'pull'>;
  readonly peerOf: (node: NodeId) => PeerId | undefined;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * Documents of slots that this node does not hold, which come here to be read: fetched from a holder, asked about again
 * when they are read some seconds later, and forgotten when there are too many, the longest unread first. What this node
 * wrote, or owes to somebody, is never forgotten.
 */
export class GuestDocuments {
  readonly #dependencies: Dependencies;
  readonly #nodeId: NodeId;
  readonly #guestsMax: number;
  /** When each was last asked about, the longest ago first. */
  readonly #askedMs = new Map<DocId, number>();
  readonly #underWay = new Map<DocId, Promise<boolean>>();
  readonly #stopping = new AbortController();
  readonly #fetched: Counter;
  #forgetting: Promise<void> = Promise.resolve();

  constructor(dependencies: Dependencies, options: { readonly nodeId: NodeId; readonly guestsMax: number }) {
    this.#dependencies = dependencies;
    this.#nodeId = options.nodeId;
    this.#guestsMax = options.guestsMax;
    this.#fetched = dependencies.metrics.counter({
      name: 'anabranch_guest_documents_total',
      help: 'Documents of slots held elsewhere that were asked for here: brought from a holder, or unreachable; and forgotten.',
      labels: ['outcome'],
    });
  }

  start(): void {
    // Of those of earlier runs nobody knows when they were read.
    for (const doc of guestRows.list(this.#dependencies.kv)) this.#askedMs.set(doc, Number.NEGATIVE_INFINITY);
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('the node is stopping'));
    await this.#forgetting;
  }

  /** True when what is here of a document is all that a holder would say, give or take some seconds. */
  isCurrent(doc: DocId): boolean {
    const { slots, objects, clock } = this.#dependencies;
    if (slots.holds(objects().slotOf(doc))) return true;
    const askedMs = this.#askedMs.get(doc);
    return askedMs !== undefined && clock.monotonicMs() - askedMs < freshMs;
  }

  /** Fetches what a holder has of a document. Resolves with whether one answered; never rejects. */
  bring(doc: DocId): Promise<boolean> {
    const known = this.#underWay.get(doc);
    if (known !== undefined) return known;
    const asking = this.#ask(doc).finally(() => this.#underWay.delete(doc));
    this.#underWay.set(doc, asking);
    return asking;
  }

  async #ask(doc: DocId): Promise<boolean> {
    const { clock, puller, log } = this.#dependencies;
    for (const peer of this.#holders(doc).slice(0, holdersAskedMax)) {
      try {
        const pull = (signal: AbortSignal): Promise<boolean> => puller.pull(peer, doc, signal);
        if (!(await withDeadline(clock, askMsMax, pull, this.#stopping.signal))) continue;
        this.#asked(doc);
        this.#fetched.add(1, { outcome: 'brought' });
        return true;
      } catch (error) {
        if (this.#stopping.signal.aborted) break;
        log.debug('guest:not_brought', { doc, peer, error });
      }
    }
    this.#fetched.add(1, { outcome: 'unreachable' });
    return false;
  }

  #holders(doc: DocId): PeerId[] {
    const { network, objects, slots, peerOf } = this.#dependencies;
    const connected = new Set(network.connectedPeers());
    return slots.placement
      .holdersOf(objects().slotOf(doc))
      .flatMap((node) => peerOf(node) ?? [])
      .filter((peer) => connected.has(peer));
  }

  #asked(doc: DocId): void {
    this.#askedMs.delete(doc);
    this.#askedMs.set(doc, this.#dependencies.clock.monotonicMs());
    if (this.#askedMs.size <= this.#guestsMax) return;
    const oldest = this.#askedMs.keys().next().value as DocId;
    this.#askedMs.delete(oldest);
    this.#forgetting = this.#forgetting.then(() => this.#forget(oldest));
  }

  async #forget(doc: DocId): Promise<void> {
    const { kv, log } = this.#dependencies;
    try {
      await kv.transact((transaction) => this.#forgetIn(transaction, doc));
    } catch (error) {
      log.warn('guest:not_forgotten', { doc, error });
    }
  }

  #forgetIn(transaction: KvTransaction, doc: DocId): void {
    const { slots } = this.#dependencies;
    const objects = this.#dependencies.objects();
    if (!guestRows.has(transaction, doc)) return;
    guestRows.delete(transaction, doc);
    const slot = objects.slotOf(doc);
    if (slots.isEverything || slots.kept.has(slot) || slots.isLeaving(slot)) return;
    if (owedRows.get(transaction, slot, doc) !== undefined) return;
    if (objects.versions(transaction, doc).some(({ record }) => record.node === this.#nodeId)) return;
    objects.forget(transaction, doc);
    this.#fetched.add(1, { outcome: 'forgotten' });
  }
}
