import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BlobHash, DocId, NodeId, VersionId } from '../../../crdt/ids.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import type { Absent } from '../../../src/replication/absences.ts';
import { auditorOf } from '../../../src/replication/audit-shares.ts';
import { type AuditorDependencies, ReplicationAuditor } from '../../../src/replication/auditor.ts';
import { PlacementDirectory } from '../../../src/replication/placement-directory.ts';
import type { CopyRecord } from '../../../src/replication/replica-index.ts';
import type { Subject } from '../../../src/replication/subject.ts';

const self = 'a' as NodeId;
const other = 'b' as NodeId;
const third = 'c' as NodeId;
const patienceMs = 3_600_000;
const nobody: Absent = { gone: new Set(), away: new Set(), nextMs: undefined };

let clock: VirtualClock;
let metrics: MemoryMetrics;
let auditor: ReplicationAuditor;
/** How long a plan takes, and when each one began. */
let planMs: number;
let planned: number[];
let isDiskSound: boolean;
/** The one content there is, what is known of the copy that the other node has, and how often it was to prove it. */
let subjects: Subject[];
let copy: CopyRecord;
let another: CopyRecord | undefined;
let challenges: number;
/** What comes of that, unless it never answers. */
let answer: string;
let isSilent: boolean;
let full: Set<NodeId>;
let fetchedUntilMs: number | undefined;
/** What happens after a plan has gone through the last page. */
let afterPlan: () => Promise<void>;
let liveness: () => void;
let coordinators: NodeId[];
let slot: number;

beforeEach(() => {
  clock = new VirtualClock();
  metrics = new MemoryMetrics();
  planMs = 0;
  planned = [];
  isDiskSound = true;
  subjects = [];
  copy = { nodeId: other, sizeBytes: 10, provedMs: 1_000, isSuspect: false };
  another = undefined;
  challenges = 0;
  answer = 'proved';
  isSilent = false;
  full = new Set();
  fetchedUntilMs = undefined;
  afterPlan = async () => undefined;
  coordinators = [self];
  slot = 0;
  const prover = {
    sample: async (_node: NodeId, contents: readonly unknown[], signal?: AbortSignal) => {
      challenges += contents.length;
      if (isSilent) {
        await new Promise<void>((resolve) => signal?.addEventListener('abort', () => resolve()));
        return contents.map(() => ({ result: 'unreachable' }));
      }
      return contents.map(() => ({ result: answer }));
    },
  };
  const adapters = { clock, random: new SeededRandom('auditor'), log: new MemoryLog(), metrics };
  const state = { members: new Map(), namespaces: new Map() };
  const dependencies = {
    ...adapters,
    index: { holders: () => (another === undefined ? [copy] : [copy, another]) },
    follower: { refresh: async () => undefined },
    subjects: {
      catchUp: async () => undefined,
      subjectsOf: () => [],
      walk: async function* (): AsyncGenerator<readonly Subject[]> {
        planned.push(clock.monotonicMs());
        await clock.sleep(planMs);
        if (!isDiskSound) throw new Error('the disk failed');
        yield subjects;
        await afterPlan();
      },
    },
    placement: new PlacementDirectory({ state: () => state, nodesOf: () => [] }),
    repairs: { replace: () => undefined, progress: () => undefined },
    liveness: {
      offlineForMs: () => undefined,
      onChange: (listener: () => void) => {
        liveness = listener;
        return () => undefined;
      },
    },
    absent: () => nobody,
    full: () => full,
    members: () => new Set([self, other, third]),
    coordinators: () => coordinators,
    fetchedUntilMs: () => fetchedUntilMs,
    slotOf: () => slot,
    checks: {
      ...adapters,
      prover,
      index: { note: () => undefined },
      unproved: { failed: () => undefined, answered: () => undefined },
      kv: new MemoryKv(clock),
      shelf: { sizeOf: () => 10, lend: () => undefined, giveBack: () => undefined },
    },
  };
  auditor = new ReplicationAuditor(dependencies as unknown as AuditorDependencies, { self });
  auditor.start();
});
afterEach(() => clock.run(auditor.stop(), patienceMs));

const audits = (reason: string): number => metrics.value('anabranch_replication_audits_total', { reason });

test('repairs that end over and over have a plan made a tenth of the time, and no more', async () => {
  planMs = 3_000;
  const fromMs = clock.monotonicMs();
  for (let ms = 0; ms < 600_000; ms += 100) {
    auditor.repaired();
    await clock.advance(100);
  }
  const plannedMs = planned.length * planMs;
  expect(plannedMs).toBeLessThanOrEqual((clock.monotonicMs() - fromMs) / 10 + planMs);
  expect(plannedMs).toBeGreaterThan((clock.monotonicMs() - fromMs) / 12);
});

test('repairs of a few objects are audited at once, or a second after the last plan', async () => {
  auditor.repaired();
  await clock.advance(0);
  expect(planned).toEqual([0]);
  await clock.advance(100);
  auditor.repaired();
  await clock.advance(1_000);
  expect(planned).toEqual([0, 1_000]);
  await clock.advance(5_000);
  auditor.repaired();
  await clock.advance(0);
  expect(planned).toEqual([0, 1_000, 6_100]);
});

test('while a disk is full there is a plan a minute, and one more once there is room', async () => {
  await clock.advance(600_000);
  expect(audits('capacity')).toBe(0);
  full = new Set([other]);
  await clock.advance(300_000);
  expect(audits('capacity')).toBe(5);
  full = new Set();
  await clock.advance(300_000);
  expect(audits('capacity')).toBe(6);
});

test('a copy that this coordinator suspects is looked at by a thorough audit, though another audits its slot', async () => {
  coordinators = [self, other];
  while (auditorOf(slot, coordinators) === self) slot += 1;
  const manifest = 'content' as BlobHash;
  subjects = [{ doc: 'd' as DocId, version: 'v' as VersionId, ns: 'docs', key: 'k', manifest, sizeBytes: 10 }];
  copy = { nodeId: other, sizeBytes: 10, provedMs: undefined, isSuspect: true };
  auditor.repaired();
  await clock.advance(0);
  expect([planned.length, challenges]).toEqual([1, 0]);
  const { plan } = await clock.run(auditor.audit('demand'), patienceMs);
  expect([plan.totals.subjects, challenges]).toEqual([0, 1]);
  copy = { ...copy, isSuspect: false };
  await clock.run(auditor.audit('demand'), patienceMs);
  expect(challenges).toBe(1);
});

test.each(['lacking', 'wrong'])(
  'a copy that is %s is planned around at once when it counted as there, and has no more audits made after that',
  async (result) => {
    const manifest = 'content' as BlobHash;
    subjects = [{ doc: 'd' as DocId, version: 'v' as VersionId, ns: 'docs', key: 'k', manifest, sizeBytes: 10 }];
    copy = { ...copy, provedMs: undefined };
    answer = result;
    auditor.repaired();
    await clock.advance(1_000);
    expect(planned).toEqual([0]);
    copy = { ...copy, isSuspect: true };
    await clock.advance(60_000);
    expect(planned).toEqual([0, 2_000]);
    expect(challenges).toBe(2);
    answer = 'proved';
    auditor.repaired();
    await clock.advance(1_000);
    copy = { ...copy, provedMs: 1, isSuspect: false };
    // That it is there after all is counted at once.
    await clock.advance(10_000);
    expect(planned).toHaveLength(4);
  },
);

test('the first audit after repairs that another one ordered waits a second, and has the rest added to its own', async () => {
  planMs = 500;
  auditor.placementChanged();
  await clock.advance(2_500);
  expect(planned).toEqual([2_000]);
  // Others wait for nine times 500 ms, until 7,000; this one does not, whoever waits with it.
  auditor.placementChanged();
  await clock.advance(2_500);
  expect(planned).toEqual([2_000]);
  auditor.repaired();
  await clock.advance(0);
  expect(planned).toEqual([2_000, 5_000]);
  await clock.advance(500);
  // What was left of the rest then were two seconds.
  auditor.repaired();
  await clock.advance(6_400);
  expect(planned).toHaveLength(2);
  await clock.advance(200);
  expect(planned).toEqual([2_000, 5_000, 12_000]);
});

test('what happens while a plan is made is audited after it', async () => {
  planMs = 200;
  auditor.repaired();
  await clock.advance(100);
  auditor.repaired();
  auditor.repaired();
  await clock.advance(10_000);
  // Nine times 200 ms after the first was made.
  expect(planned).toEqual([0, 2_000]);
});

test('one on demand waits for no rest, and one by the timer is not lost among others that wait', async () => {
  planMs = 60_000;
  await clock.run(auditor.audit('demand'), patienceMs);
  await clock.run(auditor.audit('demand'), patienceMs);
  expect(planned).toEqual([0, 60_000]);
  for (let minute = 0; minute < 70; minute += 1) {
    auditor.repaired();
    liveness();
    await clock.advance(60_000);
  }
  expect(audits('timer')).toBe(1);
  expect(audits('repaired') + audits('liveness')).toBeGreaterThan(3);
});

test('a plan that failed does not keep the next one from being made', async () => {
  isDiskSound = false;
  auditor.repaired();
  await clock.advance(10);
  isDiskSound = true;
  auditor.repaired();
  await clock.advance(10);
  expect(planned).toHaveLength(2);
  expect(auditor.status().last?.reason).toBe('repaired');
});

test('nothing is audited after the stop', async () => {
  auditor.repaired();
  await clock.advance(10);
  auditor.repaired();
  await clock.run(auditor.stop(), patienceMs);
  auditor.repaired();
  await clock.advance(10_000);
  expect(planned).toHaveLength(1);
});

test('copies that were proved are proved again on demand and by the timer, and not because nodes go and come', async () => {
  const [doc, version, manifest] = ['d' as DocId, 'v' as VersionId, 'm' as BlobHash];
  subjects = [{ doc, version, ns: 'docs', key: 'a', manifest, sizeBytes: 10 }];
  auditor.placementChanged();
  await clock.advance(10_000);
  expect(planned).toHaveLength(1);
  expect(challenges).toBe(0);
  await clock.run(auditor.audit('demand'), patienceMs);
  expect(challenges).toBe(1);
  copy = { ...copy, provedMs: undefined };
  // That one copy of a content never was says nothing of the others either.
  another = { nodeId: third, sizeBytes: 10, provedMs: 1_000, isSuspect: false };
  auditor.placementChanged();
  await clock.advance(10_000);
  expect(challenges).toBe(2);
  await clock.run(auditor.audit('demand'), patienceMs);
  expect(challenges).toBe(4);
});

describe('while contents are being fetched', () => {
  const [doc, version, manifest] = ['d' as DocId, 'v' as VersionId, 'm' as BlobHash];
  const fetchFor = async (ms: number): Promise<void> => {
    for (const endMs = clock.monotonicMs() + ms; clock.monotonicMs() < endMs; ) {
      fetchedUntilMs = clock.monotonicMs() + 100;
      await clock.advance(100);
    }
  };
  beforeEach(() => {
    subjects = [{ doc, version, ns: 'docs', key: 'a', manifest, sizeBytes: 10 }];
    copy = { ...copy, provedMs: undefined };
    fetchedUntilMs = clock.monotonicMs();
  });

  test('copies are not looked at, and soon after they are', async () => {
    auditor.repaired();
    await fetchFor(10_000);
    expect([planned.length, challenges]).toEqual([1, 0]);
    expect(auditor.status().running?.phase).toBe('checks');
    await clock.advance(1_900);
    expect(challenges).toBe(0);
    await clock.advance(200);
    expect(challenges).toBe(1);
    expect(auditor.status()).toMatchObject({ running: null, last: { checks: { proved: 1 } } });
  });

  test('they are looked at all the same after half a minute, however many audits are made meanwhile', async () => {
    for (let second = 0; second < 25; second += 5) {
      auditor.repaired();
      await fetchFor(5_000);
    }
    expect([planned.length, challenges]).toEqual([5, 0]);
    await fetchFor(6_000);
    expect(challenges).toBe(1);
    // From then on it is half a minute again.
    auditor.repaired();
    await fetchFor(25_000);
    expect(challenges).toBe(1);
    await fetchFor(6_000);
    expect(challenges).toBe(2);
  });

  test('an audit on demand looks at them, and waits for none that does not', async () => {
    auditor.repaired();
    await fetchFor(1_000);
    expect([planned.length, challenges]).toEqual([1, 0]);
    const demanded = auditor.audit('demand');
    await fetchFor(100);
    expect([planned.length, challenges]).toEqual([2, 1]);
    expect((await clock.run(demanded, patienceMs)).checks.proved).toBe(1);
  });

  test('a suspect is looked at all the same', async () => {
    copy = { ...copy, isSuspect: true };
    auditor.copyWanting();
    await fetchFor(3_000);
    expect(challenges).toBe(1);
  });

  test('a stop after the last page of a plan is waited for no longer than the plan', async () => {
    let stoppedMs: number | undefined;
    afterPlan = async () => {
      void auditor.stop().then(() => {
        stoppedMs = clock.monotonicMs();
      });
      await clock.sleep(0);
    };
    auditor.repaired();
    await fetchFor(1_000);
    expect(stoppedMs).toBeLessThan(100);
    expect(challenges).toBe(0);
  });

  test('a stop ends the wait', async () => {
    auditor.repaired();
    await fetchFor(1_000);
    await clock.run(auditor.stop(), patienceMs);
    expect(challenges).toBe(0);
    expect(auditor.status().running).toBeNull();
  });
});

describe('checks of a holder that never answers', () => {
  const [doc, version, manifest] = ['d' as DocId, 'v' as VersionId, 'm' as BlobHash];
  beforeEach(() => {
    subjects = [{ doc, version, ns: 'docs', key: 'a', manifest, sizeBytes: 10 }];
    isSilent = true;
  });

  test.each([
    ['nodes go or come', () => liveness(), 10_000],
    ['repairs are done', () => auditor.repaired(), 1_100],
    ['it is asked for', () => void auditor.audit('demand'), 5_100],
  ])('end for the audit that is due because %s', async (_, happens, withinMs) => {
    const first = auditor.audit('demand');
    await clock.advance(20_000);
    expect([planned.length, challenges]).toEqual([1, 1]);
    isSilent = false;
    happens();
    await clock.advance(withinMs);
    expect(planned).toHaveLength(2);
    // What was broken off counts as nothing.
    expect((await clock.run(first, patienceMs)).checks).toEqual({ proved: 0, lacking: 0, wrong: 0, unreachable: 0 });
  });

  test('are left twice as long each time that they were cut short, until some have ended', async () => {
    const demandAt = async (ms: number): Promise<void> => {
      await clock.advance(ms - clock.monotonicMs());
      void auditor.audit('demand');
    };
    for (const ms of [0, 20_000, 30_000, 40_000]) await demandAt(ms);
    await clock.advance(5_000);
    expect(planned).toEqual([0, 21_000, 32_000, 44_000]);
    isSilent = false;
    await demandAt(60_000);
    await clock.advance(10_000);
    isSilent = true;
    for (const ms of [80_000, 90_000]) await demandAt(ms);
    await clock.advance(5_000);
    expect(planned.slice(4)).toEqual([68_000, 80_000, 91_000]);
  });

  test('end as well when the next audit was due before they began', async () => {
    planMs = 1_000;
    void auditor.audit('demand');
    await clock.advance(500);
    const next = auditor.audit('demand');
    await clock.advance(10_000);
    expect(planned).toHaveLength(2);
    isSilent = false;
    await clock.run(Promise.all([next, auditor.audit('demand')]), patienceMs);
  });
});
