import { beforeEach, expect, test } from 'vitest';
import { blake3, toBase32 } from '../../../crdt/digest.ts';
import type { VersionId } from '../../../crdt/ids.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import { DamagedRecords } from '../../../src/node/damaged-records.ts';

const patienceMs = 60_000;
const [one, two] = ['one', 'two'].map((name) => toBase32(blake3(Buffer.from(name)))) as [VersionId, VersionId];

let clock: VirtualClock;
let kv: MemoryKv;
let metrics: MemoryMetrics;
let damaged: DamagedRecords;

beforeEach(async () => {
  clock = new VirtualClock();
  kv = new MemoryKv(clock);
  start();
  for (const id of [one, two]) damaged.found(id);
  await clock.advance(1_000);
});

function start(): void {
  metrics = new MemoryMetrics();
  damaged = new DamagedRecords({ kv, log: new MemoryLog(), metrics });
}

/** What is told now, and what a next start finds on disk. */
async function known(): Promise<readonly (readonly VersionId[])[]> {
  const now = damaged.list();
  expect(metrics.value('anabranch_records_damaged')).toBe(now.length);
  start();
  await clock.run(
    damaged.open(() => false),
    patienceMs,
  );
  return [[...now].sort(), [...damaged.list()].sort()];
}

test('a record is damaged no more once the transaction that mends it is on disk', async () => {
  await clock.run(
    kv.transact((transaction) => damaged.mended(transaction, one)),
    patienceMs,
  );
  damaged.forget([one]);
  expect(await known()).toEqual([[two], [two]]);
});

test('a record stays damaged when the transaction that mends it comes to nothing', async () => {
  const mending = kv.transact((transaction) => {
    damaged.mended(transaction, one);
    throw new Error('the disk is full');
  });
  await expect(clock.run(mending, patienceMs)).rejects.toThrow('the disk is full');
  const all = [one, two].sort();
  expect(await known()).toEqual([all, all]);
});

test('a start forgets those that are sound by now', async () => {
  start();
  await clock.run(
    damaged.open((id) => id === one),
    patienceMs,
  );
  expect(await known()).toEqual([[two], [two]]);
});
