import { z } from 'zod';
import { isHash } from '../../../crdt/digest.ts';
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
}

const hashSchema = z.custom<BlobHash>((value) => typeof value === 'string' && isHash(value));
const jobSchema = z.strictObject({
  v: z.literal(1),
  kind: z.enum(['content', 'blob']),
  hash: hashSchema,
  sizeBytes: z.int().nonnegative(),
  b3: z.string().optional(),
});
const subjectSchema = z.strictObject({
  v: z.literal(1),
  ns: z.string(),
  key: z.string(),
  origin: z.custom<NodeId>((value) => typeof value === 'string').optional(),
});
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

  constructor(dependencies: { readonly kv: KvReader; readonly log: Log }) {
    this.#kv = dependencies.kv;
    this.#log = dependencies.log;
  }

  isComplete(manifest: BlobHash): boolean {
    return this.#kv.get(completeKey(manifest)) !== undefined;
  }

  markComplete(transaction: KvTransaction, manifest: BlobHash, sizeBytes: number): void {
    transaction.put(completeKey(manifest), encode({ v: 1, sizeBytes }));
  }

  /** Notes that a version wants this content; true when it is not complete here, so that a job now stands for it. */
  want(transaction: KvTransaction, { manifest, size, b3 }: Content, subject: ContentSubject): boolean {
    if (transaction.get(completeKey(manifest)) !== undefined) return false;
    this.#add(transaction, { kind: 'content', hash: manifest, sizeBytes: size, b3 });
    const { ns, key, version, origin } = subject;
    transaction.put(subjectKey(manifest, version), encode({ v: 1, ns, key, origin }));
    return true;
  }

  /** A content that was complete is no longer: a job takes the marker's place. */
  reopen(transaction: KvTransaction, manifest: BlobHash, sizeBytes: number): void {
    if (transaction.get(completeKey(manifest)) === undefined) return;
    transaction.delete(completeKey(manifest));
    this.#add(transaction, { kind: 'content', hash: manifest, sizeBytes });
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
    transaction.delete(jobKey(job.sequence));
    transaction.delete(jobIndexKey(job.hash));
    const counts = this.#counts(transaction);
    this.#putCounts(transaction, { ...counts, pending: counts.pending - 1 });
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
    const index = this.#kv.get(jobIndexKey(hash));
    if (index === undefined) return undefined;
    const sequence = decodeSequence(index);
    const value = this.#kv.get(jobKey(sequence));
    return value === undefined ? undefined : this.#decodeJob(sequence, value);
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

  #add(transaction: KvTransaction, job: Omit<PullJob, 'sequence'>): void {
    const counts = this.#counts(transaction);
    const known = transaction.get(jobIndexKey(job.hash));
    if (known !== undefined) {
      // What is wanted whole includes what was wanted alone.
      if (job.kind === 'content') transaction.put(jobKey(decodeSequence(known)), encode({ v: 1, ...job }));
      return;
    }
    transaction.put(jobKey(counts.next), encode({ v: 1, ...job }));
    transaction.put(jobIndexKey(job.hash), jobKey(counts.next).slice(1));
    this.#putCounts(transaction, { v: 1, next: counts.next + 1, pending: counts.pending + 1 });
  }

  #counts(reader: KvReader): Counts {
    const value = reader.get(jobCountsKey());
    if (value === undefined) return { v: 1, next: 1, pending: 0 };
    const counts = decode(countsSchema, value);
    if (counts === undefined) throw new MeshError('corrupt', 'the count of pull jobs is damaged on disk');
    return counts;
  }

  #putCounts(transaction: KvTransaction, counts: Counts): void {
    transaction.put(jobCountsKey(), encode(counts));
  }

  #decodeJob(sequence: number, value: Uint8Array): PullJob | undefined {
    const row = decode(jobSchema, value);
    if (row === undefined) this.#log.error('content:job_unreadable', { sequence });
    if (row === undefined) return undefined;
    const { kind, hash, sizeBytes, b3 } = row;
    return { sequence, kind, hash, sizeBytes, ...(b3 === undefined ? {} : { b3 }) };
  }

  #decodeSubject(key: Uint8Array, value: Uint8Array): ContentSubject | undefined {
    const version = versionOfSubjectKey(key);
    const row = decode(subjectSchema, value);
    if (row === undefined) this.#log.error('content:subject_unreadable', { version });
    return row && { ns: row.ns, key: row.key, version, ...(row.origin === undefined ? {} : { origin: row.origin }) };
  }
}

function encode(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

/** A row as it was written, or undefined when the disk has changed it. */
function decode<T>(schema: z.ZodType<T>, value: Uint8Array): T | undefined {
  try {
    return schema.parse(JSON.parse(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString()));
  } catch {
    return undefined;
  }
}

function decodeSequence(value: Uint8Array): number {
  return Number(new DataView(value.buffer, value.byteOffset, value.byteLength).getBigUint64(0));
}
