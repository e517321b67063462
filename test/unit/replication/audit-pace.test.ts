import { afterEach, expect, test } from 'vitest';
import type { NodeId } from '../../../crdt/ids.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import { type AuditorDependencies, ReplicationAuditor } from '../../../src/replication/auditor.ts';
import { PlacementDirectory } from '../../../src/replication/placement-directory.ts';

const self = 'a' as NodeId;
const minuteMs = 60_000;
const patienceMs = 60 * minuteMs;

const clock = new VirtualClock();
let auditor: ReplicationAuditor;
afterEach(() => clock.run(auditor.stop(), patienceMs));

/** An auditor over no content at all, and what its audits were, in order: when, why, and whether inventories were compared. */
function start(options: { readonly auditEveryMs?: number; readonly coordinators?: readonly NodeId[] } = {}) {
  const startMs = clock.monotonicMs();
  const made: { readonly atMs: number; readonly reason: string | undefined; readonly isDeep: boolean }[] = [];
  const state = { members: new Map(), namespaces: new Map() };
  const adapters = { clock, random: new SeededRandom('pace'), log: new MemoryLog(), metrics: new MemoryMetrics() };
  const follower = {
    refresh: async (isDeep: boolean) => {
      made.push({ atMs: clock.monotonicMs() - startMs, reason: auditor.status().running?.reason, isDeep });
    },
  };
  const dependencies = {
    ...adapters,
    follower,
    index: { holders: () => [] },
    subjects: { catchUp: async () => undefined, subjectsOf: () => [], walk: async function* () {} },
    placement: new PlacementDirectory({ state: () => state, nodesOf: () => [] }),
    repairs: { replace: () => undefined, progress: () => undefined },
    liveness: { onChange: () => () => undefined },
    absent: () => ({ gone: new Set(), away: new Set(), nextMs: undefined }),
    full: () => new Set(),
    members: () => new Set([self]),
    coordinators: () => options.coordinators ?? [self],
    fetchedUntilMs: () => undefined,
    slotOf: () => 0,
    checks: { ...adapters, shelf: { sizeOf: () => undefined } },
  } as unknown as AuditorDependencies;
  auditor = new ReplicationAuditor(dependencies, { self, auditEveryMs: options.auditEveryMs });
  auditor.start();
  return made;
}

test('a node that has started audits within half a minute or so, and then within an hour or so of each', async () => {
  const made = start();
  await clock.advance(26_000);
  expect(made).toEqual([]);
  await clock.advance(8_000);
  expect(made.map(({ reason }) => reason)).toEqual(['start']);
  await clock.advance(53 * minuteMs);
  expect(made).toHaveLength(1);
  await clock.advance(14 * minuteMs);
  expect(made.map(({ reason }) => reason)).toEqual(['start', 'timer']);
  await clock.advance(66 * minuteMs);
  expect(made.map(({ reason }) => reason)).toEqual(['start', 'timer', 'timer']);
});

test('audits come as often as a node is told to make them, the first of them as well', async () => {
  const made = start({ auditEveryMs: 10_000 });
  await clock.advance(66_000);
  expect(made[0]?.reason).toBe('start');
  expect(made[0]?.atMs).toBeLessThanOrEqual(11_000);
  const timed = made.filter(({ reason }) => reason === 'timer').length;
  expect(timed).toBeGreaterThanOrEqual(4);
  expect(timed).toBeLessThanOrEqual(6);
});

test('a node that does not vote makes none', async () => {
  const made = start({ coordinators: ['b' as NodeId] });
  await clock.advance(3 * 60 * minuteMs);
  expect(made).toEqual([]);
});

test('inventories are compared whole by the timer and on demand, and else only followed', async () => {
  const made = start();
  await clock.advance(80 * minuteMs);
  await clock.run(auditor.audit('demand'), patienceMs);
  auditor.placementChanged();
  await clock.advance(minuteMs);
  expect(made.map(({ reason, isDeep }) => [reason, isDeep])).toEqual([
    ['start', false],
    ['timer', true],
    ['demand', true],
    ['placement', false],
  ]);
});
