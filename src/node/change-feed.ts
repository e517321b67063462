import { toBase32 } from '../../crdt/digest.ts';
import type { DocId, PeerId } from '../../crdt/ids.ts';
import type { KvReader, KvTransaction } from '../ports/kv.ts';
import { decodeRow, encodeRow } from './rows.ts';
import { feedCursorKey, feedKey, feedRange, numberOfKey } from './storage-keys.ts';

/** How far a peer's feed was followed. */
export interface FeedCursor {
  /** The peer's incarnation: a wiped, restored or crashed peer has another, and its numbers start over. */
  readonly feed: string;
  readonly change: number;
}

/** A document and the number of its newest change. */
export interface FeedEntry {
  readonly doc: DocId;
  readonly change: number;
}

/** Numbers the changes this node accepts. */
export class FeedNumbers {
  #last: number | undefined;

  /** A number no change had. Where a transaction fails, its numbers stay unused. */
  next(reader: KvReader): number {
    this.#last = (this.#last ?? changeFeed.last(reader)) + 1;
    return this.#last;
  }
}

/** The documents in the order of their newest changes, so it is never longer than the documents are many. */
export const changeFeed = {
  /** The number of the newest change; 0 when there was none. */
  last(reader: KvReader): number {
    for (const [key] of reader.range({ ...feedRange(0), limit: 1, reverse: true })) return numberOfKey(key);
    return 0;
  },

  /** Puts a document at the end of the feed under its new number, and takes it away from where it was. */
  append(transaction: KvTransaction, rawDoc: Uint8Array, change: number, former: number | undefined): void {
    if (former !== undefined) transaction.delete(feedKey(former));
    transaction.put(feedKey(change), rawDoc);
  },

  /** Takes a document away that is no longer here. */
  remove(transaction: KvTransaction, change: number): void {
    transaction.delete(feedKey(change));
  },

  /** The documents that changed after a number, in the order of their changes. */
  after(reader: KvReader, change: number, limit: number): FeedEntry[] {
    return Array.from(reader.range({ ...feedRange(change), limit }), ([key, rawDoc]) => ({
      doc: toBase32(rawDoc) as DocId,
      change: numberOfKey(key),
    }));
  },

  cursor(reader: KvReader, peer: PeerId): FeedCursor | undefined {
    const row = reader.get(feedCursorKey(peer));
    return row === undefined ? undefined : decodeRow<FeedCursor>(row, `feed cursor of ${peer}`);
  },

  setCursor(transaction: KvTransaction, peer: PeerId, cursor: FeedCursor): void {
    transaction.put(feedCursorKey(peer), encodeRow(cursor));
  },
} as const;
