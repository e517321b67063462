import type { ItemChange, TreeReader } from '../../crdt/fingerprint-tree.ts';
import { type RangeAnswer, type RangeQuestion, Reconciliation } from '../../crdt/reconcile.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';

/** Feed pages of one round; past it ranges are compared instead, and cost less. */
const feedPagesMax = 192;

/** How far a feed was followed. */
export interface FeedPosition {
  readonly feed: string;
  readonly change: number;
}

/** What a feed says of what came after a change. */
export interface FeedPage {
  readonly feed: string;
  /** The number of its newest change. */
  readonly last: number;
  /** The number of the last change among the entries. */
  readonly through: number;
  /** In order; null when the change asked about is not one of this feed, or is too long ago. */
  readonly entries: readonly ItemChange[] | null;
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
export async function followFeed(
  set: FollowedSet,
  from: FeedPosition | undefined,
  take: TakeChanges,
): Promise<{ readonly complete: boolean; readonly position: FeedPosition }> {
  let after = from?.change ?? 0;
  for (let page = 0; page < feedPagesMax; page += 1) {
    const { feed, last, through, entries } = await set.feed(from?.feed ?? null, after);
    if (entries === null) return { complete: false, position: { feed, change: last } };
    if (feed !== from?.feed || through < after || through > last) throw violation('a feed that is out of order');
    if (entries.length > 0) await take(entries);
    const position = { feed, change: entries.length === 0 ? last : through };
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
  const reconciliation = new Reconciliation(() => tree, [0]);
  for (let questions = reconciliation.ask(); questions.length > 0; questions = reconciliation.ask()) {
    const differences = reconciliation.take(await set.ranges(questions));
    const changes = differences.map(({ key, theirs }) => ({ key, value: theirs }));
    if (changes.length > 0) await take(changes);
  }
  if (reconciliation.fault !== undefined) throw violation(reconciliation.fault);
}

function violation(message: string): MeshError {
  return new MeshError('protocol_violation', message);
}
