import { z } from 'zod';
import { readUint64 } from '../../../crdt/big-endian.ts';
import type { BlobHash, NodeId, VersionId } from '../../../crdt/ids.ts';
import type { Content } from '../../../crdt/version.ts';
import type { KvReader, KvTransaction } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import {
  completeKey,
  jobCountsKey,
  jobIndexKey,
  jobKey,
  jobRange,
  sequenceOfJobKey,
  subjectKey,
  subjectRange,
  versionOfSubjectKey,
} from './content-keys.ts';
import { type DeadLetter, DeadLetters } from './dead-letters.ts';
import { decodeRow, encodeRow, hashSchema } from './json-rows.ts';
import { type Damage, Mending, type MendingCounts } from './mending.ts';

/** The version a content is wanted for. */
export interface ContentSubject {
  readonly ns: string;
  readonly key: string;
  readonly version: VersionId;
  /** The node that wrote it: a likely holder. */
  readonly origin?: NodeId;
}

/** A content to be made whole here, or (`blob`) a single chunk or manifest to be fetched afresh. */
export interface PullJob {
  readonly sequence: number;
  readonly kind: 'content' | 'blob';
  /** The content's root manifest, or the blob. */
  readonly hash: BlobHash;
  /** Bytes of content or blob, as far as is known. */
  readonly sizeBytes: number;
  /** BLAKE3 of the whole content in lowercase hex, where a version told it. */
  readonly b3?: string;
  /** What had gone wrong in a row when it was last written down, over restarts too. */
  readonly failing?: JobFailures;
}

/** Attempts that failed in a row, and how long they went on. */
export interface JobFailures {
  readonly attempts: number;
  readonly ms: number;
}

/** Is told, in the transaction itself, when a content becomes whole here and when it is so no more. */
export interface Inventory {
  completed(transaction: KvTransaction, manifest: BlobHash, sizeBytes: number): void;
  gone(transaction: KvTransaction, manifest: BlobHash): void;
}

const jobSchema = z.strictObject({
  v: z.literal(1),
  kind: z.enum(['content', 'blob']),
  hash: hashSchema,
  sizeBytes: z.int().nonnegative(),
  b3: z.string().optional(),
  failing: z.strictObject({ attempts: z.int().nonnegative(), ms: z.number().nonnegative() }).optional(),
});
const subjectSchema = z.strictObject({
  v: z.literal(1),
  ns: z.string(),
  key: z.string(),
  origin: z.custom<NodeId>((value) => typeof value === 'string').optional(),
});
const markerSchema = z.strictObject({ v: z.literal(1), sizeBytes: z.int().nonnegative() });
const countsSchema = z.strictObject({ v: z.literal(1), next: z.int().positive(), pending: z.int().nonnegative() });
type Counts = z.infer<typeof countsSchema>;

/**
 * The persisted pull jobs and the markers of what is complete: at most one job a hash, numbered in the order
 * they came. All writes happen inside the caller's transaction, so a job appears with the version that wants
 * it and leaves together with the marker that it is done.
 */
export class PullJobs {
  readonly #kv: KvReader;
  readonly #log: Log;
  readonly #inventory: Inventory | undefined;
  readonly #dead = new DeadLetters();
  readonly #mending: Mending;

  constructor(dependencies: {
    readonly kv: KvReader;
    readonly log: Log;
    readonly inventory?: Inventory | undefined;
    /** Is called within a transaction after which other contents are damaged than before. */
    readonly onDamageChanged?: () => void;
  }) {
    this.#mending = new Mending(dependencies.onDamageChanged ?? (() => undefined));
    this.#kv = dependencies.kv;
    this.#log = dependencies.log;
    this.#inventory = dependencies.inventory;
  }

  isComplete(manifest: BlobHash): boolean {
    return this.#kv.get(completeKey(manifest)) !== undefined;
  }

  /** Bytes of a content that is complete here, or undefined. */
  completeSize(reader: KvReader, manifest: BlobHash): number | undefined {
    const value = reader.get(completeKey(manifest));
    return value === undefined ? undefined : (decodeRow(markerSchema, value)?.sizeBytes ?? 0);
  }

  markComplete(transaction: KvTransaction, manifest: BlobHash, sizeBytes: number): void {
    const key = completeKey(manifest);
    if (this.#inventory !== undefined && transaction.get(key) === undefined) {
      this.#inventory.completed(transaction, manifest, sizeBytes);
    }
    transaction.put(key, encodeRow({ v: 1, sizeBytes }));
    this.#mending.remove(transaction, manifest);
  }

  /** True when a job stands for a content, a dead one too: what was stored for it is kept. */
  isWanted(reader: KvReader, manifest: BlobHash): boolean {
    return this.#find(reader, manifest)?.kind === 'content' || this.#dead.get(reader, manifest)?.kind === 'content';
  }

  /** Notes that a version wants this content; true when it is not complete here, so that a job now stands for it. */
  want(transaction: KvTransaction, { manifest, size, b3 }: Content, subject: ContentSubject): boolean {
    if (transaction.get(completeKey(manifest)) !== undefined) return false;
    this.#add(transaction, { kind: 'content', hash: manifest, sizeBytes: size, b3 });
    const { ns, key, version, origin } = subject;
    transaction.put(subjectKey(manifest, version), encodeRow({ v: 1, ns, key, origin }));
    return true;
  }

  /**
   * Something of a content is lacking: if it was complete it is so no longer, and a job takes the marker's place. A job
   * that there is begins anew under another number, since what it had found to be here may be what is lacking. `sizeBytes`
   * is the content's size where the marker need not be trusted. Does nothing for a content that is neither.
   */
  reopen(transaction: KvTransaction, manifest: BlobHash, damage: Damage, sizeBytes?: number): void {
    const markedBytes = this.completeSize(transaction, manifest);
    if (markedBytes !== undefined || this.#mending.has(transaction, manifest)) {
      this.#mending.add(transaction, manifest, damage);
    }
    this.#unmark(transaction, manifest);
    const known = this.#find(transaction, manifest);
    if (known?.kind === 'content') {
      const { sequence: _sequence, ...job } = known;
      this.#remove(transaction, known);
      this.#add(transaction, job);
    } else if (markedBytes !== undefined) {
      this.#add(transaction, { kind: 'content', hash: manifest, sizeBytes: sizeBytes ?? markedBytes });
    }
  }

  /** Forgets a content: its marker, its job and who waits for it. False when there was neither. */
  drop(transaction: KvTransaction, manifest: BlobHash): boolean {
    const wasWhole = this.#unmark(transaction, manifest);
    return this.end(transaction, manifest) || wasWhole;
  }

  /** Forgets a job, a dead one too, and who waits for it. What became whole by another way meanwhile stays so. False when there was none. */
  end(transaction: KvTransaction, hash: BlobHash): boolean {
    const wasDead = this.#dead.remove(transaction, hash) !== undefined;
    this.#mending.remove(transaction, hash);
    const job = this.#find(transaction, hash);
    if (job !== undefined) this.#remove(transaction, job);
    for (const [key] of [...transaction.range(subjectRange(hash))]) transaction.delete(key);
    return wasDead || job !== undefined;
  }

  /** Takes from a content those that wait for it and no longer should; true when nobody is left of several. */
  withdraw(transaction: KvTransaction, manifest: BlobHash, isWanted: (subject: ContentSubject) => boolean): boolean {
    let left = 0;
    let withdrawn = 0;
    for (const [key, value] of [...transaction.range(subjectRange(manifest))]) {
      const subject = this.#decodeSubject(key, value);
      if (subject !== undefined && isWanted(subject)) {
        left += 1;
        continue;
      }
      transaction.delete(key);
      withdrawn += 1;
    }
    return withdrawn > 0 && left === 0;
  }

  /** Writes down how long a job has been failing, so that a restart does not begin to count anew. */
  noteFailing(transaction: KvTransaction, job: PullJob, failing: JobFailures): void {
    const stored = this.#find(transaction, job.hash);
    if (stored?.sequence !== job.sequence) return;
    const { sequence, failing: _before, ...row } = stored;
    transaction.put(jobKey(sequence), encodeRow({ v: 1, ...row, ...(failing.attempts === 0 ? {} : { failing }) }));
  }

  /** Gives a job up: it stays as a dead letter. Returns who waits for its content. */
  bury(
    transaction: KvTransaction,
    job: PullJob,
    death: Pick<DeadLetter, 'reason' | 'attempts' | 'message' | 'time'>,
  ): ContentSubject[] {
    const stored = this.#find(transaction, job.hash);
    if (stored?.sequence !== job.sequence) return [];
    this.#remove(transaction, stored);
    const { kind, hash, sizeBytes, b3 } = stored;
    this.#dead.add(transaction, { kind, hash, sizeBytes, ...(b3 === undefined ? {} : { b3 }), ...death });
    return Array.from(transaction.range(subjectRange(hash)), ([key, value]) => this.#decodeSubject(key, value)).filter(
      (subject) => subject !== undefined,
    );
  }

  /** Makes a dead letter a job again. False when there is none. */
  revive(transaction: KvTransaction, hash: BlobHash): boolean {
    const letter = this.#dead.remove(transaction, hash);
    if (letter === undefined) return false;
    const { kind, sizeBytes, b3 } = letter;
    this.#add(transaction, { kind, hash, sizeBytes, ...(b3 === undefined ? {} : { b3 }) });
    return true;
  }

  /** Dead letters in the order of their hashes, those after one. */
  dead(after: BlobHash | undefined, limit: number): DeadLetter[] {
    return this.#dead.list(this.#kv, after, limit);
  }

  deadCount(): number {
    return this.#dead.count(this.#kv);
  }

  /** Contents that were whole here and lack something now. */
  mending(): MendingCounts {
    return this.#mending.counts(this.#kv);
  }

  /** A single blob was lost here and is wanted back. */
  wantBlob(transaction: KvTransaction, hash: BlobHash, sizeBytes: number): void {
    this.#add(transaction, { kind: 'blob', hash, sizeBytes });
  }

  /**
   * Ends a job whose blobs are all stored, and returns the versions that waited for it; undefined when the job
   * has become one for more than was stored (a lost manifest whose whole content is wanted by now).
   */
  finish(transaction: KvTransaction, job: PullJob): ContentSubject[] | undefined {
    const row = transaction.get(jobKey(job.sequence));
    if (row === undefined || this.#decodeJob(job.sequence, row)?.kind !== job.kind) return undefined;
    this.#remove(transaction, job);
    if (job.kind === 'blob') return [];
    this.markComplete(transaction, job.hash, job.sizeBytes);
    const rows = [...transaction.range(subjectRange(job.hash))];
    for (const [key] of rows) transaction.delete(key);
    return rows.flatMap(([key, value]) => this.#decodeSubject(key, value) ?? []);
  }

  /** Jobs numbered `from` or later, oldest first; undefined stands for one whose row is damaged. */
  list(from: number, limit: number): { readonly sequence: number; readonly job: PullJob | undefined }[] {
    return Array.from(this.#kv.range({ ...jobRange(from), limit }), ([key, value]) => {
      const sequence = sequenceOfJobKey(key);
      return { sequence, job: this.#decodeJob(sequence, value) };
    });
  }

  /** The job for a content or a blob as it stands now, if there is one. */
  find(hash: BlobHash): PullJob | undefined {
    return this.#find(this.#kv, hash);
  }

  /** One of the versions that wait for a content. */
  subjectOf(manifest: BlobHash): ContentSubject | undefined {
    for (const [key, value] of this.#kv.range({ ...subjectRange(manifest), limit: 1 })) {
      return this.#decodeSubject(key, value);
    }
    return undefined;
  }

  /** How many jobs there are. */
  pending(): number {
    return this.#counts(this.#kv).pending;
  }

  #find(reader: KvReader, hash: BlobHash): PullJob | undefined {
    const index = reader.get(jobIndexKey(hash));
    if (index === undefined) return undefined;
    const sequence = decodeSequence(index);
    const value = reader.get(jobKey(sequence));
    return value === undefined ? undefined : this.#decodeJob(sequence, value);
  }

  #remove(transaction: KvTransaction, job: Pick<PullJob, 'sequence' | 'hash'>): void {
    transaction.delete(jobKey(job.sequence));
    transaction.delete(jobIndexKey(job.hash));
    const counts = this.#counts(transaction);
    this.#putCounts(transaction, { ...counts, pending: counts.pending - 1 });
  }

  #unmark(transaction: KvTransaction, manifest: BlobHash): boolean {
    const key = completeKey(manifest);
    if (transaction.get(key) === undefined) return false;
    this.#inventory?.gone(transaction, manifest);
    transaction.delete(key);
    return true;
  }

  #add(transaction: KvTransaction, job: Omit<PullJob, 'sequence'>): void {
    const dead = this.#dead.get(transaction, job.hash);
    // What is made up stays so, whoever else wants it; only an operator's word tries it again.
    if (dead?.reason === 'unusable' && job.kind === 'content') return;
    this.#dead.remove(transaction, job.hash);
    const counts = this.#counts(transaction);
    const known = transaction.get(jobIndexKey(job.hash));
    if (known !== undefined) {
      // What is wanted whole includes what was wanted alone.
      if (job.kind === 'content') transaction.put(jobKey(decodeSequence(known)), encodeRow({ v: 1, ...job }));
      return;
    }
    transaction.put(jobKey(counts.next), encodeRow({ v: 1, ...job }));
    transaction.put(jobIndexKey(job.hash), jobKey(counts.next).slice(1));
    this.#putCounts(transaction, { v: 1, next: counts.next + 1, pending: counts.pending + 1 });
  }

  #counts(reader: KvReader): Counts {
    const value = reader.get(jobCountsKey());
    if (value === undefined) return { v: 1, next: 1, pending: 0 };
    const counts = decodeRow(countsSchema, value);
    if (counts === undefined) throw new MeshError('corrupt', 'the count of pull jobs is damaged on disk');
    return counts;
  }

  #putCounts(transaction: KvTransaction, counts: Counts): void {
    transaction.put(jobCountsKey(), encodeRow(counts));
  }

  #decodeJob(sequence: number, value: Uint8Array): PullJob | undefined {
    const row = decodeRow(jobSchema, value);
    if (row === undefined) this.#log.error('content:job_unreadable', { sequence });
    if (row === undefined) return undefined;
    const { v: _version, b3, failing, ...rest } = row;
    return { sequence, ...rest, ...(b3 === undefined ? {} : { b3 }), ...(failing === undefined ? {} : { failing }) };
  }

  #decodeSubject(key: Uint8Array, value: Uint8Array): ContentSubject | undefined {
    const version = versionOfSubjectKey(key);
    const row = decodeRow(subjectSchema, value);
    if (row === undefined) this.#log.error('content:subject_unreadable', { version });
    return row && { ns: row.ns, key: row.key, version, ...(row.origin === undefined ? {} : { origin: row.origin }) };
  }
}

function decodeSequence(value: Uint8Array): number {
  return readUint64(value, 0);
}
