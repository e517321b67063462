import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { BlobHash, DocId, NodeId, PeerId, VersionId } from '../../../crdt/ids.ts';
import type { Order } from '../../../protocols/replicas/server.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import { MeshError } from '../../../src/ports/mesh-error.ts';
import type { PlannedPull } from '../../../src/replication/plan.ts';
import { RepairQueue } from '../../../src/replication/repair-queue.ts';
import type { ReplicaPeers } from '../../../src/replication/replica-peers.ts';

const sizeBytes = 1_000_000;
/** Orders of one node that may be under way. */
const underWayMax = 1_024;

let clock: VirtualClock;
let metrics: MemoryMetrics;
let queue: RepairQueue;
/** What arrived, and what each peer was ordered to fetch. */
let arrived: Set<string>;
let ordered: Map<string, string[]>;
let isDeaf: boolean;
/** How long looking for one content takes, and how often it was looked. */
let lookMs: number;
let looks: number;
beforeEach(() => {
  clock = new VirtualClock();
  metrics = new MemoryMetrics();
  arrived = new Set();
  ordered = new Map();
  isDeaf = false;
  [lookMs, looks] = [0, 0];
  const peers = {
    ask: async (peer: PeerId, _what: string, talk: (client: unknown) => Promise<unknown>) => {
      if (isDeaf) throw new MeshError('peer_unreachable', 'nobody hears');
      return talk({
        order: async (orders: readonly Order[]) => {
          ordered.set(peer, [...(ordered.get(peer) ?? []), ...orders.map(({ manifest }) => manifest)]);
          return orders.length;
        },
      });
    },
  };
  queue = new RepairQueue({
    index: {
      holds: (_node, manifest) => {
        looks += 1;
        return arrived.has(manifest);
      },
    },
    peers: peers as unknown as ReplicaPeers,
    peerOf: (node) => `peer of ${node}` as PeerId,
    self: 'self' as NodeId,
    takeOwn: async (orders) => orders.length,
    refresh: async () => undefined,
    onDone: () => undefined,
    clock,
    log: new MemoryLog(),
    metrics,
  });
  queue.start();
});
afterEach(() => clock.run(queue.stop(), 60_000));

function pullOf(name: string, to = 'north'): PlannedPull {
  const object = { doc: name as DocId, ns: 'docs', key: name, version: name as VersionId };
  const subject = { ...object, manifest: name as BlobHash, sizeBytes };
  return { subject, to: to as NodeId, from: [], provedCopies: 1, isWaiting: false };
}

const orderedOf = (node: string): readonly string[] => ordered.get(`peer of ${node}`) ?? [];

test('rate and time left are measured by what arrives', async () => {
  const names = Array.from({ length: 200 }, (_, index) => `content ${index}`);
  queue.replace(names.map((name) => pullOf(name)));
  expect(queue.progress()).toEqual({ pulls: 200, bytes: 200 * sizeBytes, bytesPerSecond: 0, etaMs: null });
  await clock.advance(10);
  const waiting = [...names];
  // One every quarter of a second is four megabytes a second.
  for (let turn = 0; turn < 80; turn += 1) {
    for (const name of waiting.splice(0, 1)) arrived.add(name);
    await clock.advance(250);
  }
  const slow = queue.progress();
  expect(slow.pulls).toBe(120);
  expect(slow.bytes).toBe(120 * sizeBytes);
  expect(slow.bytesPerSecond).toBeGreaterThan(3_800_000);
  expect(slow.bytesPerSecond).toBeLessThan(4_200_000);
  expect(slow.etaMs).toBeGreaterThan(28_000);
  expect(slow.etaMs).toBeLessThan(32_000);
  expect(metrics.value('anabranch_repaired_bytes_total')).toBe(80 * sizeBytes);
  expect(metrics.value('anabranch_repairs_pending')).toBe(120);
  // It follows what becomes of the links.
  for (let turn = 0; turn < 40; turn += 1) {
    for (const name of waiting.splice(0, 2)) arrived.add(name);
    await clock.advance(250);
  }
  expect(queue.progress().bytesPerSecond).toBeGreaterThan(7_500_000);
});

test('a node has so many orders at once, and gets others as these arrive; another node is not held up by it', async () => {
  const names = Array.from({ length: underWayMax + 100 }, (_, index) => `content ${index}`);
  queue.replace([...names.map((name) => pullOf(name)), pullOf('elsewhere', 'south')]);
  await clock.advance(3_000);
  expect(orderedOf('north')).toEqual(names.slice(0, underWayMax));
  expect(orderedOf('south')).toEqual(['elsewhere']);
  for (const name of names.slice(0, 60)) arrived.add(name);
  await clock.advance(3_000);
  expect(orderedOf('north')).toEqual(names.slice(0, underWayMax + 60));
});

test('an order that did not arrive is given again after a minute, and one that nobody heard at once', async () => {
  isDeaf = true;
  queue.replace([pullOf('content')]);
  await clock.advance(2_000);
  isDeaf = false;
  await clock.advance(1_000);
  expect(orderedOf('north')).toEqual(['content']);
  await clock.advance(58_000);
  expect(orderedOf('north')).toEqual(['content']);
  await clock.advance(3_000);
  expect(orderedOf('north')).toEqual(['content', 'content']);
});

test('a plan that comes meanwhile orders nothing a second time, and nothing that only waits', async () => {
  queue.replace([pullOf('content')]);
  await clock.advance(1_000);
  queue.replace([pullOf('content'), { ...pullOf('awaited'), isWaiting: true }]);
  await clock.advance(2_000);
  expect(orderedOf('north')).toEqual(['content']);
  expect(queue.isPending(pullOf('content'))).toBe(true);
  expect(queue.isPending(pullOf('awaited'))).toBe(false);
});

test('looking for what has arrived takes a tenth of the time at most', async () => {
  const nowMs = clock.monotonicMs.bind(clock);
  vi.spyOn(clock, 'monotonicMs').mockImplementation(() => nowMs() + looks * lookMs);
  queue.replace([pullOf('content')]);
  await clock.advance(10_000);
  expect(looks).toBeGreaterThanOrEqual(38);
  lookMs = 100;
  await clock.advance(1_000);
  const before = looks;
  await clock.advance(9_000);
  expect(looks - before).toBeLessThanOrEqual(10);
});
