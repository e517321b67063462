import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { NamespacePolicy } from '../../../crdt/control/namespace-policy.ts';
import type { BlobHash, NodeId, PeerId, VersionId } from '../../../crdt/ids.ts';
import type { PlacementNode } from '../../../crdt/placement.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import type { KvTransaction } from '../../../src/ports/kv.ts';
import { type IntentsDependencies, WriteIntents } from '../../../src/replication/intents.ts';
import type { WriteIntent } from '../../../src/replication/loaded-intents.ts';
import { PlacementDirectory } from '../../../src/replication/placement-directory.ts';
import type { ReplicaProver } from '../../../src/replication/replica-prover.ts';
import { idOf } from '../../support/made-ids.ts';

// Thousands of writes, on machines that may be busy.
vi.setConfig({ testTimeout: 60_000 });
const patienceMs = 3_600_000;
const [self, near, far] = ['a', 'b', 'c'] as [NodeId, NodeId, NodeId];

let clock: VirtualClock;
let kv: MemoryKv;
let intents: WriteIntents;

let policy: NamespacePolicy;

const start = (changes: Partial<IntentsDependencies> = {}): void => {
  const nodes = [near, far].map((nodeId): PlacementNode => ({ nodeId, weight: 1, labels: {} }));
  const state = { members: new Map(), namespaces: new Map([['docs', policy]]) };
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
    shelf: { sizeOf: () => 10, lend: () => undefined, giveBack: () => undefined },
    self,
    onProved: () => undefined,
    log: new MemoryLog(),
    metrics: new MemoryMetrics(),
    ...changes,
  };
  intents = new WriteIntents(dependencies as IntentsDependencies);
  intents.start(() => () => undefined);
};

beforeEach(() => {
  clock = new VirtualClock();
  kv = new MemoryKv(clock, { flushDelayMs: 1 });
  policy = {};
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
  start();
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
  start();
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

test('holders that are still getting what was written are asked for it at a pace, and for all of it once they have it', async () => {
  let asked = 0;
  let has = false;
  const sample = async (_node: NodeId, contents: readonly unknown[]) => {
    asked += contents.length;
    return contents.map(() => ({ result: has ? 'proved' : 'lacking' }));
  };
  policy = { replicas: 2 };
  start({
    prover: { sample, bind: sample } as unknown as ReplicaProver,
    peers: { isConnected: () => true, ask: async () => 0 } as unknown as IntentsDependencies['peers'],
    dropper: {
      drop: async (manifests: readonly BlobHash[]) => new Map(manifests.map((manifest) => [manifest, 'dropped'])),
    } as unknown as IntentsDependencies['dropper'],
  });
  const all = await write(Array.from({ length: 3_000 }, (_, index) => `key ${index}`));
  await clock.advance(2_000);
  // Two holders each, 256 writes a turn, a turn each half second.
  expect([asked > 0, asked <= 5 * 2 * 256]).toEqual([true, true]);
  has = true;
  await clock.advance(20_000);
  expect(all.every((intent) => intents.isBacked(intent))).toBe(true);
  expect(intents.pending).toBe(0);
});

describe('a holder that does not answer', () => {
  /** Both are connected; one never answers until it is told to. */
  const startSlow = (dropped: string[] = []): { asked: [NodeId, number][]; answer: () => void } => {
    const asked: [NodeId, number][] = [];
    let answer = (): void => undefined;
    const released = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const sample = async (node: NodeId, contents: readonly unknown[]) => {
      asked.push([node, contents.length]);
      if (node === far) await released;
      return contents.map(() => ({ result: 'proved' }));
    };
    const drop = async (manifests: readonly BlobHash[]) => {
      dropped.push(...manifests);
      return new Map(manifests.map((manifest) => [manifest, 'dropped']));
    };
    policy = { replicas: 1 };
    start({
      prover: { sample, bind: sample } as unknown as ReplicaProver,
      peers: { isConnected: () => true, ask: async () => 0 } as unknown as IntentsDependencies['peers'],
      dropper: { drop } as unknown as IntentsDependencies['dropper'],
    });
    return { asked, answer };
  };
  const names = Array.from({ length: 20 }, (_, at) => `key ${at}`);

  test('delays the writes that it is to prove, and no others', async () => {
    const dropped: string[] = [];
    const { asked, answer } = startSlow(dropped);
    await write(names.slice(0, 10));
    await clock.advance(2_000);
    const before = intents.pending;
    expect([before > 0, before < 10, dropped.length]).toEqual([true, true, 10 - before]);
    await write(names.slice(10));
    await clock.advance(2_000);
    const proved = 10 - (intents.pending - before);
    expect(dropped.length).toBe(10 - before + proved);
    expect(proved).toBeGreaterThan(0);
    // It is asked for all that came meanwhile together, once it has answered.
    expect(asked.filter(([node]) => node === far)).toHaveLength(1);
    answer();
    await clock.advance(10_000);
    expect(asked.filter(([node]) => node === far)).toEqual([
      [far, before],
      [far, 10 - proved],
    ]);
    expect([intents.pending, dropped.length]).toEqual([0, 20]);
  });

  test('is counted as soon as it answers, if late', async () => {
    const { answer } = startSlow();
    await write(names);
    await clock.advance(30_000);
    expect(intents.pending).toBeGreaterThan(0);
    answer();
    await clock.advance(1_000);
    expect(intents.pending).toBe(0);
  });
});

test('a drop that takes long keeps no other write from being proved', async () => {
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const drops: number[] = [];
  const drop = async (manifests: readonly BlobHash[]) => {
    drops.push(manifests.length);
    if (drops.length === 1) await released;
    return new Map(manifests.map((manifest) => [manifest, 'dropped']));
  };
  start({
    peers: { isConnected: () => true } as unknown as IntentsDependencies['peers'],
    dropper: { drop } as unknown as IntentsDependencies['dropper'],
  });
  await write(['first']);
  await clock.advance(1_000);
  const others = await write(['second', 'third']);
  await clock.advance(1_000);
  const fourth = await write(['fourth']);
  await clock.advance(10_000);
  expect([...others, ...fourth].map((intent) => intents.isBacked(intent))).toEqual([true, true, true]);
  expect(drops).toEqual([1]);
  release();
  await clock.advance(1_000);
  // What was proved meanwhile goes together.
  expect([drops, intents.pending]).toEqual([[1, 3], 0]);
});
