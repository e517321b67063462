import type { DeathReason } from './dead-letters.ts';
import type { JobFailures } from './pull-jobs.ts';

/** A job is given up after so many attempts in a row that failed, over at least so long. */
const attemptsMax = 20;
const failingMsMax = 24 * 3_600_000;
/** How much longer it has to have failed until that is written down again. */
const notedEveryMs = 3_600_000;

/** A run of failed attempts at one job. */
export interface FailureRun extends JobFailures {
  /** Monotonic point of the last of them. */
  readonly atMs: number;
  /** `ms` as it was written down last. */
  readonly notedMs: number;
}

/**
 * The run after one more attempt failed at `nowMs`. `before` is the run so far as this process knows it, `noted` what an
 * earlier one wrote down. While nobody at all can be asked (`isAlone`), time and attempts do not count.
 */
export function withFailedAttempt(
  before: FailureRun | undefined,
  noted: JobFailures | undefined,
  nowMs: number,
  isAlone: boolean,
): FailureRun {
  const { attempts = 0, ms = 0 } = before ?? noted ?? {};
  const notedMs = before?.notedMs ?? ms;
  if (isAlone) return { attempts, ms, atMs: nowMs, notedMs };
  return { attempts: attempts + 1, ms: ms + (before === undefined ? 0 : nowMs - before.atMs), atMs: nowMs, notedMs };
}

/** Why a job is to be given up after this run, if it is. `code` is of the error that the last attempt failed with, if any. */
export function deathOf(run: FailureRun, code: string | undefined, isFault: boolean): DeathReason | undefined {
  if (code === 'corrupt') return 'unusable';
  if (run.attempts < attemptsMax || run.ms < failingMsMax) return undefined;
  return isFault ? 'failing' : 'unavailable';
}

/** True when the run has gone on so much longer that it is to be written down. */
export function isToBeNoted(run: FailureRun): boolean {
  return run.ms - run.notedMs >= notedEveryMs;
}
