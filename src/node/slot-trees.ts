import { rawHash } from '../../crdt/digest.ts';
import { type ItemChange, setItem, setItems, type TreeReader, type TreeWriter } from '../../crdt/fingerprint-tree.ts';
import type { DocId } from '../../crdt/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv, KvReader, KvTransaction } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import { changeFeed } from './change-feed.ts';
import { LazyFold } from './lazy-fold.ts';
import { metaKey, treeKey } from './storage-keys.ts';

/** Documents taken in at a time, in the order of the trees: those that share a row write it once. */
const foldedAtOnceMax = 4_096;
/** Rows of the feed read in one turn of the event loop. */
const readPerTurnMax = 1_024;
/** Documents of one transaction of a fold: this bounds how long it holds the event loop. */
const foldedPerTurnMax = 128;
/** Changes that wait at most until they are folded without anybody asking: bounds what who asks has to wait for. */
const backlogMax = 4_096;

/** What the trees are made of. */
export interface DocumentStates {
  slotOf(doc: DocId): number;
  /** The digest of a document's state; undefined when it is not here. */
  digestOf(reader: KvReader, doc: DocId): Uint8Array | undefined;
}

/**
 * The fingerprint tree of each slot, whose items are the documents and the digests of their states. A write puts the
 * document at the end of the change feed and leaves the trees alone; they take in what the feed has since before they
 * are read. How far they have come is on disk with them, and what they take in is the state a document is in then, so
 * that a fold that was cut short is done again and comes to the same.
 */
export class SlotTrees {
  readonly #kv: Kv;
  readonly #clock: Clock;
  readonly #states: DocumentStates;
  readonly #fold: LazyFold;

  constructor(dependencies: {
    readonly kv: Kv;
    readonly clock: Clock;
    readonly log: Log;
    readonly states: DocumentStates;
  }) {
    const { kv, clock, states } = dependencies;
    this.#kv = kv;
    this.#clock = clock;
    this.#states = states;
    this.#fold = new LazyFold(dependencies, { what: 'slot trees', backlogMax, fold: () => this.#foldAll() });
  }

  /** A change of this number is about to be written. */
  noted(change: number): void {
    this.#fold.noted(change);
  }

  /** The trees with every change in them that was on disk at the call, and maybe later ones. Rejects as the store does. */
  async read(): Promise<(slot: number) => TreeReader> {
    if (this.#folded() < changeFeed.last(this.#kv)) await this.#fold.settled();
    return (slot) => slotTree(this.#kv, slot);
  }

  /** Resolves when nothing is being folded. */
  idle(): Promise<void> {
    return this.#fold.idle();
  }

  async #foldAll(): Promise<void> {
    for (;;) {
      const { changed, through, isAll } = await this.#nextChanged();
      if (changed.size === 0) return;
      const docs = Array.from(changed, (doc) => ({ doc, key: rawHash(doc), slot: this.#states.slotOf(doc) }));
      docs.sort((left, right) => left.slot - right.slot || Buffer.compare(left.key, right.key));
      for (let start = 0; start < docs.length; start += foldedPerTurnMax) {
        const part = docs.slice(start, start + foldedPerTurnMax);
        await this.#kv.transact((transaction) => {
          for (const [slot, inSlot] of Map.groupBy(part, (each) => each.slot)) {
            const changes = inSlot.map(({ doc, key }): ItemChange => {
              return { key, value: this.#states.digestOf(transaction, doc) };
            });
            setItems(slotTreeWriter(transaction, slot), changes);
          }
        });
        await this.#clock.sleep(0);
      }
      await this.#kv.transact((transaction) => transaction.put(metaKey('folded'), Buffer.from(String(through))));
      // These were all there were: a node that is written to without a rest has no end of them.
      if (isAll) return;
    }
  }

  /** The next documents of the feed that are not folded, each once: one may change, and come again, between two turns. */
  async #nextChanged(): Promise<{ changed: ReadonlySet<DocId>; through: number; isAll: boolean }> {
    const changed = new Set<DocId>();
    let through = this.#folded();
    for (let read = 0; read < foldedAtOnceMax; read += readPerTurnMax) {
      if (read > 0) await this.#clock.sleep(0);
      const page = changeFeed.after(this.#kv, through, readPerTurnMax);
      for (const { doc } of page) changed.add(doc);
      through = page.at(-1)?.change ?? through;
      if (page.length < readPerTurnMax) return { changed, through, isAll: true };
    }
    return { changed, through, isAll: false };
  }

  #folded(): number {
    const row = this.#kv.get(metaKey('folded'));
    return row === undefined ? 0 : Number(Buffer.from(row).toString());
  }
}

/** Takes a document that is no longer here out of its slot's tree. */
export function removeFromTree(transaction: KvTransaction, slot: number, doc: DocId): void {
  setItem(slotTreeWriter(transaction, slot), rawHash(doc), undefined);
}

/** A slot's tree as rows, as far as it was folded. */
function slotTree(reader: KvReader, slot: number): TreeReader {
  return { row: (prefix) => reader.get(treeKey(slot, prefix)) };
}

export function slotTreeWriter(transaction: KvTransaction, slot: number): TreeWriter {
  return {
    ...slotTree(transaction, slot),
    putRow: (prefix, row) => transaction.put(treeKey(slot, prefix), row),
    deleteRow: (prefix) => transaction.delete(treeKey(slot, prefix)),
  };
}
