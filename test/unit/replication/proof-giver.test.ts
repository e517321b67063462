import { beforeEach, describe, expect, test, vi } from 'vitest';
import { defaultChunking } from '../../../crdt/chunking.ts';
import { chunkingProfiles } from '../../../crdt/control/namespace-policy.ts';
import { blobHashOf } from '../../../crdt/digest.ts';
import type { BlobHash, PeerId } from '../../../crdt/ids.ts';
import { buildManifest } from '../../../crdt/manifest.ts';
import { ReplicaProof } from '../../../crdt/replica-proof.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import { Leases } from '../../../src/replication/leases.ts';
import { ProofGiver } from '../../../src/replication/proof-giver.ts';
import { testNode } from '../../support/versions.ts';

const patienceMs = 3_600_000;
const asker = 'asker' as PeerId;
const nonce = new Uint8Array(32).fill(1);

let clock: VirtualClock;
let leases: Leases;
let giver: ProofGiver;
/** The contents that are here whole, and the bytes of all. */
let here: Map<BlobHash, number>;
let blobs: Map<BlobHash, Uint8Array>;
/** Chunks whose reads do not end, and what ends them. */
let hanging: Map<BlobHash, () => void>;
let reads: number;
/** Reads that do not end at once, as those of files. */
let isLater: boolean;
let doubted: BlobHash[];
/** What was given back, as it was then. */
let givenBack: BlobHash[];

beforeEach(() => {
  clock = new VirtualClock();
  const log = new MemoryLog();
  const kv = new MemoryKv(clock, { name: 'giver', flushDelayMs: 1 });
  [here, blobs, hanging, reads] = [new Map(), new Map(), new Map(), 0];
  [isLater, doubted, givenBack] = [false, [], []];
  leases = new Leases({ kv, clock, log });
  leases.start();
  const shelf = {
    sizeOf: (_: unknown, manifest: BlobHash) => here.get(manifest),
    lend: (hash: BlobHash) => {
      reads += 1;
      const stored = blobs.get(hash);
      const copy = stored && new Uint8Array(stored);
      if (!hanging.has(hash)) return isLater ? Promise.resolve(copy) : copy;
      return new Promise<undefined>((resolve) => hanging.set(hash, () => resolve(undefined)));
    },
    giveBack: (bytes: Uint8Array) => {
      givenBack.push(blobHashOf(bytes));
      bytes.fill(0xff);
    },
    doubt: (manifest: BlobHash) => doubted.push(manifest),
  };
  const nodeOf = () => testNode('asker').nodeId;
  const metrics = new MemoryMetrics();
  giver = new ProofGiver({ kv, clock, shelf, leases, nodeOf, localPeer: 'giver' as PeerId, log, metrics });
});

const add = (text: string, { isHere = true, hangs = false } = {}): BlobHash => {
  const bytes = Buffer.from(text);
  const chunk = blobHashOf(bytes);
  const { root, blobs: built } = buildManifest([{ hash: chunk, size: bytes.length }], defaultChunking);
  blobs.set(chunk, bytes);
  for (const { hash, bytes: blob } of built) blobs.set(hash, blob);
  if (isHere) here.set(root, bytes.length);
  if (hangs) hanging.set(chunk, () => undefined);
  return root;
};

const prove = async (manifests: readonly BlobHash[], leaseMs?: number): Promise<string[]> => {
  const items = manifests.map((manifest) => ({ manifest }));
  const group = { nonce, items, ...(leaseMs === undefined ? {} : { leaseMs }) };
  const answers = await clock.run(giver.prove(asker, group), patienceMs);
  return answers.map((answer) => (answer instanceof Uint8Array ? 'proved' : answer));
};

test('a chunk that several places lie in is read once for them, and given back once, for the same proof', async () => {
  const texts = ['first chunk', 'second chunk'].map((text) => Buffer.from(text.padEnd(20_000, '.')));
  const entries = texts.map((bytes) => ({ hash: blobHashOf(bytes), size: bytes.length }));
  const { root, blobs: built } = buildManifest(entries, chunkingProfiles.small);
  for (const [index, { hash }] of entries.entries()) blobs.set(hash, texts[index] as Uint8Array);
  for (const { hash, bytes } of built) blobs.set(hash, bytes);
  here.set(root, 40_000);
  const challenge = { manifest: root, points: [0, 19_999, 20_000, 39_999] };
  const [answer] = await clock.run(giver.prove(asker, { nonce, items: [challenge] }), patienceMs);
  const [first, second] = entries.map(({ hash }) => hash) as [BlobHash, BlobHash];
  expect(reads).toBe(3);
  expect(givenBack).toEqual([first, second]);
  const proof = new ReplicaProof({ nonce, prover: 'giver' as PeerId, manifest: root });
  for (const hash of [root, first, first, second, second]) proof.add(hash, blobs.get(hash) as Uint8Array);
  expect(answer).toEqual(proof.digest());
});

test('a content that becomes whole between the lease and the proof is not proved as if it were bound', async () => {
  const [first, late] = [add('first'), add('late', { isHere: false })];
  clock.setTimer(0.5, () => here.set(late, 4));
  expect(await prove([first, late], 60_000)).toEqual(['proved', 'lacking']);
  expect(leases.isBound(late)).toBe(false);
  expect(await prove([first, late], 60_000)).toEqual(['proved', 'proved']);
  expect(leases.isBound(late)).toBe(true);
});

describe('a small content', () => {
  test.each([[undefined], [[0]], [[2]], [[0, 2]]])(
    'is proved by the same answer whether its blobs are read at once or later: points %j',
    async (points) => {
      const challenge = { manifest: add('text'), ...(points === undefined ? {} : { points }) };
      const answers = async (): Promise<unknown[]> => [
        ...(await clock.run(giver.prove(asker, { nonce, items: [challenge] }), patienceMs)),
        await clock.run(giver.expected('giver' as PeerId, nonce, challenge), patienceMs),
      ];
      const atOnce = await answers();
      isLater = true;
      expect(await answers()).toEqual(atOnce);
      expect(atOnce[0]).toBeInstanceOf(Uint8Array);
      expect(atOnce[0]).toEqual(atOnce[1]);
    },
  );

  test('that lacks its chunk is lacking, and looked at', async () => {
    const [whole, hollow] = [add('whole'), add('hollow')];
    blobs.delete(blobHashOf(Buffer.from('hollow')));
    expect(await prove([hollow, whole])).toEqual(['lacking', 'proved']);
    expect(doubted).toEqual([hollow]);
  });

  test('among many leaves the event loop its turns', async () => {
    const sleep = vi.spyOn(clock, 'sleep');
    const many = Array.from({ length: 128 }, (_, at) => add(`${at} ${'long '.repeat(800)}`));
    expect(new Set(await prove(many))).toEqual(new Set(['proved']));
    expect(sleep).toHaveBeenCalledTimes(4);
  });
});

test('a chunk is given back when it has been read for the proof, and nothing that is read later', async () => {
  isLater = true;
  const bytes = Buffer.from(Array.from({ length: 900_000 }, (_, at) => (at * 31 + (at >> 8)) & 0xff));
  const cuts = [0, 300_000, 600_000, bytes.length];
  const chunks = cuts.slice(1).map((end, at) => bytes.subarray(cuts[at], end));
  const parts = chunks.map((chunk) => ({ hash: blobHashOf(chunk), size: chunk.length }));
  const { root, blobs: built } = buildManifest(parts, defaultChunking);
  for (const chunk of chunks) blobs.set(blobHashOf(chunk), chunk);
  for (const { hash, bytes: blob } of built) blobs.set(hash, blob);
  here.set(root, bytes.length);
  const proof = new ReplicaProof({ nonce, prover: asker, manifest: root });
  proof.add(root, blobs.get(root) as Uint8Array);
  for (const [at, chunk] of chunks.entries()) proof.add((parts[at] as { hash: BlobHash }).hash, chunk);
  const given = await clock.run(giver.expected(asker, nonce, { manifest: root }), patienceMs);
  expect(given).toEqual(proof.digest());
  expect(givenBack).toEqual(parts.map(({ hash }) => hash));
});

describe('a disk that hangs', () => {
  test('is waited for as long as a slow one takes, and the others that are asked for are proved', async () => {
    const [sound, stuck] = [add('sound'), add('stuck', { hangs: true })];
    const startedMs = clock.monotonicMs();
    expect(await prove([stuck, sound])).toEqual(['busy', 'proved']);
    expect(clock.monotonicMs() - startedMs).toBeLessThan(25_000);
  });

  test('is not read again while as many reads hang as may run, and again once they have ended', async () => {
    const stuck = ['one', 'two'].map((text) => add(text, { hangs: true }));
    const sound = add('sound');
    expect(await prove([...stuck, sound])).toEqual(['busy', 'busy', 'busy']);
    const [startedMs, before] = [clock.monotonicMs(), reads];
    expect(await prove(Array.from({ length: 100 }, () => sound))).toEqual(Array.from({ length: 100 }, () => 'busy'));
    expect(await clock.run(giver.expected(asker, nonce, { manifest: sound }), patienceMs)).toBe(undefined);
    expect([clock.monotonicMs() - startedMs, reads - before]).toEqual([0, 0]);
    for (const end of hanging.values()) end();
    hanging.clear();
    await clock.advance(1);
    expect(await prove([...stuck, sound])).toEqual(['proved', 'proved', 'proved']);
  });

  test('keeps nobody waiting who wants to know what others are to answer', async () => {
    const stuck = add('stuck', { hangs: true });
    const startedMs = clock.monotonicMs();
    expect(await clock.run(giver.expected(asker, nonce, { manifest: stuck }), patienceMs)).toBe(undefined);
    expect(clock.monotonicMs() - startedMs).toBeLessThan(25_000);
  });
});
