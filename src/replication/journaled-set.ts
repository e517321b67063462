import { readUint64, writeUint64 } from '../../crdt/big-endian.ts';
import { hashBytes, toHex } from '../../crdt/digest.ts';
import {
  type ItemChange,
  itemValueBytes,
  setItems,
  type TreeReader,
  type TreeWriter,
} from '../../crdt/fingerprint-tree.ts';
import { LazyFold } from '../node/lazy-fold.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv, KvReader, KvTransaction } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import { changeOfJournalKey, foldedKey, journalKey, journalRange, type SetName, treeKey } from './storage-keys.ts';

/** Changes folded into the tree at a time; sorted by key, so that those that share a row write it once. */
const foldedAtOnceMax = 16_384;
/** Changes of one transaction of a fold: this bounds how long it holds the event loop. */
const foldedPerTurnMax = 256;
/** Changes that wait at most until they are folded without anybody asking. */
const backlogMax = 65_536;
/** Journal rows dropped in one transaction. */
const droppedPerTurnMax = 4_096;
const integerBytes = 8;
const entryBytes = hashBytes + integerBytes;
/** Changes of one row: two such rows fit into a page of the database. */
const rowEntriesMax = 48;
/** In the place of a size. */
const goneMark = new Uint8Array(integerBytes).fill(0xff);

/** An item has this size now, or is gone (null). */
export interface SizeChange {
  readonly key: Uint8Array;
  readonly sizeBytes: number | null;
}

export interface JournaledSetOptions {
  readonly set: SetName;
  /** Folded changes that are kept for those who follow the feed. */
  readonly keptMax: number;
}

/**
 * A set of contents and their sizes: a numbered journal of its changes, which is a feed to follow, and a fingerprint
 * tree. A change writes one row, or shares it with others; the tree takes it in only before it is read, many changes at a
 * time, since a tree row a level for each change would cost as much as all else that a small write does. What a change says
 * is absolute, so a fold that was cut short is done again and comes to the same.
 */
export class JournaledSet {
  readonly #kv: Kv;
  readonly #clock: Clock;
  readonly #set: SetName;
  readonly #keptMax: number;
  readonly #fold: LazyFold;
  #last: number | undefined;

  constructor(
    dependencies: { readonly kv: Kv; readonly clock: Clock; readonly log: Log },
    { set, keptMax }: JournaledSetOptions,
  ) {
    this.#kv = dependencies.kv;
    this.#clock = dependencies.clock;
    this.#set = set;
    this.#keptMax = keptMax;
    this.#fold = new LazyFold(dependencies, { what: 'inventory', backlogMax, fold: () => this.#foldAll() });
  }

  /** Notes in the caller's transaction that the item of a key has this size now, or is gone (null). */
  append(transaction: KvTransaction, key: Uint8Array, sizeBytes: number | null): void {
    this.appendAll(transaction, [{ key, sizeBytes }]);
  }

  /**
   * Notes many changes in the caller's transaction, in their order, in few rows. Who follows the feed from among those of one
   * row is given all of these.
   */
  appendAll(transaction: KvTransaction, changes: readonly SizeChange[]): void {
    for (let start = 0; start < changes.length; start += rowEntriesMax) {
      const part = changes.slice(start, start + rowEntriesMax);
      const through = (this.#last ?? this.last(transaction)) + part.length;
      this.#last = through;
      transaction.put(journalKey(this.#set, through), journalRow(part));
      this.#fold.noted(through);
    }
  }

  /** The number of the newest change; 0 when there was none. */
  last(reader: KvReader = this.#kv): number {
    for (const [key] of reader.range({ ...journalRange(this.#set, 0), limit: 1, reverse: true })) {
      return changeOfJournalKey(key);
    }
    return 0;
  }

  /** The changes after a number, in their order and whole rows of them; undefined when some of them were dropped. */
  after(change: number, limit: number): { readonly entries: ItemChange[]; readonly through: number } | undefined {
    // The last one dropped is before the first one kept, and all that was dropped was folded.
    if (change < this.#droppedThrough()) return undefined;
    const entries: ItemChange[] = [];
    let through = change;
    for (const [key, row] of this.#kv.range({ ...journalRange(this.#set, change), limit })) {
      const changes = changesOf(row);
      if (entries.length > 0 && entries.length + changes.length > limit) break;
      entries.push(...changes);
      through = changeOfJournalKey(key);
    }
    return { entries, through };
  }

  /** The tree with every change in it that was there at the call. */
  async tree(): Promise<TreeReader> {
    await this.#fold.settled();
    return this.reader();
  }

  /** The tree as far as changes were folded into it. */
  reader(): TreeReader {
    return { row: (prefix) => this.#kv.get(treeKey(this.#set, prefix)) };
  }

  /** Resolves when no fold is under way, also when it failed. */
  idle(): Promise<void> {
    return this.#fold.idle();
  }

  async #foldAll(): Promise<void> {
    const last = this.last();
    for (let folded = this.#marks().folded; folded < last; folded = this.#marks().folded) {
      const range = { ...journalRange(this.#set, folded, last), limit: foldedAtOnceMax };
      const newest = new Map<string, ItemChange>();
      let through = folded;
      let read = 0;
      for (const [key, row] of this.#kv.range(range)) {
        const changes = changesOf(row);
        for (const change of changes) newest.set(toHex(change.key), change);
        through = changeOfJournalKey(key);
        read += changes.length;
        if (read >= foldedAtOnceMax) break;
      }
      // Numbers of transactions that failed are missing, and so may be all that is left.
      if (newest.size === 0) return;
      const changes = [...newest.values()].sort((left, right) => Buffer.compare(left.key, right.key));
      for (let start = 0; start < changes.length; start += foldedPerTurnMax) {
        const part = changes.slice(start, start + foldedPerTurnMax);
        await this.#kv.transact((transaction) => setItems(this.#writer(transaction), part));
        await this.#clock.sleep(0);
      }
      await this.#drop(through);
    }
  }

  /** Notes what is folded, and drops what nobody is expected to follow any more. The newest change stays: it has the number. */
  async #drop(folded: number): Promise<void> {
    const dropThrough = Math.max(0, Math.min(folded - this.#keptMax, this.last() - 1));
    for (;;) {
      const isDone = await this.#kv.transact((transaction) => {
        const range = { ...journalRange(this.#set, 0, dropThrough), limit: droppedPerTurnMax };
        const keys = Array.from(transaction.range(range), ([key]) => key);
        for (const key of keys) transaction.delete(key);
        const done = keys.length < droppedPerTurnMax;
        const before = this.#marks(transaction);
        const dropped = Math.max(before.dropped, done ? dropThrough : changeOfJournalKey(keys.at(-1) as Uint8Array));
        if (done || dropped > before.dropped) {
          const marks = [done ? Math.max(before.folded, folded) : before.folded, dropped];
          transaction.put(foldedKey(this.#set), Buffer.concat(marks.map(uint64)));
        }
        return done;
      });
      if (isDone) return;
      await this.#clock.sleep(0);
    }
  }

  #droppedThrough(): number {
    return this.#marks().dropped;
  }

  #marks(reader: KvReader = this.#kv): { readonly folded: number; readonly dropped: number } {
    const row = reader.get(foldedKey(this.#set));
    if (row === undefined) return { folded: 0, dropped: 0 };
    return { folded: readUint64(row, 0), dropped: readUint64(row, integerBytes) };
  }

  #writer(transaction: KvTransaction): TreeWriter {
    return {
      row: (prefix) => transaction.get(treeKey(this.#set, prefix)),
      putRow: (prefix, row) => transaction.put(treeKey(this.#set, prefix), row),
      deleteRow: (prefix) => transaction.delete(treeKey(this.#set, prefix)),
    };
  }
}

/** A size as the value of an item: 24 bytes of zeros and the size. */
export function valueOfSize(sizeBytes: number): Uint8Array {
  const value = new Uint8Array(itemValueBytes);
  value.set(uint64(sizeBytes), itemValueBytes - integerBytes);
  return value;
}

/** What `valueOfSize` wrote; undefined for any other value. */
export function sizeOfValue(value: Uint8Array): number | undefined {
  const padding = itemValueBytes - integerBytes;
  if (value.length !== itemValueBytes || value.subarray(0, padding).some((byte) => byte !== 0)) return undefined;
  const size = readUint64(value, padding);
  return Number.isSafeInteger(size) ? size : undefined;
}

/** Keys, each with its size, or eight bytes of ones where it is gone. Written by every small write, so without a detour. */
function journalRow(changes: readonly SizeChange[]): Uint8Array {
  const row = new Uint8Array(entryBytes * changes.length);
  let at = 0;
  for (const { key, sizeBytes } of changes) {
    row.set(key, at);
    if (sizeBytes === null) row.set(goneMark, at + hashBytes);
    else writeUint64(row, sizeBytes, at + hashBytes);
    at += entryBytes;
  }
  return row;
}

/** A row that is a key alone, as they were written before, says that this one is gone. */
function changesOf(row: Uint8Array): ItemChange[] {
  if (row.length === hashBytes) return [{ key: row, value: undefined }];
  return Array.from({ length: row.length / entryBytes }, (_, index) => {
    const key = row.subarray(index * entryBytes, index * entryBytes + hashBytes);
    const size = row.subarray(index * entryBytes + hashBytes, (index + 1) * entryBytes);
    const isGone = Buffer.compare(size, goneMark) === 0;
    return { key, value: isGone ? undefined : valueOfSize(readUint64(size, 0)) };
  });
}

function uint64(value: number): Uint8Array {
  const bytes = new Uint8Array(integerBytes);
  writeUint64(bytes, value, 0);
  return bytes;
}
