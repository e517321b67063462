import type { BlobHash, PeerId } from '../../../crdt/ids.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { KvBatcher } from './kv-batcher.ts';
import type { Links } from './links.ts';
import type { ContentSubject, PullJobs } from './pull-jobs.ts';
import type { HoldersOf } from './puller.ts';

/** Jobs or dead letters looked at in one transaction. */
const pageMax = 256;
const pauseMs = 1;
/** Peers that come within so long are looked at together. */
const gatherMs = 5_000;

export interface UpkeepDependencies {
  readonly jobs: PullJobs;
  readonly links: Links;
  readonly batcher: KvBatcher;
  readonly clock: Clock;
  readonly log: Log;
}

export interface UpkeepOptions {
  readonly holdersOf: HoldersOf;
  readonly shouldHold: (subject: ContentSubject) => boolean;
  /** There are jobs to be done, or contents to be taken apart. */
  readonly onChanged: () => void;
}

/** Goes through the persisted jobs when the world around them has changed. */
export class Upkeep {
  readonly #dependencies: UpkeepDependencies;
  readonly #options: UpkeepOptions;
  readonly #arrived = new Set<PeerId>();
  #cancelTimer: (() => void) | undefined;
  #stopped = false;

  constructor(dependencies: UpkeepDependencies, options: UpkeepOptions) {
    this.#dependencies = dependencies;
    this.#options = options;
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelTimer?.();
  }

  /** What was given up because nobody had it, and this peer may have, is tried again. */
  peerConnected(peer: PeerId): void {
    if (this.#stopped) return;
    this.#arrived.add(peer);
    this.#cancelTimer ??= this.#dependencies.clock.setTimer(gatherMs, () => {
      this.#cancelTimer = undefined;
      const peers = new Set(this.#arrived);
      this.#arrived.clear();
      this.#reviveFor(peers).catch((error: unknown) =>
        this.#dependencies.log.error('content:dead_not_retried', { error }),
      );
    });
  }

  /** Makes dead letters jobs again, one or all of them, and resolves with their number. */
  async retryDead(hash?: BlobHash): Promise<number> {
    if (hash === undefined) return this.#revive(() => true);
    const { batcher, jobs } = this.#dependencies;
    let revived = false;
    await batcher.add((transaction) => {
      revived = jobs.revive(transaction, hash);
    });
    if (revived) this.#options.onChanged();
    return revived ? 1 : 0;
  }

  /**
   * Ends the jobs for contents that this node is to hold no more, by what `shouldHold` says now, and resolves with
   * their number. What was stored for them is removed; contents that are whole are the caller's to drop.
   */
  async reconsider(): Promise<number> {
    const { batcher, jobs, links, clock } = this.#dependencies;
    let ended = 0;
    const end = async (manifests: readonly BlobHash[]): Promise<void> => {
      let endedHere = 0;
      await batcher.add((transaction) => {
        endedHere = 0;
        for (const manifest of manifests) {
          if (!jobs.withdraw(transaction, manifest, this.#options.shouldHold)) continue;
          jobs.end(transaction, manifest);
          // An upload has brought it since: then it is held for that version, and no job is a reason to drop it.
          if (jobs.completeSize(transaction, manifest) === undefined) links.condemn(transaction, manifest);
          endedHere += 1;
        }
      });
      ended += endedHere;
      await clock.sleep(pauseMs);
    };
    try {
      for (let from = 1; !this.#stopped; ) {
        const page = jobs.list(from, pageMax);
        await end(page.flatMap(({ job }) => (job?.kind === 'content' ? [job.hash] : [])));
        if (page.length < pageMax) break;
        from = (page.at(-1)?.sequence ?? 0) + 1;
      }
      for (let after: BlobHash | undefined; !this.#stopped; ) {
        const page = jobs.dead(after, pageMax);
        await end(page.flatMap(({ kind, hash }) => (kind === 'content' ? [hash] : [])));
        if (page.length < pageMax) break;
        after = page.at(-1)?.hash;
      }
    } finally {
      if (ended > 0) this.#options.onChanged();
    }
    return ended;
  }

  #reviveFor(peers: ReadonlySet<PeerId>): Promise<number> {
    const { jobs } = this.#dependencies;
    return this.#revive(({ kind, hash, sizeBytes, reason }) => {
      if (reason === 'unusable') return false;
      const content = kind === 'content' ? { manifest: hash, size: sizeBytes } : undefined;
      const subject = content === undefined ? undefined : jobs.subjectOf(hash);
      return this.#options.holdersOf(content, subject).some((holder) => peers.has(holder));
    });
  }

  async #revive(isChosen: (letter: ReturnType<PullJobs['dead']>[number]) => boolean): Promise<number> {
    const { batcher, jobs, clock } = this.#dependencies;
    let revived = 0;
    try {
      for (let after: BlobHash | undefined; !this.#stopped; ) {
        const page = jobs.dead(after, pageMax);
        const chosen = page.filter(isChosen);
        if (chosen.length > 0) {
          await batcher.add((transaction) => {
            for (const { hash } of chosen) jobs.revive(transaction, hash);
          });
          revived += chosen.length;
        }
        if (page.length < pageMax) break;
        after = page.at(-1)?.hash;
        await clock.sleep(pauseMs);
      }
    } finally {
      if (revived > 0) this.#options.onChanged();
    }
    return revived;
  }
}
