import type { BlobHash, DocId, VersionId } from '../../../crdt/ids.ts';
import type { Kv } from '../../ports/kv.ts';
import { changeFeed } from '../change-feed.ts';
import type { ObjectStore } from '../object-store.ts';
import type { ObjectRow } from '../rows.ts';
import { confirmationCursor } from './certificate-rows.ts';
import { type CopyWait, CopyWaits } from './copy-waits.ts';

/** Objects held in memory at some 150 bytes each; those after them stay in the feed until there is room. */
const waitingMax = 65_536;
/** Objects beside these that wait for copies, at some 500 bytes each; those after them are left for the next look. */
const copyWaitsMax = 65_536;
const entriesPerTurn = 1_024;
/** The place is kept every so many changes: what a restart looks at again. */
const cursorEvery = 4_096;

/** Changes of the feed, both included. */
interface Stretch {
  readonly first: number;
  readonly last: number;
}

/** An object that waited for copies of a content, and its version that has it. */
type Woken = readonly [DocId, VersionId];

/** One look at all that wait for copies. */
interface Look {
  /** Of those in memory, how many it still has to come to. */
  held: number;
  /** The stretch of the feed where the others are, as far as it has not come through it. */
  left: Stretch | undefined;
}

/**
 * The objects that may have a version of this node's to confirm. It is derived from the feed of changes, where every
 * change of an object puts it at the end: what a write costs is nothing more, and what is kept is the change up to which
 * no object waits. Those that wait for copies of a content take no place of the others, since that can take for ever:
 * they have a bound of their own, and past it only the stretch of the feed is remembered in which they are.
 */
export class ConfirmationQueue {
  readonly #kv: Kv;
  readonly #objects: Pick<ObjectStore, 'object'>;
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
  readonly #waits: CopyWaits;
  /** Where those are that wait for copies and found no room. */
  #left: Stretch | undefined;
  #look: Look | undefined;

  constructor(
    dependencies: {
      readonly kv: Kv;
      readonly objects: Pick<ObjectStore, 'object'>;
      readonly isPending: (row: ObjectRow) => boolean;
    },
    options: { readonly copyWaitsMax?: number } = {},
  ) {
    this.#waits = new CopyWaits(options.copyWaitsMax ?? copyWaitsMax);
    this.#kv = dependencies.kv;
    this.#objects = dependencies.objects;
    this.#isPending = dependencies.isPending;
    this.#kept = confirmationCursor.get(dependencies.kv);
    this.#seen = this.#kept;
  }

  /** Objects in memory that wait, those under way among them. */
  get size(): number {
    return this.#places + this.#waits.size;
  }

  /** Those of them that wait for copies. */
  get waitingForCopies(): number {
    return this.#waits.size;
  }

  get #places(): number {
    return this.#ready.size + this.#later.size + this.#taken.size;
  }

  /** An object has changed. */
  note(doc: DocId, row: ObjectRow): void {
    // Out of turn, or out of room: the feed has it.
    if (row.change !== this.#seen + 1 || this.#places >= waitingMax) return;
    this.#seen = row.change;
    this.#consider(doc, row);
  }

  /** Looks at what the feed has that was not noted. True when it has been seen to its end, or there is no room for more. */
  scan(): boolean {
    if (this.#places >= waitingMax) return true;
    const entries = changeFeed.after(this.#kv, this.#seen, entriesPerTurn);
    for (const { doc, change } of entries) {
      const row = this.#objects.object(this.#kv, doc);
      this.#seen = change;
      // One that changed meanwhile comes again further on.
      if (row !== undefined && row.change === change) this.#consider(doc, row);
    }
    return entries.length < entriesPerTurn;
  }

  /** The next object, which is under way until `settle`, `postpone`, `again` or `waitForCopies`. */
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
    const change = this.#ready.get(doc) ?? this.#later.get(doc) ?? this.#waits.delete(doc) ?? this.#seen;
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

  /** An object that was under way has its next turn as soon as the others had theirs. */
  again(doc: DocId): void {
    const change = this.#taken.get(doc);
    this.#taken.delete(doc);
    if (change !== undefined && !this.#ready.has(doc)) this.#ready.set(doc, change);
  }

  /** An object that was under way waits until more copies of a content are proved. */
  waitForCopies(doc: DocId, wait: CopyWait): void {
    const change = this.#taken.get(doc);
    this.#taken.delete(doc);
    if (change === undefined || this.#ready.has(doc) || this.#waits.add(doc, change, wait)) return;
    const { first, last } = this.#left ?? { first: change, last: change };
    this.#left = { first: Math.min(first, change), last: Math.max(last, change) };
  }

  /** More copies of a content were proved. The objects that waited for them, and the version of each that has it. */
  proved(manifest: BlobHash): readonly Woken[] {
    return this.#wake(this.#waits.of(manifest));
  }

  /**
   * Has objects that wait for copies looked at again, so many at most: those in memory, and then those that found no room
   * there. The first, and the version of each that has the content it waited for.
   */
  lookAgain(limit: number): readonly Woken[] {
    this.#look ??= this.#newLook();
    const look = this.#look;
    const woken = this.#wake(this.#waits.first(Math.min(limit, look.held)));
    if (look.held === 0 && look.left !== undefined && this.#places < waitingMax) {
      look.left = this.#findLeft(look.left, limit);
    }
    look.held = woken.length < limit ? 0 : look.held - woken.length;
    if (look.held === 0 && look.left === undefined) this.#look = undefined;
    return woken;
  }

  /** True while a look is not through. */
  get isLooking(): boolean {
    return this.#look !== undefined;
  }

  /** True when some that wait for copies are not in memory, though there is much room by now. */
  get hasRoomForLeft(): boolean {
    return this.#left !== undefined && this.#look === undefined && this.#waits.isHalfEmpty;
  }

  /** True when anything waits for copies. */
  get hasCopyWaits(): boolean {
    return this.#waits.size > 0 || this.#left !== undefined || this.#look !== undefined;
  }

  /** Better times may have come. True when anything waited for them. */
  resume(): boolean {
    const waited = this.#later.size > 0;
    for (const [doc, change] of this.#later) this.#ready.set(doc, change);
    this.#later.clear();
    return waited;
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
    const through = this.#throughWhat();
    if (through <= this.#kept) return;
    this.#kept = through;
    await this.#kv.transact((transaction) => confirmationCursor.put(transaction, through));
  }

  /** The change up to which nothing waits, as far as that matters: no greater one than the last when it is none. */
  #throughWhat(): number {
    let through = this.#seen;
    const stretches = [this.#left, this.#look?.left].flatMap((stretch) => stretch?.first ?? []);
    const all = [stretches, this.#ready.values(), this.#later.values(), this.#taken.values(), this.#waits.changes()];
    for (const changes of all) {
      for (const change of changes) {
        through = Math.min(through, change - 1);
        if (through <= this.#kept) return through;
      }
    }
    return through;
  }

  #newLook(): Look {
    const left = this.#left;
    this.#left = undefined;
    return { held: this.#waits.size, left };
  }

  #findLeft({ first, last }: Stretch, limit: number): Stretch | undefined {
    const entries = changeFeed.after(this.#kv, first - 1, limit);
    for (const { doc, change } of entries) {
      if (change > last) return undefined;
      const isKnown = this.#ready.has(doc) || this.#later.has(doc) || this.#taken.has(doc) || this.#waits.has(doc);
      const row = isKnown ? undefined : this.#objects.object(this.#kv, doc);
      if (row?.change === change) this.#consider(doc, row);
    }
    const through = entries.at(-1)?.change ?? last;
    return entries.length < limit || through >= last ? undefined : { first: through + 1, last };
  }

  #wake(waiting: readonly Woken[]): readonly Woken[] {
    for (const [doc] of waiting) {
      const change = this.#waits.delete(doc);
      if (change !== undefined) this.#ready.set(doc, change);
    }
    return waiting;
  }

  #consider(doc: DocId, row: ObjectRow): void {
    if (!this.#isPending(row)) {
      this.#ready.delete(doc);
      this.#later.delete(doc);
      this.#waits.delete(doc);
    } else if (this.#waits.has(doc)) {
      this.#waits.changed(doc, row.change);
    } else if (this.#later.has(doc)) {
      this.#later.set(doc, row.change);
    } else {
      this.#ready.delete(doc);
      this.#ready.set(doc, row.change);
    }
  }
}
