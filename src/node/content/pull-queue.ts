import type { FailureRun } from './pull-failures.ts';
import type { PullJob, PullJobs } from './pull-jobs.ts';

/** Jobs read from the key-value store at once. */
const loadedMax = 1_024;
/** Jobs remembered with what became of their earlier attempts; beyond, the oldest are forgotten and found again. */
const attemptsMax = 20_000;
/** How long forgotten jobs wait until the store is gone through again for them. */
const rescanMs = 5_000;

/** What is remembered of a job between two attempts. */
export interface Attempt {
  /** Failures since something of the job was last stored: they decide how long it is left alone. */
  readonly failures: number;
  readonly run: FailureRun | undefined;
  /** Not tried again before this point of the monotonic clock. */
  readonly notBeforeMs: number;
  /** Chunks from the start of the content that are known to be stored. */
  readonly chunksDone: number;
  /** What the job was found to weigh. */
  readonly weight: number;
}

interface DelayedJob extends Attempt {
  readonly job: PullJob;
}

/**
 * The order in which persisted jobs are tried: what a reader waits for, then what is due again, then the rest
 * in the order it came. Memory is bounded however many jobs there are.
 */
export class PullQueue {
  readonly #jobs: Pick<PullJobs, 'list'>;
  readonly #active = new Set<number>();
  readonly #attempts = new Map<number, DelayedJob>();
  #ready: PullJob[] = [];
  readonly #isReady = new Set<number>();
  #seenSequence = 0;
  #nextDueMs = Number.POSITIVE_INFINITY;
  #rescanAtMs = Number.POSITIVE_INFINITY;

  constructor(jobs: Pick<PullJobs, 'list'>) {
    this.#jobs = jobs;
  }

  /** The job to try next, which stays where it is. */
  peek(nowMs: number): PullJob | undefined {
    if (nowMs >= this.#nextDueMs) this.#readyDueJobs(nowMs);
    if (this.#ready.length === 0) this.#load(nowMs);
    return this.#ready[0];
  }

  /** What became of the last attempt at a job, if that is remembered. */
  attemptOf(job: PullJob): Attempt | undefined {
    return this.#attempts.get(job.sequence);
  }

  /** Takes the job that `peek` showed; it is under way until `finish` or `delay`. */
  take(job: PullJob): void {
    this.#ready.shift();
    this.#isReady.delete(job.sequence);
    this.#active.add(job.sequence);
  }

  /** The job is done, or was found to exist no more. */
  finish(job: PullJob): void {
    this.#active.delete(job.sequence);
    this.#attempts.delete(job.sequence);
  }

  /** The job is to be tried again at `attempt.notBeforeMs`. */
  delay(job: PullJob, attempt: Attempt): void {
    this.#active.delete(job.sequence);
    this.#attempts.delete(job.sequence);
    this.#attempts.set(job.sequence, { ...attempt, job });
    this.#nextDueMs = Math.min(this.#nextDueMs, attempt.notBeforeMs);
    if (this.#attempts.size > attemptsMax) this.#forgetOldest(attempt.notBeforeMs);
  }

  /** Puts a job before all others, whatever its delay. */
  prioritise(job: PullJob): void {
    if (this.#active.has(job.sequence)) return;
    if (this.#isReady.has(job.sequence)) this.#ready = this.#ready.filter(({ sequence }) => sequence !== job.sequence);
    this.#ready.unshift(job);
    this.#isReady.add(job.sequence);
  }

  /** Ends every delay, as when a peer has come that may hold what was missing. */
  endDelays(): void {
    this.#readyDueJobs(Number.POSITIVE_INFINITY);
  }

  /** The point of the monotonic clock at which a delayed job is due; infinite when there is none. */
  nextDueMs(): number {
    return Math.min(this.#nextDueMs, this.#rescanAtMs);
  }

  #readyDueJobs(nowMs: number): void {
    this.#nextDueMs = Number.POSITIVE_INFINITY;
    for (const { job, notBeforeMs } of this.#attempts.values()) {
      if (this.#active.has(job.sequence) || this.#isReady.has(job.sequence)) continue;
      if (notBeforeMs > nowMs) this.#nextDueMs = Math.min(this.#nextDueMs, notBeforeMs);
      else this.#pushReady(job);
    }
  }

  #pushReady(job: PullJob): void {
    this.#ready.push(job);
    this.#isReady.add(job.sequence);
  }

  #load(nowMs: number): void {
    if (nowMs >= this.#rescanAtMs) {
      this.#rescanAtMs = Number.POSITIVE_INFINITY;
      this.#seenSequence = 0;
    }
    const loaded = this.#jobs.list(this.#seenSequence + 1, loadedMax);
    for (const { sequence, job } of loaded) {
      this.#seenSequence = sequence;
      // A rescan meets jobs that are under way, delayed or ready as well.
      const isKnown = this.#active.has(sequence) || this.#attempts.has(sequence) || this.#isReady.has(sequence);
      if (job !== undefined && !isKnown) this.#pushReady(job);
    }
    if (this.#ready.length === 0 && loaded.length === loadedMax) this.#load(nowMs);
  }

  #forgetOldest(nowMs: number): void {
    for (const sequence of this.#attempts.keys()) {
      if (this.#active.has(sequence)) continue;
      this.#attempts.delete(sequence);
      this.#rescanAtMs = Math.min(this.#rescanAtMs, nowMs + rescanMs);
      return;
    }
  }
}
