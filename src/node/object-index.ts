import type { DocId, VersionId } from '../../crdt/ids.ts';
import { preferredHead } from '../../crdt/version-graph.ts';
import type { KvReader, KvTransaction } from '../ports/kv.ts';
import { type ConflictRow, type CountsRow, decodeRow, encodeRow, type ListingRow, type ObjectRow } from './rows.ts';
import { conflictKey, listingKey, metaKey } from './storage-keys.ts';

/** What happened to an object, as far as the indices over all objects show it. */
export interface ObjectChange {
  readonly doc: DocId;
  readonly before: ObjectRow | undefined;
  readonly after: ObjectRow;
  /** Versions that were added, and versions that became confirmed. */
  readonly added: number;
  readonly confirmed: number;
}

/** How many objects, versions, conflicts and confirmed versions there are. */
export function countsOf(reader: KvReader): CountsRow {
  const bytes = reader.get(metaKey('counts'));
  const none = { objects: 0, versions: 0, conflicts: 0, confirmed: 0 };
  return bytes === undefined ? none : { ...none, ...decodeRow<Partial<CountsRow>>(bytes, 'counts') };
}

/**
 * Brings listing and conflicts in step with an object's row. Says which head is preferred now, and by how much the counts
 * change, for `count`.
 */
export function indexObject(
  transaction: KvTransaction,
  change: ObjectChange,
): { readonly preferred: VersionId; readonly counted: CountsRow } {
  const { doc, before, after } = change;
  const { ns, key, heads } = after;
  const preferred = preferredHead(heads, after.confirmed?.id);
  const shown = after.confirmed ?? heads.find((head) => head.id === preferred);
  // A key is listed while any head of it, or what reads show first, holds content; what is deleted on every branch is not.
  const isLive = shown?.kind !== 'delete' || heads.some((head) => head.kind !== 'delete');
  if (shown !== undefined && isLive) {
    const { size, time } = shown;
    const confirmed = after.confirmed !== undefined;
    const row: ListingRow = { doc, version: preferred, heads: heads.length, size, time, confirmed };
    transaction.put(listingKey(ns, key), encodeRow(row));
  } else {
    transaction.delete(listingKey(ns, key));
  }
  const wasConflict = (before?.heads.length ?? 0) > 1;
  const isConflict = heads.length > 1;
  if (isConflict) {
    const row: ConflictRow = { heads: heads.map((head) => head.id), preferred };
    transaction.put(conflictKey(ns, key), encodeRow(row));
  } else if (wasConflict) {
    transaction.delete(conflictKey(ns, key));
  }
  const counted: CountsRow = {
    objects: before === undefined ? 1 : 0,
    versions: change.added,
    conflicts: Number(isConflict) - Number(wasConflict),
    confirmed: change.confirmed,
  };
  return { preferred, counted };
}

/** Adds to the counts what changes came to: once for all of a transaction, since it is one row. */
export function count(transaction: KvTransaction, changes: readonly CountsRow[]): void {
  if (changes.length === 0) return;
  const { objects, versions, conflicts, confirmed } = countsOf(transaction);
  const sum = (of: keyof CountsRow): number => changes.reduce((total, change) => total + change[of], 0);
  const next: CountsRow = {
    objects: objects + sum('objects'),
    versions: versions + sum('versions'),
    conflicts: conflicts + sum('conflicts'),
    confirmed: confirmed + sum('confirmed'),
  };
  transaction.put(metaKey('counts'), encodeRow(next));
}

/** Takes an object that is removed out of listing, conflicts and counts; so many of its versions were confirmed. */
export function unindexObject(transaction: KvTransaction, row: ObjectRow, confirmed: number): void {
  const { ns, key, heads, versions } = row;
  transaction.delete(listingKey(ns, key));
  transaction.delete(conflictKey(ns, key));
  count(transaction, [
    { objects: -1, versions: -versions, conflicts: heads.length > 1 ? -1 : 0, confirmed: -confirmed },
  ]);
}
