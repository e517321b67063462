import type { DocId } from '../../crdt/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import type { Counter, Metrics } from '../ports/metrics.ts';
import type { ObjectStore } from './object-store.ts';
import type { OpenDocuments } from './open-documents.ts';
import type { ObjectRow } from './rows.ts';

/** Changes that gather before a document is compacted: below it a snapshot saves less than it costs. */
const incrementsMin = 64;
/** The longest history that is loaded at once: it takes some 40 ms, for which the event loop is held. */
const versionsMax = 1_000;
/** Documents that wait to be compacted; one that does not fit is noticed at its next change. */
const waitingMax = 10_000;
/** Pause between documents, so that compaction never holds up reads and writes. */
const paceMs = 100;

interface Dependencies {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly objects: ObjectStore;
  readonly documents: OpenDocuments;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * Folds the changes of a document into a snapshot when they have become as many as the snapshot holds, in one
 * transaction, one document at a time in the background. A crash leaves what was there before.
 */
export class DocumentCompactor {
  readonly #dependencies: Dependencies;
  readonly #waiting = new Set<DocId>();
  readonly #compacted: Counter;
  #cancelTimer: (() => void) | undefined;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
    this.#compacted = dependencies.metrics.counter({
      name: 'anabranch_documents_compacted_total',
      help: 'Documents whose changes were folded into a snapshot.',
    });
  }

  /** Looks at a document that has changed. */
  changed(doc: DocId, row: ObjectRow): void {
    if (!isDue(row) || this.#waiting.size >= waitingMax || this.#stopped) return;
    this.#waiting.add(doc);
    this.#schedule();
  }

  /** Ends after the document under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelTimer?.();
    await this.#running;
  }

  #schedule(): void {
    if (this.#cancelTimer !== undefined || this.#waiting.size === 0 || this.#stopped) return;
    this.#cancelTimer = this.#dependencies.clock.setTimer(paceMs, () => {
      this.#running = this.#turn();
    });
  }

  async #turn(): Promise<void> {
    const [doc] = this.#waiting;
    if (doc !== undefined) {
      this.#waiting.delete(doc);
      try {
        await this.#compact(doc);
      } catch (error) {
        this.#dependencies.log.warn('document:not-compacted', { doc, error });
      }
    }
    this.#cancelTimer = undefined;
    this.#schedule();
  }

  async #compact(doc: DocId): Promise<void> {
    const { kv, objects, documents } = this.#dependencies;
    const document = await documents.get(doc);
    if (document === undefined) return;
    const folded = { snapshot: document.save(), versions: document.versions() };
    await kv.transact((transaction) => {
      const row = objects.object(transaction, doc);
      if (row !== undefined && isDue(row)) objects.compact(transaction, doc, folded);
    });
    this.#compacted.add(1);
  }
}

/** Each snapshot is at least twice the one before, so a version is folded a number of times that grows with the logarithm. */
function isDue({ increments, versions }: ObjectRow): boolean {
  return increments >= incrementsMin && increments * 2 >= versions && versions <= versionsMax;
}
