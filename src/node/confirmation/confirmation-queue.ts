import type { DocId } from '../../../crdt/ids.ts';
import type { Kv } from '../../ports/kv.ts';
import { changeFeed } from '../change-feed.ts';
import type { ObjectStore } from '../object-store.ts';
import type { ObjectRow } from '../rows.ts';
import { confirmationCursor } from './certificate-rows.ts';

/** Objects held in memory at some 150 bytes each; those after them stay in the feed until there is room. */
const waitingMax = 65_536;
const entriesPerTurn = 1_024;
/** The place is kept every so many changes: what a restart looks at again. */
const cursorEvery = 4_096;

/**
 * The objects that may have a version of this node's to confirm. It is derived from the feed of changes, where every
 * change of an object puts it at the end: what a write costs is nothing more, and what is kept is the change up to which
 * no object waits.
 */
export class ConfirmationQueue {
  readonly #kv: Kv;
  readonly #objects: ObjectStore;
  /** True when the object has something to confirm. */
  readonly #isPending: (row: ObjectRow) => boolean;
  /** The change up to which the feed was looked at. */
  #seen: number;
  #kept: number;
  /** Objects by the change at which they were seen, those that wait longest first. */
  readonly #ready = new Map<DocId, number>();
  /** Objects that could not be confirmed, for the next round. */
  readonly #later = new Map<DocId, number>();
  readonly #taken = new Map<DocId, number>();

  constructor(dependencies: {
    readonly kv: Kv;
    readonly objects: ObjectStore;
    readonly isPending: (row: ObjectRow) => boolean;
  }) {
    this.#kv = dependencies.kv;
    this.#objects = dependencies.objects;
    this.#isPending = dependencies.isPending;
    this.#kept = confirmationCursor.get(dependencies.kv);
    this.#seen = this.#kept;
  }

  /** Objects that wait, those under way among them. */
  get size(): number {
    return this.#ready.size + this.#later.size + this.#taken.size;
  }

  /** An object has changed. */
  note(doc: DocId, row: ObjectRow): void {
    // Out of turn, or out of room: the feed has it.
    if (row.change !== this.#seen + 1 || this.size >= waitingMax) return;
    this.#seen = row.change;
    this.#consider(doc, row);
  }

  /** Looks at what the feed has that was not noted. True when it has been seen to its end, or there is no room for more. */
  scan(): boolean {
    if (this.size >= waitingMax) return true;
    const entries = changeFeed.after(this.#kv, this.#seen, entriesPerTurn);
    for (const { doc, change } of entries) {
      const row = this.#objects.object(this.#kv, doc);
      this.#seen = change;
      // One that changed meanwhile comes again further on.
      if (row !== undefined && row.change === change) this.#consider(doc, row);
    }
    return entries.length < entriesPerTurn;
  }

  /** The next object, which is under way until `settle` or `postpone`. */
  take(): DocId | undefined {
    for (const [doc, change] of this.#ready) {
      this.#ready.delete(doc);
      this.#taken.set(doc, change);
      return doc;
    }
    return undefined;
  }

  /** Takes an object out of its turn, whether it waited or not; false when it is under way already. */
  claim(doc: DocId): boolean {
    if (this.#taken.has(doc)) return false;
    const change = this.#ready.get(doc) ?? this.#later.get(doc) ?? this.#seen;
    this.#ready.delete(doc);
    this.#later.delete(doc);
    this.#taken.set(doc, change);
    return true;
  }

  /** An object that was under way has nothing more to wait for, unless it changed meanwhile. */
  settle(doc: DocId): void {
    this.#taken.delete(doc);
  }

  /** An object that was under way has to wait for better times. */
  postpone(doc: DocId): void {
    const change = this.#taken.get(doc);
    this.#taken.delete(doc);
    if (change !== undefined && !this.#ready.has(doc)) this.#later.set(doc, change);
  }

  /** Better times may have come. True when anything waited for them. */
  resume(): boolean {
    const waited = this.#later.size > 0;
    for (const [doc, change] of this.#later) this.#ready.set(doc, change);
    this.#later.clear();
    return waited;
  }

  /** Better times have come for one object that had to wait for them. */
  resumeOne(doc: DocId): void {
    const change = this.#later.get(doc);
    if (change === undefined) return;
    this.#later.delete(doc);
    this.#ready.set(doc, change);
  }

  get hasReady(): boolean {
    return this.#ready.size > 0;
  }

  get hasLater(): boolean {
    return this.#later.size > 0;
  }

  /** Keeps the place up to which nothing waits, when that is worth a write. */
  async save(options: { readonly always?: boolean } = {}): Promise<void> {
    const isDue = options.always === true ? this.#seen > this.#kept : this.#seen >= this.#kept + cursorEvery;
    if (!isDue) return;
    let through = this.#seen;
    for (const waiting of [this.#ready, this.#later, this.#taken]) {
      for (const change of waiting.values()) through = Math.min(through, change - 1);
    }
    if (through <= this.#kept) return;
    this.#kept = through;
    await this.#kv.transact((transaction) => confirmationCursor.put(transaction, through));
  }

  #consider(doc: DocId, row: ObjectRow): void {
    if (!this.#isPending(row)) {
      this.#ready.delete(doc);
      this.#later.delete(doc);
    } else if (!this.#later.has(doc)) {
      this.#ready.delete(doc);
      this.#ready.set(doc, row.change);
    } else {
      this.#later.set(doc, row.change);
    }
  }
}
