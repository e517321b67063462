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
let queue: RepairQueue;
beforeEach(() => {
  clock = new VirtualClock();
  arrived = new Set();
  done = 0;
  queue = new RepairQueue({
    index: { holds: (_node, manifest) => arrived.has(manifest) },
    // Every order is to this node itself.
    peers: {} as ReplicaPeers,
    peerOf: () => 'nobody' as PeerId,
    self,
    takeOwn: async (orders) => orders.length,
    refresh: async () => undefined,
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
