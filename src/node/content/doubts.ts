import type { BlobHash } from '../../../crdt/ids.ts';
import type { Log } from '../../ports/log.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { KvBatcher } from './kv-batcher.ts';
import type { Links } from './links.ts';
import type { Pins } from './pins.ts';
import { soleManifestsOf } from './small-content.ts';
import { isWhole, type WholeCheckDependencies } from './whole-check.ts';

/** Contents reopened in one transaction, and links looked at in one stretch. */
const pageMax = 256;
const pauseMs = 1;
/** Contents that wait to be looked at; who doubts one more will doubt it again. */
const doubtedMax = 1_024;
/** How long what was looked at is not looked at again, and how many of those are remembered. */
const lookedAtMs = 60_000;
const lookedAtMax = 4_096;
/** Damaged blobs of uploads under way that are remembered; the scrub finds what is more. */
const pinnedMax = 1_024;

export interface DoubtsDependencies extends WholeCheckDependencies {
  readonly batcher: KvBatcher;
  readonly links: Links;
  readonly pins: Pins;
  /** There may be jobs to be done. */
  readonly onReopened: () => void;
  readonly log: Log;
}

/** Takes back that a content is whole here when it is not: it is wanted again, and nobody counts on this node for it. */
export class Doubts {
  readonly #dependencies: DoubtsDependencies;
  readonly #doubted = new Set<BlobHash>();
  /** When contents were last looked at, by the monotonic clock: the oldest first. */
  readonly #lookedAt = new Map<BlobHash, number>();
  /** Blobs that were put aside while an upload counted on them, with their sizes. */
  readonly #pinned = new Map<BlobHash, number>();
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(dependencies: DoubtsDependencies) {
    this.#dependencies = dependencies;
  }

  /** Resolves when what is under way has come to rest. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** Somebody found that a content lacks something: if it is called whole all the same, it is looked at soon. */
  doubt(manifest: BlobHash): void {
    const { clock } = this.#dependencies;
    const lookedMs = this.#lookedAt.get(manifest);
    if (lookedMs !== undefined && clock.monotonicMs() - lookedMs < lookedAtMs) return;
    if (this.#stopped || this.#doubted.size >= doubtedMax) return;
    this.#doubted.add(manifest);
    this.#running ??= this.#run();
  }

  /**
   * A blob was damaged and put aside: every content that needs it is whole no more, and those on their way here look at
   * it anew. `mender` is one on its way that sees to the blob itself. Never rejects.
   */
  async blobLost(hash: BlobHash, sizeBytes: number, mender?: BlobHash): Promise<void> {
    const { pins, log } = this.#dependencies;
    // What an upload brings is linked when its version is written: then it is looked at again.
    if (pins.has(hash) && this.#pinned.size < pinnedMax) this.#pinned.set(hash, sizeBytes);
    try {
      await this.#reopenAll(hash, sizeBytes, mender);
    } catch (error) {
      log.error('content:repair_not_noted', { hash, error });
    }
  }

  /** Uploads may have come to their end. */
  pinsReleased(): void {
    for (const [hash, sizeBytes] of this.#pinned) {
      if (this.#dependencies.pins.has(hash)) continue;
      this.#pinned.delete(hash);
      void this.#lookAgain(hash, sizeBytes);
    }
  }

  /** The upload may have stored it afresh since. */
  async #lookAgain(hash: BlobHash, sizeBytes: number): Promise<void> {
    try {
      if (await this.#dependencies.store.verify(hash, sizeBytes)) return;
    } catch (error) {
      this.#dependencies.log.warn('content:not_looked_at', { hash, error });
    }
    await this.blobLost(hash, sizeBytes);
  }

  async #reopenAll(hash: BlobHash, sizeBytes: number, mender: BlobHash | undefined): Promise<void> {
    const { batcher, jobs, links, onReopened } = this.#dependencies;
    try {
      for await (const contents of this.#contentsWith(hash, sizeBytes)) {
        await batcher.add((transaction) => {
          for (const manifest of contents) {
            const isMending = manifest === mender && jobs.completeSize(transaction, manifest) === undefined;
            if (!isMending) jobs.reopen(transaction, manifest, 'damaged');
          }
        });
      }
      if (mender === undefined) {
        await batcher.add((transaction) => {
          if (links.isReached(transaction, hash, sizeBytes)) jobs.wantBlob(transaction, hash, sizeBytes);
        });
      }
    } finally {
      // What was noted is gone about, whatever became of the rest.
      onReopened();
    }
  }

  /**
   * The contents that are whole here, or wanted, and need a blob. Whoever comes to count on the blob after it was put
   * aside sees that it is absent, so it does no harm that they may be missed.
   */
  async *#contentsWith(hash: BlobHash, sizeBytes: number): AsyncGenerator<BlobHash[]> {
    const { kv, links, clock } = this.#dependencies;
    const above = [hash, ...soleManifestsOf(hash, sizeBytes)];
    const seen = new Set<BlobHash>(above);
    let found: BlobHash[] = [];
    for (let next = above.pop(); next !== undefined; next = above.pop()) {
      if (links.isRoot(kv, next)) found.push(next);
      for (let after: BlobHash | undefined; ; await clock.sleep(pauseMs)) {
        const parents = links.parentsOf(kv, next, after, pageMax);
        for (const parent of parents) if (!seen.has(parent)) above.push(parent);
        for (const parent of parents) seen.add(parent);
        after = parents.at(-1);
        if (parents.length < pageMax) break;
      }
      if (found.length < pageMax) continue;
      yield found;
      found = [];
    }
    if (found.length > 0) yield found;
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#dependencies;
    for (const manifest of this.#doubted) {
      if (this.#stopped) break;
      try {
        await this.#look(manifest);
      } catch (error) {
        if (error instanceof MeshError && error.code === 'shutting_down') break;
        log.warn('content:not_looked_at', { manifest, error });
      }
      this.#doubted.delete(manifest);
      this.#noteLookedAt(manifest);
      await clock.sleep(pauseMs);
    }
    this.#running = undefined;
  }

  async #look(manifest: BlobHash): Promise<void> {
    const { batcher, jobs, log, onReopened } = this.#dependencies;
    if (await isWhole(this.#dependencies, manifest)) return;
    log.warn('content:incomplete', { manifest });
    await batcher.add((transaction) => jobs.reopen(transaction, manifest, 'incomplete'));
    onReopened();
  }

  #noteLookedAt(manifest: BlobHash): void {
    this.#lookedAt.delete(manifest);
    this.#lookedAt.set(manifest, this.#dependencies.clock.monotonicMs());
    for (const oldest of this.#lookedAt.keys()) {
      if (this.#lookedAt.size <= lookedAtMax) break;
      this.#lookedAt.delete(oldest);
    }
  }
}
