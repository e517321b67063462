import type { BlobHash, NodeId, PeerId } from '../../../crdt/ids.ts';
import type { BlobFetcher } from '../../../protocols/blobs/fetcher.ts';
import { HolderGroup } from '../../../protocols/blobs/holder-group.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Counter, Gauge, Metrics } from '../../ports/metrics.ts';
import type { Random } from '../../ports/random.ts';
import { ByteBudget } from './byte-budget.ts';
import { activeWeightMax, ContentPull, jobWeight, type PullOutcome } from './content-pull.ts';
import type { ContentStore } from './content-store.ts';
import type { KvBatcher } from './kv-batcher.ts';
import type { ContentSubject, PullJob, PullJobs } from './pull-jobs.ts';
import { type Attempt, PullQueue } from './pull-queue.ts';

/** Bytes asked for and not here yet, over all jobs: enough to keep several holders' pipes full. */
const wantedBytesMax = 16 * 1024 * 1024;
const unavailableDelayMsMin = 250;
const unavailableDelayMsMax = 30_000;
const faultDelayMsMin = 1_000;
const faultDelayMsMax = 60_000;
/** Content whose manifest is made up is looked at again only because a later version might read it. */
const unusableDelayMs = 600_000;
const pauseMsMin = 1_000;
const pauseMsMax = 60_000;
/** How long `stop` waits for what is under way to come to rest. */
const stopMs = 2_000;

/** The content of a job, as far as choosing holders needs it. */
export interface WantedContent {
  readonly manifest: BlobHash;
  readonly size: number;
}

/**
 * The peers that may hold a content now, most likely first. `content` is undefined for a single blob that
 * belongs to no known content, `subject` when no version is known to wait for it.
 */
export type HoldersOf = (content: WantedContent | undefined, subject: ContentSubject | undefined) => readonly PeerId[];

export interface PullerDependencies {
  readonly jobs: PullJobs;
  readonly store: ContentStore;
  readonly batcher: KvBatcher;
  readonly fetcher: BlobFetcher;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface PullerOptions {
  readonly holdersOf: HoldersOf;
  readonly peerOf: (node: NodeId) => PeerId | undefined;
  /** Called for each version whose content has become whole and durable here. */
  readonly onStored: (subject: ContentSubject) => void;
}

/** Works through the persisted pull jobs: many at a time, each again and again until its content is whole. */
export class Puller {
  readonly #dependencies: PullerDependencies;
  readonly #options: PullerOptions;
  readonly #queue: PullQueue;
  readonly #wants = new ByteBudget(wantedBytesMax);
  readonly #active = new Map<BlobHash, { readonly pull: ContentPull; readonly done: Promise<void> }>();
  readonly #pending: Gauge;
  readonly #paused: Gauge;
  readonly #stored: Counter;
  #activeWeight = 0;
  #pumpPlanned = false;
  #cancelTimer: (() => void) | undefined;
  #pauses = 0;
  #pausedUntilMs: number | undefined;
  #running = false;

  constructor(dependencies: PullerDependencies, options: PullerOptions) {
    this.#dependencies = dependencies;
    this.#options = options;
    this.#queue = new PullQueue(dependencies.jobs);
    const { metrics } = dependencies;
    this.#pending = metrics.gauge({
      name: 'anabranch_content_pending_jobs',
      help: 'Contents this node wants and does not hold whole yet.',
    });
    this.#paused = metrics.gauge({
      name: 'anabranch_content_paused',
      help: '1 while pulling rests because the disk is full.',
    });
    this.#stored = metrics.counter({
      name: 'anabranch_content_stored_total',
      help: 'Contents that were pulled from peers and are whole and durable here.',
    });
  }

  /** True while pulling rests because the disk is full. */
  get paused(): boolean {
    return this.#pausedUntilMs !== undefined;
  }

  start(): void {
    this.#running = true;
    this.#pending.set(this.#dependencies.jobs.pending());
    this.#paused.set(0);
    this.kick();
  }

  /** Looks for jobs now. */
  kick(): void {
    if (this.#pumpPlanned || !this.#running) return;
    this.#pumpPlanned = true;
    queueMicrotask(() => {
      this.#pumpPlanned = false;
      if (this.#running) this.#pumpSafely();
    });
  }

  /** A peer has come: what nobody had may be there. */
  endDelays(): void {
    this.#queue.endDelays();
    this.kick();
  }

  /** Somebody waits for this content: its job goes first. */
  prioritise(manifest: BlobHash): void {
    const job = this.#dependencies.jobs.find(manifest);
    if (job === undefined) return;
    this.#queue.prioritise(job);
    this.kick();
  }

  /** Monotonic point at which a blob of this content was last stored by its job, if that is under way. */
  lastProgressMs(manifest: BlobHash): number | undefined {
    return this.#active.get(manifest)?.pull.lastProgressMs;
  }

  /** The holders to ask for a content, now and while it is fetched. */
  holders(content: WantedContent | undefined): HolderGroup {
    const subject = content === undefined ? undefined : this.#dependencies.jobs.subjectOf(content.manifest);
    const writer = subject?.origin === undefined ? undefined : this.#options.peerOf(subject.origin);
    return new HolderGroup(() => this.#options.holdersOf(content, subject), writer === undefined ? [] : [writer]);
  }

  /** Starts no more, and waits a bounded while for what is under way. The fetcher is closed first. */
  async stop(): Promise<void> {
    this.#running = false;
    this.#cancelTimer?.();
    for (const { pull } of this.#active.values()) pull.stop();
    const abort = new AbortController();
    const resting = Promise.all(Array.from(this.#active.values(), ({ done }) => done));
    await Promise.race([resting, this.#dependencies.clock.sleep(stopMs, abort.signal).catch(() => undefined)]);
    abort.abort();
  }

  /** A store that cannot be read is reported and tried again; one that is closed ends the work. */
  #pumpSafely(): void {
    try {
      this.#pump();
    } catch (error) {
      this.#dependencies.log.error('content:jobs_unreadable', { error });
      if (error instanceof MeshError && error.code === 'shutting_down') this.#running = false;
      else this.#armTimer(this.#dependencies.clock.monotonicMs() + faultDelayMsMax);
    }
  }

  #pump(): void {
    const nowMs = this.#dependencies.clock.monotonicMs();
    this.#pending.set(this.#dependencies.jobs.pending());
    if (this.#pausedUntilMs !== undefined && nowMs < this.#pausedUntilMs) {
      this.#armTimer(this.#pausedUntilMs);
      return;
    }
    this.#endPause();
    for (let job = this.#queue.peek(nowMs); job !== undefined; job = this.#queue.peek(nowMs)) {
      const attempt = this.#queue.attemptOf(job);
      const weight = attempt?.weight ?? jobWeight(job.sizeBytes);
      if (this.#active.size > 0 && this.#activeWeight + weight > activeWeightMax) break;
      this.#queue.take(job);
      this.#begin(job, attempt, weight);
    }
    this.#armTimer(this.#queue.nextDueMs());
  }

  #begin(planned: PullJob, attempt: Attempt | undefined, weight: number): void {
    const job = this.#dependencies.jobs.find(planned.hash);
    if (job === undefined || job.sequence !== planned.sequence) {
      this.#queue.finish(planned);
      return;
    }
    const content = job.kind === 'content' ? { manifest: job.hash, size: job.sizeBytes } : undefined;
    const { store, fetcher, clock } = this.#dependencies;
    const dependencies = { store, fetcher, clock, wants: this.#wants };
    const pull = new ContentPull(dependencies, job, this.holders(content), {
      chunksDone: attempt?.chunksDone ?? 0,
      weight,
    });
    this.#activeWeight += weight;
    this.#active.set(job.hash, { pull, done: this.#attempt(pull, attempt, weight) });
  }

  async #attempt(pull: ContentPull, before: Attempt | undefined, weight: number): Promise<void> {
    let settle: () => void;
    try {
      const outcome = await pull.run();
      settle = outcome === 'stored' ? await this.#complete(pull) : () => this.#retry(pull, before, outcome);
    } catch (error) {
      settle = () => this.#onFault(pull, before, error instanceof Error ? error : new Error(String(error)));
    }
    this.#active.delete(pull.job.hash);
    this.#activeWeight -= weight;
    settle();
    this.kick();
  }

  /** Everything is stored: flush, then marker and end of the job in one transaction; what follows is for the caller to run. */
  async #complete(pull: ContentPull): Promise<() => void> {
    const { jobs, store, batcher } = this.#dependencies;
    if (pull.hasLargeBlobs) await store.flush();
    let subjects: ContentSubject[] | undefined;
    await batcher.add((transaction) => {
      for (const { hash, bytes } of pull.rows) store.putSmall(transaction, hash, bytes);
      subjects = jobs.finish(transaction, { ...pull.job, sizeBytes: pull.sizeBytes });
    });
    return () => {
      this.#pauses = 0;
      // The job asks for more than it did when this attempt began.
      if (subjects === undefined) return this.#delay(pull, 0, 0);
      this.#queue.finish(pull.job);
      this.#stored.add(1);
      for (const subject of subjects) this.#options.onStored(subject);
    };
  }

  #retry(pull: ContentPull, before: Attempt | undefined, outcome: Exclude<PullOutcome, 'stored'>): void {
    const progressed = pull.lastProgressMs !== undefined;
    const failures = outcome === 'heavier' || progressed ? 0 : (before?.failures ?? 0) + 1;
    const delayMs = outcome === 'heavier' ? 0 : this.#backoffMs(unavailableDelayMsMin, unavailableDelayMsMax, failures);
    this.#delay(pull, failures, delayMs);
  }

  #onFault(pull: ContentPull, before: Attempt | undefined, error: Error): void {
    const code = error instanceof MeshError ? error.code : undefined;
    const failures = (before?.failures ?? 0) + 1;
    if (code === 'disk_full') {
      if (pull.lastProgressMs !== undefined) this.#pauses = 0;
      this.#pause(error);
      this.#delay(pull, 0, 0);
      return;
    }
    this.#dependencies.log.error(code === 'corrupt' ? 'content:manifest_unusable' : 'content:pull_failed', {
      hash: pull.job.hash,
      error,
    });
    this.#delay(
      pull,
      failures,
      code === 'corrupt' ? unusableDelayMs : this.#backoffMs(faultDelayMsMin, faultDelayMsMax, failures),
    );
  }

  #delay(pull: ContentPull, failures: number, delayMs: number): void {
    const notBeforeMs = this.#dependencies.clock.monotonicMs() + delayMs;
    this.#queue.delay(pull.job, { failures, notBeforeMs, chunksDone: pull.chunksDone, weight: pull.weight });
  }

  /** The disk is full: nothing is pulled for a while, which doubles each time until something could be stored. */
  #pause(error: Error): void {
    const nowMs = this.#dependencies.clock.monotonicMs();
    // Many jobs meet a full disk at once; it counts once.
    if (this.#pausedUntilMs !== undefined && nowMs < this.#pausedUntilMs) return;
    this.#pauses += 1;
    const delayMs = this.#backoffMs(pauseMsMin, pauseMsMax, this.#pauses);
    this.#pausedUntilMs = nowMs + delayMs;
    this.#paused.set(1);
    this.#dependencies.log.warn('content:pulling_paused', { delayMs, error });
  }

  #endPause(): void {
    if (this.#pausedUntilMs === undefined) return;
    this.#pausedUntilMs = undefined;
    this.#paused.set(0);
  }

  #backoffMs(minMs: number, maxMs: number, failures: number): number {
    const delayMs = Math.min(minMs * 2 ** Math.max(failures - 1, 0), maxMs);
    return delayMs * (0.5 + this.#dependencies.random.fraction() / 2);
  }

  #armTimer(atMs: number): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (!Number.isFinite(atMs) || !this.#running) return;
    const { clock } = this.#dependencies;
    this.#cancelTimer = clock.setTimer(Math.max(0, atMs - clock.monotonicMs()), () => this.kick());
  }
}
