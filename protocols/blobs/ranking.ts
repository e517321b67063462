import type { PeerId } from '../../crdt/ids.ts';

/** What is known of a holder from its answers so far. All functions here are pure. */
export interface HolderScore {
  /** Smoothed milliseconds from a want on a quiet stream to the first byte of its answer. */
  readonly latencyMs: number;
  /** Bytes received, and the milliseconds spent waiting for them; both fade as more arrives. */
  readonly recentBytes: number;
  readonly recentMs: number;
  /** Failures in a row that may be nobody's fault: they decide how long it is left alone. */
  readonly failures: number;
  /** Smoothed share of what was asked that failed, 0 to less than 1: it decides how the holder is ranked. */
  readonly failureShare: number;
  /** Proved violations, such as bytes that do not match their hash. Never forgotten while the process runs. */
  readonly faults: number;
  /** Not asked before this point of the monotonic clock. */
  readonly notBeforeMs: number;
  /** Until this point of it, for a violation; what is later than that is for failures that may be nobody's fault. */
  readonly distrustedUntilMs: number;
}

/** A failure is `transient` (unreachable, reset, silent) or a `fault` that only a broken or hostile peer commits. */
export type HolderFailure = 'transient' | 'fault';

/** A holder that could be asked, and what it still owes us. */
export interface HolderCandidate {
  readonly peer: PeerId;
  readonly score: HolderScore;
  /** Bytes asked of it and not answered yet. */
  readonly outstandingBytes: number;
  /** True when it said a moment ago that it lacks other blobs of the same content. */
  readonly lacksContent: boolean;
  readonly doubt: Doubt;
}

/**
 * Whether a peer has a content: `none`, since it gave some of it, wrote it or is said to have it; `even` where nobody is said
 * to; `strong` where others are.
 */
export type Doubt = 'none' | 'even' | 'strong';

/** Weight of the newest latency sample. */
const latencyWeight = 0.25;
/** Weights of a failure, which ends a whole session, and of a success, which is one blob of many. */
const failureWeight = 0.5;
const successWeight = 0.1;
/** Below this share a holder counts as one that never fails. */
const failureShareMin = 0.001;
/** However often it fails, no more than so many attempts are expected to be needed. */
const expectedAttemptsMax = 64;
/** After this many more bytes, an old throughput sample counts half. */
const throughputHalfLifeBytes = 8 * 1024 * 1024;
const failureDelayMsMin = 500;
const failureDelayMsMax = 60_000;
const faultDelayMsMin = 60_000;
const faultDelayMsMax = 3_600_000;
/** What a holder may owe us: half a second of its throughput, between these bounds. */
const windowMs = 500;
const windowBytesMin = 512 * 1024;
const windowBytesMax = 4 * 1024 * 1024;

/**
 * How much longer a peer is expected to take that may not have the content at all: being told so costs its latency, and
 * then another is asked. With even odds it is worth asking when it would be three times as fast; in strong doubt, when those
 * that are said to have it are very slow, as they are to many that receive a large content at once and could have it of each other.
 */
const doubtFactors: Readonly<Record<Doubt, number>> = { none: 1, even: 3, strong: 10 };

/**
 * A holder not met before. The figures are those of a fast neighbour (1 ms, 1 MiB/ms), so that a newcomer
 * is tried early and then judged by what it does.
 */
export const unknownHolder: HolderScore = {
  latencyMs: 1,
  recentBytes: 1024 * 1024,
  recentMs: 1,
  failures: 0,
  failureShare: 0,
  faults: 0,
  notBeforeMs: 0,
  distrustedUntilMs: 0,
};

/** Takes in one latency sample. */
export function withLatency(score: HolderScore, latencyMs: number): HolderScore {
  return { ...score, latencyMs: score.latencyMs + (latencyMs - score.latencyMs) * latencyWeight };
}

/** Takes in `bytes` that arrived after `waitedMs` of waiting on a busy stream. */
export function withThroughput(score: HolderScore, bytes: number, waitedMs: number): HolderScore {
  const kept = 0.5 ** (bytes / throughputHalfLifeBytes);
  return { ...score, recentBytes: score.recentBytes * kept + bytes, recentMs: score.recentMs * kept + waitedMs };
}

/** Takes in a verified answer: the holder works again, and what it failed before fades. */
export function withSuccess(score: HolderScore): HolderScore {
  if (score.failures === 0 && score.failureShare === 0) return score;
  const share = score.failureShare * (1 - successWeight);
  return { ...score, failures: 0, failureShare: share < failureShareMin ? 0 : share };
}

/** Takes in a failure: each doubles the time the holder is left alone. `jitter` is a number in [0, 1). */
export function withFailure(score: HolderScore, failure: HolderFailure, nowMs: number, jitter: number): HolderScore {
  const failures = score.failures + 1;
  const failureShare = score.failureShare + (1 - score.failureShare) * failureWeight;
  const faults = score.faults + (failure === 'fault' ? 1 : 0);
  const delayMs =
    failure === 'fault'
      ? Math.min(faultDelayMsMin * 2 ** (faults - 1), faultDelayMsMax)
      : Math.min(failureDelayMsMin * 2 ** (failures - 1), failureDelayMsMax);
  const notBeforeMs = Math.max(score.notBeforeMs, nowMs + delayMs * (0.5 + jitter / 2));
  const distrustedUntilMs = failure === 'fault' ? notBeforeMs : score.distrustedUntilMs;
  return { ...score, failures, failureShare, faults, notBeforeMs, distrustedUntilMs };
}

/** Forgets transient failures, as when the peer has connected afresh. What was proved against it stays. */
export function withFreshConnection(score: HolderScore): HolderScore {
  return score.faults > 0 ? score : { ...score, failures: 0, failureShare: 0, notBeforeMs: 0 };
}

/** Bytes a millisecond, as lately measured. */
function bytesPerMs(score: HolderScore): number {
  return score.recentBytes / Math.max(score.recentMs, 0.001);
}

/** How many bytes a holder may owe us at once: enough to keep its pipe full, little enough that a slow one delays little. */
export function holderWindowBytes(score: HolderScore): number {
  return Math.min(Math.max(bytesPerMs(score) * windowMs, windowBytesMin), windowBytesMax);
}

/** Milliseconds until a blob of `sizeBytes` asked of this holder now would be here. */
export function expectedMs(candidate: HolderCandidate, sizeBytes: number): number {
  const { score, outstandingBytes, doubt } = candidate;
  const attempts = Math.min(1 / (1 - score.failureShare), expectedAttemptsMax);
  return (score.latencyMs + (outstandingBytes + sizeBytes) / bytesPerMs(score)) * attempts * doubtFactors[doubt];
}

/**
 * The best holder to ask for a blob of `sizeBytes`, or undefined when all are to be left alone at `nowMs`.
 * Least expected time wins, which spreads blobs over several holders in proportion to their speed; those
 * that lack other blobs of the content come last; the given order decides ties.
 */
export function bestHolder(
  candidates: readonly HolderCandidate[],
  sizeBytes: number,
  nowMs: number,
): HolderCandidate | undefined {
  let best: HolderCandidate | undefined;
  let bestMs = 0;
  for (const candidate of candidates) {
    if (candidate.score.notBeforeMs > nowMs) continue;
    const ms = expectedMs(candidate, sizeBytes);
    if (best === undefined || isBetter(candidate, ms, best, bestMs)) {
      best = candidate;
      bestMs = ms;
    }
  }
  return best;
}

function isBetter(candidate: HolderCandidate, ms: number, best: HolderCandidate, bestMs: number): boolean {
  return candidate.lacksContent === best.lacksContent ? ms < bestMs : best.lacksContent;
}
