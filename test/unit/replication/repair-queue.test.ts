import { afterEach, beforeEach, expect, test } from 'vitest';
import type { BlobHash, DocId, NodeId, PeerId, VersionId } from '../../../crdt/ids.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import type { PlannedPull } from '../../../src/replication/plan.ts';
import { RepairQueue } from '../../../src/replication/repair-queue.ts';
import type { ReplicaPeers } from '../../../src/replication/replica-peers.ts';

const self = 'self' as NodeId;
const sizeBytes = 1_000_000;

let clock: VirtualClock;
let arrived: Set<BlobHash>;
let done: number;
let refreshedMs: number[];
let queue: RepairQueue;
beforeEach(() => {
  clock = new VirtualClock();
  arrived = new Set();
  done = 0;
  refreshedMs = [];
  queue = new RepairQueue({
    index: { holds: (_node, manifest) => arrived.has(manifest) },
    // Every order is to this node itself.
    peers: {} as ReplicaPeers,
    peerOf: () => 'nobody' as PeerId,
    self,
    takeOwn: async (orders) => orders.length,
    refresh: async () => {
      refreshedMs.push(clock.monotonicMs());
    },
    onDone: () => {
      done += 1;
    },
    clock,
    log: new MemoryLog(),
    metrics: new MemoryMetrics(),
  });
  queue.start();
});
afterEach(() => queue.stop());

function pullOf(name: string): PlannedPull {
  const manifest = name as BlobHash;
  const object = { doc: name as DocId, ns: 'docs', key: name, version: name as VersionId };
  return { subject: { ...object, manifest, sizeBytes }, to: self, from: [], provedCopies: 1, isWaiting: false };
}

test('the rate is that of repairs under way: nobody is told one when there are none', async () => {
  queue.replace([pullOf('a')]);
  expect(queue.progress()).toEqual({ pulls: 1, bytes: sizeBytes, bytesPerSecond: 0, etaMs: null });
  await clock.advance(100);
  arrived.add('a' as BlobHash);
  await clock.advance(1_000);
  expect(done).toBe(1);
  expect(queue.progress()).toEqual({ pulls: 0, bytes: 0, bytesPerSecond: 0, etaMs: 0 });
  // What was measured is the first guess for the next ones.
  queue.replace([pullOf('b')]);
  const { pulls, bytesPerSecond, etaMs } = queue.progress();
  expect(pulls).toBe(1);
  expect(bytesPerSecond).toBeGreaterThan(0);
  expect(etaMs).toBe(Math.ceil((sizeBytes / bytesPerSecond) * 1_000));
});

test('the last ones are looked for often while they arrive, and four times a second while they do not', async () => {
  const names = Array.from({ length: 101 }, (_, index) => `content ${index}`);
  queue.replace(names.map((name) => pullOf(name)));
  // One every 20 ms, and the last one much later.
  for (const name of names.slice(0, -1)) {
    await clock.advance(20);
    arrived.add(name as BlobHash);
  }
  const [early, endMs] = [refreshedMs.filter((ms) => ms < 1_000).length, clock.monotonicMs()];
  expect(early).toBeLessThanOrEqual(4);
  expect(refreshedMs.filter((ms) => ms >= endMs - 500).length).toBeGreaterThanOrEqual(6);
  await clock.advance(300);
  expect(queue.progress().pulls).toBe(1);
  refreshedMs = [];
  await clock.advance(2_000);
  expect(refreshedMs.length).toBeLessThanOrEqual(8);
  arrived.add(names.at(-1) as BlobHash);
  await clock.advance(250);
  expect(done).toBe(1);
});
