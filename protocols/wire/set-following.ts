import type { ItemChange, TreeReader } from '../../crdt/fingerprint-tree.ts';
import { type Difference, type RangeAnswer, type RangeQuestion, Reconciliation } from '../../crdt/reconcile.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';

/** Feed pages of one round; past it ranges are compared instead, and cost less. */
const feedPagesMax = 192;

/** How far a feed was followed. */
export interface FeedPosition {
  readonly feed: string;
  readonly change: number;
}

/** What a feed says of what came after a change, in entries that name what changed. */
export interface FeedPage<Entry = ItemChange> {
  readonly feed: string;
  /** The number of its newest change. */
  readonly last: number;
  /** The number of the last change among the entries. */
  readonly through: number;
  /** In order; null when the change asked about is not one of this feed, or is too long ago. */
  readonly entries: readonly Entry[] | null;
}

/** Somebody's set: a feed of its changes, and answers about its ranges. */
export interface FollowedSet {
  feed(feed: string | null, after: number): Promise<FeedPage>;
  ranges(questions: readonly RangeQuestion[]): Promise<readonly RangeAnswer[]>;
}

/** What takes in the changes by which a copy becomes the set. */
export type TakeChanges = (changes: readonly ItemChange[]) => Promise<void>;

/**
 * Takes in what changed in a set since a position of its feed. `complete` says whether that was all: false for a feed
 * of another life, or one that is too far ahead, and then ranges are to be compared. Either way `position` is where the
 * feed can be followed from next time, once everything up to then is here. Rejects with `MeshError`
 * `protocol_violation` for a feed that is none, and as the two others do.
 */
export async function followFeed<Entry>(
  set: { feed(feed: string | null, after: number): Promise<FeedPage<Entry>> },
  from: FeedPosition | undefined,
  take: (entries: readonly Entry[]) => Promise<void>,
): Promise<{ readonly complete: boolean; readonly position: FeedPosition }> {
  let after = from?.change ?? 0;
  for (let page = 0; page < feedPagesMax; page += 1) {
    const { feed, last, through, entries } = await set.feed(from?.feed ?? null, after);
    if (entries === null) return { complete: false, position: { feed, change: last } };
    if (feed !== from?.feed || through < after || through > last) throw violation('a feed that is out of order');
    if (entries.length > 0) await take(entries);
    // Of a part of the set there may be nothing among some changes, and something after them.
    const isAtEnd = entries.length === 0 && through === after;
    const position = { feed, change: isAtEnd ? last : through };
    if (position.change >= last) return { complete: true, position };
    if (position.change === after) throw violation('a feed that does not go on');
    after = position.change;
  }
  return { complete: false, position: { feed: from?.feed ?? '', change: after } };
}

/**
 * Compares a copy with the set and takes in every difference, also what the set has no longer. Rejects with `MeshError`
 * `protocol_violation` for answers that are none, and as the two others do.
 *
 * @param tree the copy as it is at the moment of the call
 */
export async function compareSets(set: FollowedSet, tree: TreeReader, take: TakeChanges): Promise<void> {
  for await (const differences of differencesOf(new Reconciliation(() => tree, [0]), set)) {
    const changes = differences.map(({ key, theirs }) => ({ key, value: theirs }));
    if (changes.length > 0) await take(changes);
  }
}

/**
 * What the two sides of a reconciliation differ in, as the answers come; the next is asked for when these are dealt with.
 * Rejects with `MeshError` `protocol_violation` for answers that are none, and as the set does.
 */
export async function* differencesOf(
  reconciliation: Reconciliation,
  set: Pick<FollowedSet, 'ranges'>,
): AsyncGenerator<readonly Difference[]> {
  for (let questions = reconciliation.ask(); questions.length > 0; questions = reconciliation.ask()) {
    yield reconciliation.take(await set.ranges(questions));
  }
  if (reconciliation.fault !== undefined) throw violation(reconciliation.fault);
}

function violation(message: string): MeshError {
  return new MeshError('protocol_violation', message);
}
