import type { BlobHash, NodeId, PeerId } from '../../../crdt/ids.ts';
import type { BlobFetcher } from '../../../protocols/blobs/fetcher.ts';
import { HolderGroup } from '../../../protocols/blobs/holder-group.ts';
import type { Clock } from '../../ports/clock.ts';
import type { KvReader } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Counter, Gauge, Metrics } from '../../ports/metrics.ts';
import type { Random } from '../../ports/random.ts';
import { ByteBudget } from './byte-budget.ts';
import { activeWeightMax, ContentPull, jobWeight, type PullOutcome } from './content-pull.ts';
import type { ContentStore } from './content-store.ts';
import type { DeathReason } from './dead-letters.ts';
import type { KvBatcher } from './kv-batcher.ts';
import type { Links } from './links.ts';
import { deathOf, type FailureRun, isToBeNoted, withFailedAttempt } from './pull-failures.ts';
import type { ContentSubject, JobFailures, PullJob, PullJobs } from './pull-jobs.ts';
import { type Attempt, PullQueue } from './pull-queue.ts';

/** Bytes asked for and not here yet, over all jobs: enough to keep several holders' pipes full. */
const wantedBytesMax = 16 * 1024 * 1024;
const unavailableDelayMsMin = 250;
const unavailableDelayMsMax = 30_000;
const faultDelayMsMin = 1_000;
const faultDelayMsMax = 60_000;
const pauseMsMin = 1_000;
const pauseMsMax = 60_000;
/** How long `stop` waits for what is under way to come to rest. */
const stopMs = 2_000;

const noFailures: JobFailures = { attempts: 0, ms: 0 };

/** A failed attempt, as far as what becomes of its job goes. */
interface Failure {
  /** Failures since something was stored last, this one included. */
  readonly failures: number;
  /** How long the job is left alone. */
  readonly delayMs: number;
  readonly message: string;
  readonly code?: string | undefined;
  /** True when this node could not use or keep what it got. */
  readonly isFault: boolean;
}

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

/** Who says, or was said, to have a content. */
export type NamedHoldersOf = (manifest: BlobHash) => readonly PeerId[];

export interface PullerDependencies {
  readonly jobs: PullJobs;
  readonly store: ContentStore;
  readonly batcher: KvBatcher;
  readonly fetcher: BlobFetcher;
  readonly links: Links;
  readonly kv: KvReader;
  /** The peers connected now: without any, nothing that cannot be had counts against a job. */
  readonly connectedPeers: () => readonly PeerId[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface PullerOptions {
  readonly holdersOf: HoldersOf;
  readonly namedHoldersOf?: NamedHoldersOf | undefined;
  readonly peerOf: (node: NodeId) => PeerId | undefined;
  /** Called for each version whose content has become whole and durable here. */
  readonly onStored: (subject: ContentSubject) => void;
  /** Called for each version that waits for a content whose job was given up. */
  readonly onDead: (subject: ContentSubject, reason: DeathReason) => void;
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
  readonly #dead: Gauge;
  readonly #buried: Counter;
  #activeWeight = 0;
  #pumpPlanned = false;
  #cancelTimer: (() => void) | undefined;
  #pauses = 0;
  #pausedUntilMs: number | undefined;
  /** When the last attempt ended. */
  #endedMs: number | undefined;
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
    this.#dead = metrics.gauge({
      name: 'anabranch_content_dead_jobs',
      help: 'Jobs that were given up and wait to be retried.',
    });
    this.#buried = metrics.counter({
      name: 'anabranch_content_given_up_total',
      help: 'Jobs that were given up, by the reason.',
      labels: ['reason'],
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

  /** Monotonic point until which contents were being fetched, now while some are; undefined when none ever was. */
  fetchedUntilMs(): number | undefined {
    return this.#active.size > 0 ? this.#dependencies.clock.monotonicMs() : this.#endedMs;
  }

  /** True while an attempt at a content is under way; one for which there is no job any more is told to end. */
  halt(manifest: BlobHash): boolean {
    const active = this.#active.get(manifest);
    if (active !== undefined && this.#dependencies.jobs.find(manifest) === undefined) active.pull.stop();
    return active !== undefined;
  }

  /**
   * The holders to ask for a content, now and while it is fetched. `reading` is the version it is read for, when that
   * is known: it stands in where no version waits for the content.
   */
  holders(content: WantedContent | undefined, reading?: ContentSubject): HolderGroup {
    const waiting = content === undefined ? undefined : this.#dependencies.jobs.subjectOf(content.manifest);
    const subject = waiting ?? reading;
    const { holdersOf, namedHoldersOf, peerOf } = this.#options;
    const named = content === undefined ? [] : (namedHoldersOf?.(content.manifest) ?? []);
    const writer = subject?.origin === undefined ? undefined : peerOf(subject.origin);
    return new HolderGroup(() => holdersOf(content, subject), { named, writer });
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
    this.#dead.set(this.#dependencies.jobs.deadCount());
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
    if (this.#active.has(job.hash)) {
      // An attempt at an earlier job for the same is still coming to its end.
      const notBeforeMs = this.#dependencies.clock.monotonicMs() + unavailableDelayMsMin;
      this.#queue.delay(job, { failures: 0, chunksDone: 0, run: undefined, ...attempt, weight, notBeforeMs });
      return;
    }
    const content = job.kind === 'content' ? { manifest: job.hash, size: job.sizeBytes } : undefined;
    const { store, fetcher, clock, batcher, links, kv, jobs, log } = this.#dependencies;
    if (job.kind === 'blob' && !links.isReached(kv, job.hash, job.sizeBytes)) {
      // What it was part of has been dropped since.
      this.#queue.finish(job);
      batcher
        .add((transaction) => void jobs.end(transaction, job.hash))
        .then(() => this.kick())
        .catch((error: unknown) => log.error('content:job_not_dropped', { hash: job.hash, error }));
      return;
    }
    const dependencies = { store, fetcher, clock, batcher, links, wants: this.#wants };
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
      settle = outcome === 'stored' ? await this.#complete(pull) : await this.#retry(pull, before, outcome);
    } catch (error) {
      settle = await this.#onFault(pull, before, error instanceof Error ? error : new Error(String(error)));
    }
    this.#active.delete(pull.job.hash);
    this.#endedMs = this.#dependencies.clock.monotonicMs();
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
      if (subjects === undefined) return this.#delay(pull, 0, 0, undefined);
      this.#queue.finish(pull.job);
      this.#stored.add(1);
      for (const subject of subjects) this.#options.onStored(subject);
    };
  }

  async #retry(
    pull: ContentPull,
    before: Attempt | undefined,
    outcome: Exclude<PullOutcome, 'stored'>,
  ): Promise<() => void> {
    if (outcome === 'heavier') return () => this.#delay(pull, 0, 0, before?.run);
    if (pull.lastProgressMs !== undefined) {
      if (pull.job.failing !== undefined) await this.#note(pull.job, noFailures);
      return () => this.#delay(pull, 0, this.#backoffMs(unavailableDelayMsMin, unavailableDelayMsMax, 0), undefined);
    }
    const failures = (before?.failures ?? 0) + 1;
    const delayMs = this.#backoffMs(unavailableDelayMsMin, unavailableDelayMsMax, failures);
    return this.#failed(pull, before, {
      failures,
      delayMs,
      message: 'no holder that was asked has it',
      isFault: false,
    });
  }

  async #onFault(pull: ContentPull, before: Attempt | undefined, error: Error): Promise<() => void> {
    const code = error instanceof MeshError ? error.code : undefined;
    if (code === 'disk_full') {
      return () => {
        if (pull.lastProgressMs !== undefined) this.#pauses = 0;
        this.#pause(error);
        this.#delay(pull, 0, 0, before?.run);
      };
    }
    this.#dependencies.log.error(code === 'corrupt' ? 'content:manifest_unusable' : 'content:pull_failed', {
      hash: pull.job.hash,
      error,
    });
    const failures = (before?.failures ?? 0) + 1;
    const delayMs = this.#backoffMs(faultDelayMsMin, faultDelayMsMax, failures);
    return this.#failed(pull, before, { failures, delayMs, message: error.message, code, isFault: true });
  }

  /** An attempt failed: the job is tried again later, or given up. What follows is for the caller to run. */
  async #failed(pull: ContentPull, before: Attempt | undefined, failure: Failure): Promise<() => void> {
    const nowMs = this.#dependencies.clock.monotonicMs();
    const isAlone = !failure.isFault && this.#dependencies.connectedPeers().length === 0;
    let run = withFailedAttempt(before?.run, pull.job.failing, nowMs, isAlone);
    const reason = deathOf(run, failure.code, failure.isFault);
    if (reason !== undefined) {
      const subjects = await this.#bury(pull.job, run, reason, failure.message);
      // It could not be written down: it is tried again, and given up then.
      if (subjects === undefined) return () => this.#delay(pull, failure.failures, faultDelayMsMax, run);
      return () => {
        this.#queue.finish(pull.job);
        this.#buried.add(1, { reason });
        for (const subject of subjects) this.#options.onDead(subject, reason);
      };
    }
    if (isToBeNoted(run)) {
      await this.#note(pull.job, run);
      run = { ...run, notedMs: run.ms };
    }
    return () => this.#delay(pull, failure.failures, failure.delayMs, run);
  }

  async #bury(
    job: PullJob,
    run: FailureRun,
    reason: DeathReason,
    message: string,
  ): Promise<readonly ContentSubject[] | undefined> {
    const { jobs, batcher, clock, log } = this.#dependencies;
    const { attempts } = run;
    let subjects: readonly ContentSubject[] = [];
    try {
      await batcher.add((transaction) => {
        subjects = jobs.bury(transaction, job, { reason, attempts, message, time: clock.nowMs() });
      });
    } catch (error) {
      log.error('content:job_not_given_up', { hash: job.hash, error });
      return undefined;
    }
    log.warn('content:given_up', { hash: job.hash, reason, attempts });
    return subjects;
  }

  async #note(job: PullJob, { attempts, ms }: JobFailures): Promise<void> {
    const { jobs, batcher, log } = this.#dependencies;
    try {
      await batcher.add((transaction) => jobs.noteFailing(transaction, job, { attempts, ms }));
    } catch (error) {
      log.error('content:failures_not_noted', { hash: job.hash, error });
    }
  }

  #delay(pull: ContentPull, failures: number, delayMs: number, run: FailureRun | undefined): void {
    const notBeforeMs = this.#dependencies.clock.monotonicMs() + delayMs;
    this.#queue.delay(pull.job, { failures, notBeforeMs, chunksDone: pull.chunksDone, weight: pull.weight, run });
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
