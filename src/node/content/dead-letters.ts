import { z } from 'zod';
import type { BlobHash } from '../../../crdt/ids.ts';
import type { KvReader, KvTransaction } from '../../ports/kv.ts';
import { deadKey, hashedRange, hashOfKey, stateKey } from './content-keys.ts';
import { decodeRow, encodeRow } from './json-rows.ts';

/**
 * Why a job was given up: its manifest is made up, which nothing can mend; for a whole day nobody had the content; or
 * storing it failed for as long.
 */
export type DeathReason = 'unusable' | 'unavailable' | 'failing';

/** A job that was given up. It stays until it is retried or its content is dropped. */
export interface DeadLetter {
  readonly kind: 'content' | 'blob';
  readonly hash: BlobHash;
  readonly sizeBytes: number;
  readonly b3?: string;
  readonly reason: DeathReason;
  /** Attempts that failed in a row. */
  readonly attempts: number;
  readonly message: string;
  /** Milliseconds since the epoch at which it was given up, for display. */
  readonly time: number;
}

const letterSchema = z.strictObject({
  v: z.literal(1),
  kind: z.enum(['content', 'blob']),
  sizeBytes: z.int().nonnegative(),
  b3: z.string().optional(),
  reason: z.enum(['unusable', 'unavailable', 'failing']),
  attempts: z.int().nonnegative(),
  message: z.string(),
  time: z.number(),
});
const countSchema = z.strictObject({ v: z.literal(1), count: z.int().nonnegative() });
/** Longer messages are cut. */
const messageLengthMax = 300;

/** The jobs that were given up, one row each, and their number. */
export class DeadLetters {
  get(reader: KvReader, hash: BlobHash): DeadLetter | undefined {
    const value = reader.get(deadKey(hash));
    return value === undefined ? undefined : decodeLetter(hash, value);
  }

  count(reader: KvReader): number {
    const value = reader.get(stateKey('dead-count'));
    return (value === undefined ? undefined : decodeRow(countSchema, value)?.count) ?? 0;
  }

  /** In the order of the hashes, those after one of them. */
  list(reader: KvReader, after: BlobHash | undefined, limit: number): DeadLetter[] {
    return Array.from(reader.range({ ...hashedRange('dead', after), limit }), ([key, value]) =>
      decodeLetter(hashOfKey(key), value),
    );
  }

  add(transaction: KvTransaction, letter: DeadLetter): void {
    const { hash, message, ...row } = letter;
    if (transaction.get(deadKey(hash)) === undefined) this.#count(transaction, 1);
    transaction.put(deadKey(hash), encodeRow({ v: 1, ...row, message: message.slice(0, messageLengthMax) }));
  }

  /** Takes a letter away, and returns it if there was one. */
  remove(transaction: KvTransaction, hash: BlobHash): DeadLetter | undefined {
    const letter = this.get(transaction, hash);
    if (letter === undefined) return undefined;
    transaction.delete(deadKey(hash));
    this.#count(transaction, -1);
    return letter;
  }

  #count(transaction: KvTransaction, change: number): void {
    const count = Math.max(0, this.count(transaction) + change);
    transaction.put(stateKey('dead-count'), encodeRow({ v: 1, count }));
  }
}

/** One whose row the disk has changed is still a letter: retrying it finds out what is wrong. */
function decodeLetter(hash: BlobHash, value: Uint8Array): DeadLetter {
  const row = decodeRow(letterSchema, value);
  if (row === undefined) {
    const message = 'the row of this job is damaged';
    return { kind: 'content', hash, sizeBytes: 0, reason: 'failing', attempts: 0, message, time: 0 };
  }
  const { v: _version, b3, ...rest } = row;
  return { hash, ...rest, ...(b3 === undefined ? {} : { b3 }) };
}
