import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PeerId } from '../../crdt/ids.ts';
import {
  bestHolder,
  expectedMs,
  type HolderCandidate,
  type HolderScore,
  unknownHolder,
  withFailure,
  withLatency,
  withSuccess,
  withThroughput,
} from '../../protocols/blobs/ranking.ts';

const mebibyte = 1024 * 1024;

const sample = fc.oneof(
  fc.record({ kind: fc.constant('latency' as const), ms: fc.double({ min: 0.01, max: 5_000, noNaN: true }) }),
  fc.record({
    kind: fc.constant('throughput' as const),
    bytes: fc.integer({ min: 1, max: 4 * mebibyte }),
    ms: fc.double({ min: 0.01, max: 5_000, noNaN: true }),
  }),
  fc.record({ kind: fc.constant('success' as const) }),
  fc.record({
    kind: fc.constantFrom('transient' as const, 'fault' as const),
    jitter: fc.double({ min: 0, max: 0.999, noNaN: true }),
  }),
);
type Sample = typeof sample extends fc.Arbitrary<infer T> ? T : never;

function withSample(score: HolderScore, one: Sample): HolderScore {
  if (one.kind === 'latency') return withLatency(score, one.ms);
  if (one.kind === 'throughput') return withThroughput(score, one.bytes, one.ms);
  if (one.kind === 'success') return withSuccess(score);
  return withFailure(score, one.kind, 0, one.jitter);
}

const score = fc.array(sample, { maxLength: 60 }).map((all) => all.reduce(withSample, unknownHolder));
const candidate = (peer: string, of: HolderScore, rest: Partial<HolderCandidate> = {}): HolderCandidate => ({
  peer: peer as PeerId,
  score: of,
  outstandingBytes: 0,
  lacksContent: false,
  doubt: 'none',
  ...rest,
});
const ms = (of: HolderScore): number => expectedMs(candidate('a', of), mebibyte);

describe('a holder’s score', () => {
  it('stays between the least and the greatest it was measured at, and comes close to what stays the same', () => {
    const latencies = fc.array(fc.double({ min: 0.01, max: 5_000, noNaN: true }), { minLength: 1, maxLength: 100 });
    fc.assert(
      fc.property(latencies, (samples) => {
        const { latencyMs } = samples.reduce(withLatency, unknownHolder);
        expect(latencyMs).toBeGreaterThanOrEqual(Math.min(unknownHolder.latencyMs, ...samples) - 1e-9);
        expect(latencyMs).toBeLessThanOrEqual(Math.max(unknownHolder.latencyMs, ...samples) + 1e-9);
        const last = samples.at(-1) as number;
        const settled = Array.from({ length: 60 }, () => last).reduce(withLatency, { ...unknownHolder, latencyMs });
        expect(settled.latencyMs).toBeCloseTo(last, 2);
      }),
    );
  });

  it('is always a number one can rank by', () => {
    fc.assert(
      fc.property(score, (of) => {
        expect(ms(of)).toBeGreaterThan(0);
        expect(Number.isFinite(ms(of))).toBe(true);
        expect(of.failureShare).toBeGreaterThanOrEqual(0);
        expect(of.failureShare).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('gets worse with every failure, better with every success, and forgets failures after enough of them', () => {
    fc.assert(
      fc.property(score, fc.constantFrom('transient' as const, 'fault' as const), (of, kind) => {
        const failed = withFailure(of, kind, 0, 0.5);
        expect(ms(failed)).toBeGreaterThanOrEqual(ms(of));
        expect(ms(withSuccess(of))).toBeLessThanOrEqual(ms(of));
        const mended = Array.from({ length: 100 }).reduce<HolderScore>((now) => withSuccess(now), failed);
        expect(ms(mended)).toBe(ms({ ...of, failureShare: 0 }));
      }),
    );
  });

  it('gets no better with a slower or farther answer than the one it would have had', () => {
    const two = fc.tuple(
      fc.double({ min: 0.01, max: 5_000, noNaN: true }),
      fc.double({ min: 0, max: 5_000, noNaN: true }),
    );
    fc.assert(
      fc.property(score, two, (of, [fast, more]) => {
        expect(ms(withLatency(of, fast))).toBeLessThanOrEqual(ms(withLatency(of, fast + more)) + 1e-9);
        expect(ms(withThroughput(of, mebibyte, fast))).toBeLessThanOrEqual(
          ms(withThroughput(of, mebibyte, fast + more)) + 1e-9,
        );
      }),
    );
  });

  it('leaves a holder alone for a bounded time, at least half of what the failures ask for', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (count, jitter) => {
        let of = unknownHolder;
        for (let index = 0; index < count; index += 1) of = withFailure(of, 'transient', 1_000, jitter);
        const fullMs = Math.min(500 * 2 ** (count - 1), 60_000);
        expect(of.notBeforeMs - 1_000).toBeGreaterThanOrEqual(fullMs / 2 - 1e-6);
        expect(of.notBeforeMs - 1_000).toBeLessThanOrEqual(fullMs);
      }),
    );
  });
});

describe('the best holder', () => {
  const candidates = fc.array(
    fc.record({
      of: score,
      outstandingBytes: fc.nat({ max: 8 * mebibyte }),
      lacksContent: fc.boolean(),
      doubt: fc.constantFrom('none' as const, 'even' as const, 'strong' as const),
    }),
    { maxLength: 8 },
  );

  it('is one that may be asked, and none that may be asked is expected to be faster', () => {
    fc.assert(
      fc.property(candidates, fc.nat({ max: 120_000 }), (drawn, nowMs) => {
        const all = drawn.map(({ of, ...rest }, index) => candidate(`peer-${index}`, of, rest));
        const free = all.filter((each) => each.score.notBeforeMs <= nowMs);
        const best = bestHolder(all, mebibyte, nowMs);
        expect(best === undefined).toBe(free.length === 0);
        if (best === undefined) return;
        expect(free).toContain(best);
        for (const other of free) {
          if (other.lacksContent === best.lacksContent) {
            expect(expectedMs(best, mebibyte)).toBeLessThanOrEqual(expectedMs(other, mebibyte));
          } else {
            expect(best.lacksContent).toBe(false);
          }
        }
      }),
    );
  });
});
