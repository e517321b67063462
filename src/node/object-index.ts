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

/** Brings listing, conflicts and counts in step with an object's row, and says which head is preferred now. */
export function indexObject(transaction: KvTransaction, change: ObjectChange): VersionId {
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
  const counts = countsOf(transaction);
  const next: CountsRow = {
    objects: counts.objects + (before === undefined ? 1 : 0),
    versions: counts.versions + change.added,
    conflicts: counts.conflicts + Number(isConflict) - Number(wasConflict),
    confirmed: counts.confirmed + change.confirmed,
  };
  transaction.put(metaKey('counts'), encodeRow(next));
  return preferred;
}

/** Takes an object that is removed out of listing, conflicts and counts; so many of its versions were confirmed. */
export function unindexObject(transaction: KvTransaction, row: ObjectRow, confirmed: number): void {
  const { ns, key, heads, versions } = row;
  transaction.delete(listingKey(ns, key));
  transaction.delete(conflictKey(ns, key));
  const counts = countsOf(transaction);
  const next: CountsRow = {
    objects: counts.objects - 1,
    versions: counts.versions - versions,
    conflicts: counts.conflicts - (heads.length > 1 ? 1 : 0),
    confirmed: counts.confirmed - confirmed,
  };
  transaction.put(metaKey('counts'), encodeRow(next));
}
