import { describe, expect, it } from 'vitest';
import type { PeerId } from '../../../crdt/ids.ts';
import {
  bestHolder,
  expectedMs,
  type HolderCandidate,
  type HolderScore,
  holderWindowBytes,
  unknownHolder,
  withFailure,
  withFreshConnection,
  withLatency,
  withSuccess,
  withThroughput,
} from '../../../protocols/blobs/ranking.ts';

const mebibyte = 1024 * 1024;

/** A holder measured at so many bytes a millisecond. */
function measured(bytesPerMs: number, latencyMs = 1): HolderScore {
  return withThroughput({ ...unknownHolder, latencyMs }, 1_024 * mebibyte, (1_024 * mebibyte) / bytesPerMs);
}

function candidate(peer: string, score: HolderScore, rest: Partial<HolderCandidate> = {}): HolderCandidate {
  return { peer: peer as PeerId, score, outstandingBytes: 0, lacksContent: false, doubt: 'none', ...rest };
}

describe('ranking of holders', () => {
  it('prefers the faster of two idle holders', () => {
    const best = bestHolder([candidate('slow', measured(1_000)), candidate('fast', measured(100_000))], mebibyte, 0);
    expect(best?.peer).toBe('fast');
  });

  it('prefers the nearer holder for small blobs and the faster one for large blobs', () => {
    const near = candidate('near', measured(1_000, 1));
    const far = candidate('far', measured(100_000, 50));
    expect(bestHolder([near, far], 1_000, 0)?.peer).toBe('near');
    expect(bestHolder([near, far], mebibyte, 0)?.peer).toBe('far');
  });

  it('spreads blobs over holders in proportion to their speed', () => {
    const rates = new Map([
      ['a', 30_000],
      ['b', 10_000],
    ]);
    const owed = new Map([
      ['a', 0],
      ['b', 0],
    ]);
    for (let blob = 0; blob < 400; blob++) {
      const candidates = [...rates].map(([peer, rate]) =>
        candidate(peer, measured(rate), { outstandingBytes: owed.get(peer) ?? 0 }),
      );
      const best = bestHolder(candidates, mebibyte, 0)?.peer ?? '';
      owed.set(best, (owed.get(best) ?? 0) + mebibyte);
    }
    expect((owed.get('a') ?? 0) / (owed.get('b') ?? 1)).toBeCloseTo(3, 1);
  });

  it('keeps the given order among equals', () => {
    expect(bestHolder([candidate('first', unknownHolder), candidate('second', unknownHolder)], 1, 0)?.peer).toBe(
      'first',
    );
  });

  it('asks one that may not have it where it would be three times as fast, in strong doubt ten times', () => {
    const known = candidate('known', measured(1_000, 0));
    const asked = (doubt: 'even' | 'strong', rate: number) =>
      bestHolder([known, candidate('doubted', measured(rate, 0), { doubt })], mebibyte, 0)?.peer;
    expect([asked('even', 2_900), asked('even', 3_100)]).toEqual(['known', 'doubted']);
    expect([asked('strong', 9_900), asked('strong', 10_100)]).toEqual(['known', 'doubted']);
  });

  it('asks a holder that lacks other blobs of the content last', () => {
    const lacking = candidate('lacking', measured(100_000), { lacksContent: true });
    expect(bestHolder([lacking, candidate('slow', measured(10))], mebibyte, 0)?.peer).toBe('slow');
    expect(bestHolder([lacking], mebibyte, 0)?.peer).toBe('lacking');
  });

  it('leaves a failed holder alone for a while that doubles, and ranks it behind afterwards', () => {
    const once = withFailure(unknownHolder, 'transient', 1_000, 0.999);
    const twice = withFailure(once, 'transient', 1_000, 0.999);
    expect(twice.notBeforeMs - 1_000).toBeCloseTo(2 * (once.notBeforeMs - 1_000), 0);
    expect(bestHolder([candidate('failed', once)], 1, 1_001)).toBeUndefined();
    const later = once.notBeforeMs + 1;
    expect(bestHolder([candidate('failed', once), candidate('fine', unknownHolder)], 1, later)?.peer).toBe('fine');
    const mended = Array.from({ length: 100 }).reduce<HolderScore>((score) => withSuccess(score), once);
    expect(expectedMs(candidate('failed', mended), 1)).toBe(expectedMs(candidate('fine', unknownHolder), 1));
  });

  it('forgets transient failures with a fresh connection, but never a proved fault', () => {
    const transient = withFailure(unknownHolder, 'transient', 0, 0.5);
    const faulted = withFailure(unknownHolder, 'fault', 0, 0.5);
    expect(withFreshConnection(transient).notBeforeMs).toBe(0);
    expect(withFreshConnection(faulted).notBeforeMs).toBeGreaterThanOrEqual(30_000);
    const manyTimes = Array.from({ length: 50 }).reduce<HolderScore>(
      (score) => withFailure(score, 'fault', 0, 0.5),
      faulted,
    );
    expect(manyTimes.notBeforeMs).toBeLessThanOrEqual(3_600_000);
  });

  it('lets a fast holder owe more than a slow one, within bounds', () => {
    expect(holderWindowBytes(measured(1))).toBe(512 * 1024);
    expect(holderWindowBytes(measured(2_000))).toBeCloseTo(1_000_000, -4);
    expect(holderWindowBytes(measured(1_000_000))).toBe(4 * mebibyte);
  });

  it('follows latency and throughput as they change', () => {
    let score = unknownHolder;
    for (let sample = 0; sample < 30; sample++) score = withThroughput(withLatency(score, 40), 4 * mebibyte, 400);
    expect(score.latencyMs).toBeCloseTo(40, 0);
    expect(expectedMs(candidate('a', score), 4 * mebibyte)).toBeCloseTo(440, -1);
  });
});
