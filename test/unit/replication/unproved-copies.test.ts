import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BlobHash, NodeId } from '../../../crdt/ids.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import type { Proof, ProvedContent } from '../../../src/replication/replica-prover.ts';
import { UnprovedCopies } from '../../../src/replication/unproved-copies.ts';

const minuteMs = 60_000;
const repairDelayMs = 10 * minuteMs;
const patienceMs = 3_600_000;
const [holder, other] = ['holder', 'other'] as [NodeId, NodeId];
const contentOf = (name: string, sizeBytes = 100): ProvedContent => ({ manifest: name as BlobHash, sizeBytes });
const content = contentOf('content');
const broken: Proof = { result: 'unreachable', why: 'broken' };

let clock: VirtualClock;
let metrics: MemoryMetrics;
let copies: UnprovedCopies;
/** What a holder answers about a content now, and when it was asked. */
let answer: (node: NodeId, manifest: BlobHash) => Proof;
/** How long it takes to, or not to. */
let answerMs: number;
let asked: number[];
let largestLook: number;
let isOnline: boolean;
let notes: string[];
let told: string[];
let replanned: number;

beforeEach(() => {
  clock = new VirtualClock();
  metrics = new MemoryMetrics();
  answer = () => broken;
  [asked, notes, told, replanned, largestLook, isOnline, answerMs] = [[], [], [], 0, 0, true, 0];
  copies = new UnprovedCopies(
    {
      prover: {
        sample: async (node, contents) => {
          asked.push(clock.monotonicMs());
          largestLook = Math.max(largestLook, contents.length);
          const proofs = contents.map(({ manifest }) => answer(node, manifest));
          await clock.sleep(answerMs);
          return proofs;
        },
      },
      isOnline: () => isOnline,
      note: (node, manifest, finding) => notes.push(`${node} ${manifest} ${finding}`),
      onUnproved: (unproved) => told.push(...unproved.map(({ node, manifest }) => `${node} ${manifest}`)),
      onWanting: () => {
        replanned += 1;
      },
      clock,
      log: new MemoryLog(),
      metrics,
    },
    { repairDelayMs },
  );
});
afterEach(() => clock.run(copies.stop(), patienceMs));

describe('a copy that its holder, which is online, never proves', () => {
  test.each([['broken'], ['late']] as const)(
    'counts as not there once four looks were %s, after longer than the repair delay',
    async (why) => {
      answer = () => ({ result: 'unreachable', why });
      copies.failed(holder, content);
      await clock.advance(repairDelayMs);
      expect([notes, told, replanned]).toEqual([[], [], 0]);
      await clock.advance(repairDelayMs / 2 + 1);
      expect(asked).toEqual([1, 3, 7, 15].map((minutes) => minutes * minuteMs));
      expect([notes, told, replanned]).toEqual([['holder content unproved'], ['holder content'], 1]);
      await clock.advance(10 * repairDelayMs);
      expect(asked).toHaveLength(4);
    },
  );

  test('is waited for longer when it is put off each time, and not for ever', async () => {
    answer = () => ({ result: 'unreachable', why: 'put_off' });
    copies.failed(holder, content);
    await clock.advance(6 * repairDelayMs);
    expect(notes).toEqual([]);
    await clock.advance(repairDelayMs);
    expect(notes).toEqual(['holder content unproved']);
  });

  test('is watched as long as it takes when its holder cannot be asked, which says nothing', async () => {
    answer = () => ({ result: 'unreachable', why: 'not_asked' });
    copies.failed(holder, content);
    await clock.advance(20 * repairDelayMs);
    expect(notes).toEqual([]);
    answer = () => broken;
    await clock.advance(2 * repairDelayMs);
    expect(notes).toEqual(['holder content unproved']);
  });

  test('is the business of liveness once its holder is offline', async () => {
    copies.failed(holder, content);
    await clock.advance(8 * minuteMs);
    isOnline = false;
    await clock.advance(8 * minuteMs);
    expect(asked).toHaveLength(3);
    isOnline = true;
    await clock.advance(10 * repairDelayMs);
    expect([asked.length, notes.length]).toEqual([3, 0]);
  });
});

describe('an honest holder behind a link that breaks', () => {
  test('keeps all trust when one look of four succeeds', async () => {
    copies.failed(holder, content);
    await clock.advance(8 * minuteMs);
    expect(asked).toHaveLength(3);
    answer = () => ({ result: 'proved' });
    await clock.advance(8 * minuteMs);
    expect([notes, told, replanned]).toEqual([['holder content proved'], [], 0]);
    // It begins anew: what was let pass before does not count again.
    answer = () => broken;
    copies.failed(holder, content);
    await clock.advance(repairDelayMs);
    expect(notes).toEqual(['holder content proved']);
  });

  test('keeps all trust when somebody else has the copy proved meanwhile', async () => {
    copies.failed(holder, content);
    await clock.advance(8 * minuteMs);
    copies.answered(holder, content.manifest);
    await clock.advance(10 * repairDelayMs);
    expect([asked.length, notes.length]).toEqual([3, 0]);
    expect(metrics.value('anabranch_replication_unproved_copies')).toBe(0);
  });

  test('that says it has not got it is believed, and what is to be done is planned', async () => {
    answer = () => ({ result: 'lacking' });
    copies.failed(holder, content);
    await clock.advance(minuteMs);
    expect([notes, told, replanned]).toEqual([['holder content lacking'], [], 1]);
  });
});

test('each copy stands for itself: a holder that proves some and never others loses these', async () => {
  answer = (node, manifest) => (manifest.startsWith('good') || node === other ? { result: 'proved' } : broken);
  for (const name of ['good-1', 'bad-1', 'good-2', 'bad-2']) {
    copies.failed(holder, contentOf(name));
    copies.failed(other, contentOf(name));
  }
  await clock.advance(2 * repairDelayMs);
  expect(told).toEqual(['holder bad-1', 'holder bad-2']);
});

test('so little is asked for in one look that an honest holder need not put it off, and the rest soon after', async () => {
  for (let index = 0; index < 200; index += 1) copies.failed(holder, contentOf(`small-${index}`));
  for (let index = 0; index < 40; index += 1) copies.failed(other, contentOf(`large-${index}`, 2 ** 30));
  answer = () => ({ result: 'proved' });
  await clock.advance(minuteMs + 10_000);
  expect(notes).toHaveLength(240);
  expect(largestLook).toBe(64);
});

describe('what is heard while the last look is under way', () => {
  beforeEach(async () => {
    copies.failed(holder, content);
    await clock.advance(8 * minuteMs);
    answerMs = 5_000;
    await clock.advance(7 * minuteMs + 1_000);
    expect(asked).toHaveLength(4);
  });

  test('counts, and not that look: the copy was proved to another, or is not there', async () => {
    copies.answered(holder, content.manifest);
    await clock.advance(repairDelayMs);
    expect([asked.length, notes, told, replanned]).toEqual([4, [], [], 0]);
  });

  test('begins anew with a copy that was proved and is asked for in vain again', async () => {
    copies.answered(holder, content.manifest);
    copies.failed(holder, content);
    await clock.advance(repairDelayMs);
    expect(notes).toEqual([]);
    await clock.advance(repairDelayMs);
    expect(notes).toEqual(['holder content unproved']);
  });

  test('leaves a holder that goes offline to the repair delay', async () => {
    isOnline = false;
    await clock.advance(repairDelayMs);
    expect([asked.length, notes, told, replanned]).toEqual([4, [], [], 0]);
    expect(metrics.value('anabranch_replication_unproved_copies')).toBe(0);
  });
});

test.each([
  ['small', 1_000, 100],
  ['large', 40, 2 ** 30],
])('a holder that answers nothing has let pass all that was due in a look: %s copies', async (_, count, sizeBytes) => {
  for (let index = 0; index < count; index += 1) copies.failed(holder, contentOf(`copy-${index}`, sizeBytes));
  let silentUntilMs = 0;
  answer = () => {
    if (clock.monotonicMs() < silentUntilMs) return { result: 'unreachable', why: 'not_asked' };
    silentUntilMs = clock.monotonicMs() + minuteMs;
    return { result: 'unreachable', why: 'late' };
  };
  await clock.advance(2 * repairDelayMs);
  expect(told).toHaveLength(count);
});

test('no more copies are watched than there is room for, and a holder that proves none leaves room to watch others', async () => {
  const watched = (): number => metrics.value('anabranch_replication_unproved_copies');
  for (let index = 0; index < 9_000; index += 1) copies.failed(holder, contentOf(`copy-${index}`));
  expect(watched()).toBe(1_024);
  for (let index = 0; index < 9_000; index += 1)
    copies.failed(`other-${index % 10}` as NodeId, contentOf(`copy-${index}`));
  expect(watched()).toBe(8_192);
  // What a holder has answered makes room for more of its copies.
  copies.answered(holder, 'copy-0' as BlobHash);
  copies.failed(holder, contentOf('copy-8999'));
  copies.failed(other, content);
  expect(watched()).toBe(8_192);
  copies.answered('other-0' as NodeId, 'copy-0' as BlobHash);
  copies.failed(holder, contentOf('copy-8998'));
  expect(watched()).toBe(8_191);
  copies.failed(other, content);
  expect(watched()).toBe(8_192);
});

test('nothing is looked at after the stop', async () => {
  copies.failed(holder, content);
  await clock.run(copies.stop(), patienceMs);
  copies.failed(other, content);
  await clock.advance(10 * repairDelayMs);
  expect(asked).toEqual([]);
});
