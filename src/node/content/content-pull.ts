import type { BlobHash } from '../../../crdt/ids.ts';
import type { Manifest, ManifestBlob } from '../../../crdt/manifest.ts';
import type { BlobFetcher, FetchedBlob } from '../../../protocols/blobs/fetcher.ts';
import type { HolderGroup } from '../../../protocols/blobs/holder-group.ts';
import type { Clock } from '../../ports/clock.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { ByteBudget } from './byte-budget.ts';
import { type ContentStore, smallBlobBytesMax } from './content-store.ts';
import type { KvBatcher } from './kv-batcher.ts';
import { type Links, linkageOf, portionsOf } from './links.ts';
import { type ChunkPart, loadRoot, manifestBytesGuess, walkChunks } from './manifest-walk.ts';
import type { PullJob } from './pull-jobs.ts';
import { soleChunkOf } from './small-content.ts';

/** Bytes of content that jobs may stand for at once, and what one job counts at least and at most. */
export const activeWeightMax = 64 * 1024 * 1024;
const jobWeightMin = activeWeightMax / 512;
const jobWeightMax = activeWeightMax / 4;
/** A decoded manifest takes several times its bytes in memory; this many times counts. */
const manifestWeight = 16;

/** How much of `activeWeightMax` a job takes: hundreds of small contents at a time, or a few large ones. */
export function jobWeight(sizeBytes: number, manifestBytes: number = manifestBytesGuess(sizeBytes)): number {
  return Math.min(Math.max(sizeBytes, manifestBytes * manifestWeight, jobWeightMin), jobWeightMax);
}

export interface ContentPullDependencies {
  readonly store: ContentStore;
  readonly fetcher: BlobFetcher;
  readonly batcher: KvBatcher;
  readonly links: Links;
  /** Bounds the bytes that are asked for and not here yet, over all jobs. */
  readonly wants: ByteBudget;
  readonly clock: Clock;
}

/** What a chunk counts at least in the budget of wants, so that their number is bounded too. */
const wantBytesMin = 4 * 1024;

/** How an attempt at a job ended: everything is stored, some of it could not be had now, or it is heavier than it said. */
export type PullOutcome = 'stored' | 'unavailable' | 'heavier';

/** Where an attempt starts. */
export interface PullStart {
  /** Chunks from the start of the content that an earlier attempt of this process has stored. */
  readonly chunksDone: number;
  readonly weight: number;
}

/** Thrown within an attempt when no holder has a blob now. */
class Unavailable extends Error {}

/** One attempt at a job: finds out what is lacking and fetches it, many blobs at a time. */
export class ContentPull {
  readonly job: PullJob;
  /** True once a blob too large for the key-value store is part of it, so that the blob store must be flushed. */
  hasLargeBlobs = false;
  /** What it takes of `activeWeightMax`; more than it was given when it ends as `heavier`. */
  weight: number;
  /** Bytes of content, once the manifest is here. */
  sizeBytes: number;
  /** Chunks from the start of the content that are stored; exact once `run` has ended. */
  chunksDone: number;
  /** Small blobs that are to be stored in the transaction that ends the job. */
  readonly rows: ManifestBlob[] = [];
  /** Monotonic point at which a blob of it was last stored. */
  lastProgressMs: number | undefined;
  readonly #dependencies: ContentPullDependencies;
  readonly #holders: HolderGroup;
  /** Chunks not here yet by their index; those that failed stay. */
  readonly #underWay = new Map<number, Promise<void>>();
  /** Fetched blobs on their way to disk; those that could not be stored stay. */
  readonly #storing = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  #stopped = false;

  constructor(dependencies: ContentPullDependencies, job: PullJob, holders: HolderGroup, from: PullStart) {
    this.#dependencies = dependencies;
    this.job = job;
    this.#holders = holders;
    this.sizeBytes = job.sizeBytes;
    this.chunksDone = from.chunksDone;
    this.weight = from.weight;
  }

  /** What is found damaged on the way this content has again when it is whole. */
  get #mender(): BlobHash | undefined {
    return this.job.kind === 'content' ? this.job.hash : undefined;
  }

  /** Ends the attempt early; what is stored stays. */
  stop(): void {
    this.#stopped = true;
  }

  /** Rejects as the store does, or with `MeshError` `corrupt` when the content's manifests are unusable. */
  async run(): Promise<PullOutcome> {
    try {
      if (this.job.kind === 'blob') await this.#obtain(this.job.hash, this.job.sizeBytes);
      else if (!(await this.#pullSmall()) && (await this.#pullContent()) === 'heavier') return 'heavier';
      await Promise.all(this.#storing);
      return 'stored';
    } catch (error) {
      const cause = this.#failure?.error ?? error;
      if (cause instanceof Unavailable) return 'unavailable';
      throw cause;
    } finally {
      // Everything under way comes to rest before the attempt ends, whatever became of it.
      await Promise.allSettled(this.#storing);
    }
  }

  /**
   * A content of one small chunk needs no manifest from elsewhere: the version tells the hash of the chunk, and so the
   * manifest. One request and one transaction bring it here. False when this is no such content.
   */
  async #pullSmall(): Promise<boolean> {
    const { hash, sizeBytes, b3 } = this.job;
    const sole = b3 === undefined ? undefined : soleChunkOf({ manifest: hash, size: sizeBytes, b3 });
    if (sole === undefined) return false;
    const { chunk } = sole;
    this.rows.push(sole.manifest);
    const { store, fetcher, clock } = this.#dependencies;
    if (await store.verify(chunk, sizeBytes, this.#mender)) return true;
    if (this.#stopped) throw new Unavailable();
    const giveBack = await this.#dependencies.wants.take(Math.max(sizeBytes, wantBytesMin));
    try {
      const fetched = await fetcher.fetch({ hash: chunk, sizeBytes }, { holders: this.#holders, unstored: true });
      if (fetched === undefined) throw new Unavailable();
      await fetched.stored;
      this.rows.push({ hash: chunk, bytes: Uint8Array.from(fetched.bytes) });
      this.lastProgressMs = clock.monotonicMs();
    } finally {
      giveBack();
    }
    return true;
  }

  async #pullContent(): Promise<'heavier' | undefined> {
    const granted = this.weight;
    let manifestBytes = 0;
    const load = async (hash: BlobHash, sizeBytes: number): Promise<Uint8Array> => {
      const bytes = await this.#obtain(hash, sizeBytes);
      manifestBytes = bytes.length;
      return bytes;
    };
    const root = await loadRoot(this.job.hash, this.job.sizeBytes, load);
    this.sizeBytes = root.size;
    this.weight = jobWeight(root.size, manifestBytes);
    if (this.weight > granted) return 'heavier';
    await this.#link(this.job.hash, root);
    const skipped = this.chunksDone;
    let index = 0;
    try {
      const open = (hash: BlobHash, manifest: Manifest): Promise<void> => this.#link(hash, manifest);
      for await (const chunk of walkChunks(root, load, { start: 0, end: root.size }, open)) {
        // A chunk of an earlier attempt may not have been flushed either.
        if (chunk.size > smallBlobBytesMax) this.hasLargeBlobs = true;
        if (index >= skipped) await this.#startChunk(index, chunk);
        index += 1;
        if (this.#failure !== undefined) break;
      }
    } finally {
      await this.#settleChunks(index);
    }
    if (this.#failure !== undefined) throw this.#failure.error;
    return undefined;
  }

  /** From here on nobody removes what the manifest lists, so what is found of it may be counted on. */
  async #link(hash: BlobHash, manifest: Manifest): Promise<void> {
    const linkage = linkageOf(hash, manifest);
    if (linkage === undefined) return;
    const { batcher, links } = this.#dependencies;
    for (const portion of portionsOf(linkage)) {
      let isRetained = false;
      await batcher.add((transaction) => {
        isRetained = links.linkRetained(transaction, portion);
      });
      if (!isRetained) throw new Unavailable();
    }
  }

  /** Verified bytes from here or from a holder. */
  async #obtain(hash: BlobHash, sizeBytes: number): Promise<Uint8Array> {
    // Its size is a guess, by which a manifest of many small chunks may seem to be no file.
    const local = await this.#dependencies.store.read(hash, undefined, this.#mender);
    this.hasLargeBlobs ||= (local?.length ?? 0) > smallBlobBytesMax;
    return local ?? (await this.#fetch(hash, sizeBytes)).bytes;
  }

  async #fetch(hash: BlobHash, sizeBytes: number, storeOnly = false): Promise<FetchedBlob> {
    if (this.#stopped) throw new Unavailable();
    const fetched = await this.#dependencies.fetcher.fetch({ hash, sizeBytes }, { holders: this.#holders, storeOnly });
    if (fetched === undefined) throw new Unavailable();
    this.hasLargeBlobs ||= fetched.sizeBytes > smallBlobBytesMax;
    const storing = fetched.stored.then(() => {
      this.lastProgressMs = this.#dependencies.clock.monotonicMs();
    });
    this.#storing.add(storing);
    storing.then(
      () => this.#storing.delete(storing),
      (error: unknown) => this.#fail(error),
    );
    return fetched;
  }

  /** Starts to pull a chunk as soon as the shared budget allows. */
  async #startChunk(index: number, chunk: ChunkPart): Promise<void> {
    const giveBack = await this.#dependencies.wants.take(Math.max(chunk.size, wantBytesMin));
    const pulling = this.#pullChunk(chunk)
      .then(
        () => {
          this.#underWay.delete(index);
        },
        (error: unknown) => this.#fail(error),
      )
      .finally(giveBack);
    this.#underWay.set(index, pulling);
  }

  async #pullChunk(chunk: ChunkPart): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (await this.#dependencies.store.verify(chunk.hash, chunk.size, this.#mender)) return;
    const { sizeBytes } = await this.#fetch(chunk.hash, chunk.size, true);
    if (sizeBytes !== chunk.size) {
      throw new MeshError('corrupt', `the manifest says ${chunk.size} bytes of a chunk that has ${sizeBytes}`, {
        detail: { manifest: this.job.hash, chunk: chunk.hash },
      });
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
  }

  /** Waits for the chunks under way, and notes up to where there is no gap. */
  async #settleChunks(started: number): Promise<void> {
    await Promise.allSettled(this.#underWay.values());
    await Promise.allSettled(this.#storing);
    // A chunk that arrived and could not be stored counts as pulled: then nothing new is certain.
    if (this.#storing.size > 0) return;
    let firstGap = started;
    for (const index of this.#underWay.keys()) firstGap = Math.min(firstGap, index);
    this.chunksDone = Math.max(this.chunksDone, firstGap);
  }
}
