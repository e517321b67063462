import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { blake3, toBase32 } from '../../../crdt/digest.ts';
import type { BlobHash, NodeId, PeerId, VersionId } from '../../../crdt/ids.ts';
import type { PlacementNode } from '../../../crdt/placement.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import type { KvTransaction } from '../../../src/ports/kv.ts';
import { type IntentsDependencies, type WriteIntent, WriteIntents } from '../../../src/replication/intents.ts';
import { PlacementDirectory } from '../../../src/replication/placement-directory.ts';
import type { ReplicaProver } from '../../../src/replication/replica-prover.ts';

// Thousands of writes, on machines that may be busy.
vi.setConfig({ testTimeout: 60_000 });
const patienceMs = 3_600_000;
const idOf = <Id extends string>(text: string): Id => toBase32(blake3(Buffer.from(text))) as Id;
const [self, near, far] = ['a', 'b', 'c'] as [NodeId, NodeId, NodeId];

let clock: VirtualClock;
let kv: MemoryKv;
let intents: WriteIntents;

beforeEach(() => {
  clock = new VirtualClock();
  kv = new MemoryKv(clock, { flushDelayMs: 1 });
  const nodes = [near, far].map((nodeId): PlacementNode => ({ nodeId, weight: 1, labels: {} }));
  const state = { members: new Map(), namespaces: new Map() };
  const dependencies: Partial<IntentsDependencies> = {
    kv,
    clock,
    random: new SeededRandom('intents'),
    placement: new PlacementDirectory({ state: () => state, nodesOf: () => nodes }),
    absent: () => ({ gone: new Set(), away: new Set([far]), nextMs: undefined }),
    prover: {
      sample: async (_node: NodeId, contents: readonly unknown[]) => contents.map(() => ({ result: 'proved' })),
    } as unknown as ReplicaProver,
    peers: { isConnected: (peer: PeerId) => (peer as string) === near } as unknown as IntentsDependencies['peers'],
    peerOf: (node) => node as string as PeerId,
    shelf: { sizeOf: () => 10, read: () => undefined },
    self,
    onProved: () => undefined,
    log: new MemoryLog(),
    metrics: new MemoryMetrics(),
  };
  intents = new WriteIntents(dependencies as IntentsDependencies);
  intents.start(() => () => undefined);
});
afterEach(() => clock.run(intents.stop(), patienceMs));

const written = (name: string): WriteIntent => {
  return {
    ns: 'docs',
    key: name,
    version: idOf<VersionId>(`v ${name}`),
    manifest: idOf<BlobHash>(name),
    sizeBytes: 10,
  };
};

const write = async (names: readonly string[]): Promise<WriteIntent[]> => {
  const all = names.map(written);
  await clock.run(
    kv.transact((transaction) => {
      for (const intent of all) intents.note(transaction, intent);
    }),
    patienceMs,
  );
  return all;
};

test('more writes than memory has room for that one holder never proves do not keep newer ones from being proved', async () => {
  await write(Array.from({ length: 16_384 }, (_, index) => `early ${index}`));
  await clock.advance(1_000);
  const late = await write(['late 1', 'late 2']);
  expect(late.map((intent) => intents.isBacked(intent))).toEqual([false, false]);
  await clock.runUntil(() => late.every((intent) => intents.isBacked(intent)), patienceMs);
  const newest = await write(['newest']);
  await clock.advance(1_000);
  expect(newest.map((intent) => intents.isBacked(intent))).toEqual([true]);
  expect(intents.waiting().count).toBeGreaterThanOrEqual(10_000);
});

test('a write whose row comes later than anybody waits for it is asked for once it is there', async () => {
  const [slow] = [written('slow')];
  let row: { readonly key: Uint8Array; readonly value: Uint8Array } | undefined;
  const held = { put: (key: Uint8Array, value: Uint8Array) => (row = { key, value }) };
  intents.note(held as unknown as KvTransaction, slow);
  await clock.runUntil(() => intents.pending === 0, patienceMs);
  await clock.run(
    kv.transact((transaction) => row && transaction.put(row.key, row.value)),
    patienceMs,
  );
  await clock.advance(10_000);
  expect(intents.isBacked(slow)).toBe(true);
});
