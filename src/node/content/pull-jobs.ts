import { z } from 'zod';
import { isHash } from '../../../crdt/digest.ts';
import type { BlobHash, NodeId, VersionId } from '../../../crdt/ids.ts';
import type { KvReader, KvTransaction } from '../../ports/kv.ts';
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
}

const hashSchema = z.custom<BlobHash>((value) => typeof value === 'string' && isHash(value));
const jobSchema = z.strictObject({
  v: z.literal(1),
  kind: z.enum(['content', 'blob']),
  hash: hashSchema,
  sizeBytes: z.int().nonnegative(),
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

  constructor(kv: KvReader) {
    this.#kv = kv;
  }

  isComplete(manifest: BlobHash): boolean {
    return this.#kv.get(completeKey(manifest)) !== undefined;
  }

  markComplete(transaction: KvTransaction, manifest: BlobHash, sizeBytes: number): void {
    transaction.put(completeKey(manifest), encode({ v: 1, sizeBytes }));
  }

  /** Notes that a version wants this content; true when it is not complete here, so that a job now stands for it. */
  want(transaction: KvTransaction, manifest: BlobHash, sizeBytes: number, subject: ContentSubject): boolean {
    if (transaction.get(completeKey(manifest)) !== undefined) return false;
    this.#add(transaction, { kind: 'content', hash: manifest, sizeBytes });
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
    if (row === undefined || decodeJob(job.sequence, row).kind !== job.kind) return undefined;
    transaction.delete(jobKey(job.sequence));
    transaction.delete(jobIndexKey(job.hash));
    const counts = this.#counts(transaction);
    this.#putCounts(transaction, { ...counts, pending: counts.pending - 1 });
    if (job.kind === 'blob') return [];
    this.markComplete(transaction, job.hash, job.sizeBytes);
    const rows = [...transaction.range(subjectRange(job.hash))];
    return rows.map(([key, value]) => {
      transaction.delete(key);
      return decodeSubject(key, value);
    });
  }

  /** Jobs numbered `from` or later, oldest first. */
  list(from: number, limit: number): PullJob[] {
    const rows = this.#kv.range({ ...jobRange(from), limit });
    return Array.from(rows, ([key, value]) => decodeJob(sequenceOfJobKey(key), value));
  }

  /** The job for a content or a blob as it stands now, if there is one. */
  find(hash: BlobHash): PullJob | undefined {
    const index = this.#kv.get(jobIndexKey(hash));
    if (index === undefined) return undefined;
    const sequence = decodeSequence(index);
    const value = this.#kv.get(jobKey(sequence));
    return value === undefined ? undefined : decodeJob(sequence, value);
  }

  /** One of the versions that wait for a content. */
  subjectOf(manifest: BlobHash): ContentSubject | undefined {
    for (const [key, value] of this.#kv.range({ ...subjectRange(manifest), limit: 1 }))
      return decodeSubject(key, value);
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
    return value === undefined ? { v: 1, next: 1, pending: 0 } : decode(countsSchema, value);
  }

  #putCounts(transaction: KvTransaction, counts: Counts): void {
    transaction.put(jobCountsKey(), encode(counts));
  }
}

function encode(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function decode<T>(schema: z.ZodType<T>, value: Uint8Array): T {
  try {
    return schema.parse(JSON.parse(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString()));
  } catch (error) {
    throw new MeshError('corrupt', 'a row of the pull jobs cannot be read', { cause: error });
  }
}

function decodeSequence(value: Uint8Array): number {
  return Number(new DataView(value.buffer, value.byteOffset, value.byteLength).getBigUint64(0));
}

function decodeJob(sequence: number, value: Uint8Array): PullJob {
  const { kind, hash, sizeBytes } = decode(jobSchema, value);
  return { sequence, kind, hash, sizeBytes };
}

function decodeSubject(subject: Uint8Array, value: Uint8Array): ContentSubject {
  const { ns, key, origin } = decode(subjectSchema, value);
  const version = versionOfSubjectKey(subject);
  return origin === undefined ? { ns, key, version } : { ns, key, version, origin };
}
