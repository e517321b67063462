import { rawHash, toBase32 } from '../../crdt/digest.ts';
import type { TreeReader } from '../../crdt/fingerprint-tree.ts';
import type { BlobHash } from '../../crdt/ids.ts';
import { answerRanges, type RangeAnswer, type RangeQuestion } from '../../crdt/reconcile.ts';
import { feedEntriesMax } from '../../protocols/wire/item-sets.ts';
import type { FeedPage, FollowedSet } from '../../protocols/wire/set-following.ts';
import type { HeldContent } from '../node/content/held-contents.ts';
import type { Inventory } from '../node/content/pull-jobs.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv, KvReader, KvTransaction } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import type { Random } from '../ports/random.ts';
import { JournaledSet } from './journaled-set.ts';
import { metaKey, ownSet } from './storage-keys.ts';

/** Changes kept for coordinators that were away for a while; past that they compare ranges. */
const keptMax = 65_536;
/** Contents noted in one transaction when the inventory is made for the first time. */
const scannedPerTurnMax = 512;
const feedNameBytes = 8;

export interface InventoryDependencies {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: Random;
  /** The contents that are here whole, in the order of their manifests' hashes, after one of them. */
  readonly heldAfter: (reader: KvReader, after: BlobHash | undefined, limit: number) => readonly HeldContent[];
}

/**
 * What content this node holds whole, as a set that coordinators follow and compare. The content plane tells it of each
 * change in the very transaction that makes it.
 */
export class ContentInventory implements FollowedSet, Inventory {
  readonly #dependencies: InventoryDependencies;
  readonly #set: JournaledSet;
  /**
   * Drawn at every start. A disk that was put back in place goes on with numbers that were given before, for other changes,
   * and its node may not know: whoever followed these compares ranges, which costs a message when nothing is amiss.
   */
  readonly #feed: string;

  constructor(dependencies: InventoryDependencies) {
    this.#dependencies = dependencies;
    this.#set = new JournaledSet(dependencies, { set: ownSet, keptMax });
    this.#feed = toBase32(dependencies.random.bytes(feedNameBytes));
  }

  completed(transaction: KvTransaction, manifest: BlobHash, sizeBytes: number): void {
    this.#set.append(transaction, rawHash(manifest), sizeBytes);
  }

  gone(transaction: KvTransaction, manifest: BlobHash): void {
    this.#set.append(transaction, rawHash(manifest), null);
  }

  /** Resolves once what was held before there was an inventory is in it. */
  async start(): Promise<void> {
    const { kv, clock, heldAfter } = this.#dependencies;
    if (kv.get(metaKey('inventory')) !== undefined) return;
    let after: BlobHash | undefined;
    for (let isDone = false; !isDone; ) {
      isDone = await kv.transact((transaction) => {
        const held = heldAfter(transaction, after, scannedPerTurnMax);
        for (const { manifest, sizeBytes } of held) this.completed(transaction, manifest, sizeBytes);
        after = held.at(-1)?.manifest ?? after;
        if (held.length === scannedPerTurnMax) return false;
        transaction.put(metaKey('inventory'), Uint8Array.of(1));
        return true;
      });
      await clock.sleep(0);
    }
  }

  /** Resolves when nothing of it is being written. */
  stop(): Promise<void> {
    return this.#set.idle();
  }

  async feed(feed: string | null, after: number): Promise<FeedPage> {
    const page = { feed: this.#feed, last: this.#set.last() };
    const isOurs = feed === page.feed && after <= page.last;
    const changes = isOurs ? this.#set.after(after, feedEntriesMax) : undefined;
    if (changes === undefined) return { ...page, through: page.last, entries: null };
    return { ...page, last: Math.max(page.last, changes.through), ...changes };
  }

  /** The whole of it, with every change that was there at the call. */
  tree(): Promise<TreeReader> {
    return this.#set.tree();
  }

  async ranges(questions: readonly RangeQuestion[]): Promise<RangeAnswer[]> {
    const tree = await this.#set.tree();
    return answerRanges((set) => (set === 0 ? tree : undefined), questions);
  }
}
