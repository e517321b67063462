import { afterEach, describe, expect, test, vi } from 'vitest';
import { blake3, blobHashOf } from '../../../crdt/digest.ts';
import type { BlobHash, NodeId, PeerId } from '../../../crdt/ids.ts';
import { type ProofSubject, ReplicaProof } from '../../../crdt/replica-proof.ts';
import { replicasProtocol } from '../../../protocols/replicas/limits.ts';
import { encodeReplicaMessage, type ReplicaResponse } from '../../../protocols/replicas/messages.ts';
import { Channel } from '../../../protocols/wire/channel.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MeshError } from '../../../src/ports/mesh-error.ts';
import { Leases, leasesMax } from '../../../src/replication/leases.ts';
import type { NoAnswer } from '../../../src/replication/replica-prover.ts';
import { ReplicaMesh, type WrittenContent } from '../../support/replica-mesh.ts';

vi.setConfig({ testTimeout: 60_000 });

let mesh: ReplicaMesh;
afterEach(() => mesh.stop());

/** Two nodes that both hold everything. */
const startTwo = async (): Promise<void> => {
  mesh = await ReplicaMesh.start({ nodes: { north: {}, south: {} }, policy: { replicas: 2 } });
};

const startThree = async (): Promise<void> => {
  mesh = await ReplicaMesh.start({
    nodes: { north: {}, east: {}, south: {} },
    policy: { replicas: 1 },
  });
};

const manyBytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8)) & 0xff);

const proverOf = (name: string) => mesh.get(name).replication.prover;

const keptBy = async (name: string, written: WrittenContent): Promise<void> => {
  const node = mesh.get(name);
  await mesh.run(node.kv.transact((transaction) => node.contents.keep(transaction, written)));
};

/** A content that exactly these nodes hold. */
const heldBy = async (names: readonly string[], bytes: Uint8Array | string): Promise<WrittenContent> => {
  const written = await mesh.write('north', `key ${mesh.written.length}`, bytes);
  await mesh.settle(5_000);
  for (const node of mesh.nodes) {
    if (names.includes(node.name)) await keptBy(node.name, written);
    else await mesh.run(node.kv.transact((transaction) => node.contents.jobs.drop(transaction, written.manifest)));
  }
  return written;
};

describe('a challenge', () => {
  test.each([0, 1, 1_000, 700_000])(
    'of a content of %i bytes is met by who has it, whole and in part',
    async (length) => {
      await startTwo();
      const written = await heldBy(['north', 'south'], manyBytes(length));
      const south = mesh.get('south').nodeId;
      expect(await mesh.run(proverOf('north').whole(south, [written]))).toEqual([{ result: 'proved' }]);
      expect(await mesh.run(proverOf('north').sample(south, [written]))).toEqual([{ result: 'proved' }]);
    },
  );

  test('is answered as lacking by who does not have it, has lost a chunk or has a damaged one', async () => {
    await startTwo();
    const south = mesh.get('south');
    const absent = await heldBy(['north'], 'absent');
    const lost = await heldBy(['north', 'south'], manyBytes(600_000));
    const rotten = await heldBy(['north', 'south'], manyBytes(500_000));
    const chunkOf = (written: WrittenContent): BlobHash => [...written.blobs.keys()][1] as BlobHash;
    south.contents.blobs.delete(chunkOf(lost));
    south.contents.blobs.set(chunkOf(rotten), new Uint8Array(1));
    const proofs = await mesh.run(proverOf('north').whole(south.nodeId, [absent, lost, rotten]));
    expect(proofs.map(({ result }) => result)).toEqual(['lacking', 'lacking', 'lacking']);
  });

  test.each([
    ['whoever asks', 'north'],
    ['the holder', 'south'],
  ])('of many small contents is failed for none but the one that %s cannot read', async (_who, name) => {
    await startTwo();
    const south = mesh.get('south');
    const written: WrittenContent[] = [];
    for (let index = 0; index < 5; index += 1) written.push(await heldBy(['north', 'south'], `text ${index}`));
    const bad = [...(written[2] as WrittenContent).blobs.keys()];
    const { contents } = mesh.get(name);
    const { lend } = contents;
    contents.lend = (hash) => {
      if (bad.includes(hash)) throw new MeshError('io_error', 'the disk cannot read this');
      return lend.call(contents, hash);
    };
    const proofs = await mesh.run(proverOf('north').bind(south.nodeId, written));
    expect(proofs.map(({ result }) => result)).toEqual(['proved', 'proved', 'unreachable', 'proved', 'proved']);
    expect(proofs.map(({ boundUntilMs }) => boundUntilMs !== undefined)).toEqual([true, true, false, true, true]);
  });

  test('that is answered with what another node would answer is no proof', async () => {
    await startThree();
    const written = await heldBy(['north', 'east'], 'text');
    const [north, east, south] = ['north', 'east', 'south'].map((name) => mesh.get(name));
    if (north === undefined || east === undefined || south === undefined) throw new Error('three nodes');
    await south.stop();
    // A member that has nothing passes challenges on, and the answers back.
    const liar = mesh.hub.join(south.peerId);
    liar.handle(replicasProtocol, async (stream) => {
      const channel = new Channel(stream, { clock: mesh.clock });
      const onward = new Channel(await liar.open(east.peerId, replicasProtocol), { clock: mesh.clock });
      for (let bytes = await channel.receive(); bytes !== null; bytes = await channel.receive()) {
        await onward.send(bytes);
        await channel.send((await onward.receive()) as Uint8Array);
      }
    });
    await liar.start();
    await mesh.settle(1_000);
    expect(await mesh.run(north.replication.prover.whole(east.nodeId, [written]))).toEqual([{ result: 'proved' }]);
    expect(await mesh.run(north.replication.prover.whole(south.nodeId, [written]))).toEqual([{ result: 'wrong' }]);
    expect(north.falseProofs).toEqual([{ node: south.nodeId, manifest: written.manifest }]);
    expect(north.metrics.value('anabranch_replica_false_proofs_total')).toBe(1);
    await liar.stop();
  });

  test('about what nobody here holds is met by the chunks themselves', async () => {
    await startThree();
    const written = await heldBy(['east'], manyBytes(700_000));
    const { nodeId, contents } = mesh.get('east');
    expect(await mesh.run(proverOf('north').sample(nodeId, [written]))).toEqual([{ result: 'proved' }]);
    contents.blobs.clear();
    const [proof] = await mesh.run(proverOf('north').sample(nodeId, [written]));
    expect(proof?.result).toBe('lacking');
  });

  test('is not failed by a transfer that breaks while the chunks are fetched', async () => {
    await startThree();
    const written = await heldBy(['east'], manyBytes(700_000));
    const { nodeId, contents } = mesh.get('east');
    mesh.get('north').contents.fetchFrom = async () => {
      throw new MeshError('stream_failed', 'the connection broke');
    };
    const [proof] = await mesh.run(proverOf('north').sample(nodeId, [written]));
    expect(proof?.result).toBe('unreachable');
    expect(contents.blobs.size).toBeGreaterThan(0);
  });

  test('to a node that is not there, or that answers with too little, gives nothing', async () => {
    await startThree();
    const written = await heldBy(['north', 'south'], 'text');
    const south = mesh.get('south');
    await south.stop();
    const unreachable = (why: NoAnswer) => [{ result: 'unreachable', why }];
    expect(await mesh.run(proverOf('north').whole(south.nodeId, [written]))).toEqual(unreachable('broken'));
    const stranger = 'stranger' as NodeId;
    expect(await mesh.run(proverOf('north').whole(stranger, [written]))).toEqual(unreachable('not_asked'));
    const answers: ReplicaResponse[] = [
      { t: 'proofs', answers: [] },
      { t: 'ordered', taken: 1 },
    ];
    for (const answer of answers) {
      const rude = mesh.hub.join(south.peerId);
      rude.handle(replicasProtocol, async (stream) => {
        const channel = new Channel(stream, { clock: mesh.clock });
        while ((await channel.receive()) !== null) await channel.send(encodeReplicaMessage(answer));
      });
      await rude.start();
      await mesh.settle(1_000);
      expect(await mesh.run(proverOf('north').whole(south.nodeId, [written]))).toEqual(unreachable('broken'));
      await rude.stop();
      await mesh.settle(1_000);
    }
  });

  test('to a node that works on it for ever ends in a minute, and it is not asked again for another', async () => {
    await startThree();
    const written = await heldBy(['north', 'south'], 'text');
    const south = mesh.get('south');
    await south.stop();
    const slow = mesh.hub.join(south.peerId);
    let asked = 0;
    slow.handle(replicasProtocol, async (stream) => {
      const channel = new Channel(stream, { clock: mesh.clock });
      while ((await channel.receive()) !== null) {
        asked += 1;
        for (;;) {
          await channel.send(encodeReplicaMessage({ t: 'working' }));
          await mesh.clock.sleep(5_000);
        }
      }
    });
    await slow.start();
    await mesh.settle(1_000);
    const prove = () => mesh.run(proverOf('north').whole(south.nodeId, [written]));
    const startedMs = mesh.clock.monotonicMs();
    expect(await prove()).toEqual([{ result: 'unreachable', why: 'late' }]);
    expect(mesh.clock.monotonicMs() - startedMs).toBeLessThan(62_000);
    const before = [asked, mesh.clock.monotonicMs()];
    expect(await prove()).toEqual([{ result: 'unreachable', why: 'not_asked' }]);
    expect([asked, mesh.clock.monotonicMs()]).toEqual(before);
    await slow.stop();
    await south.restart();
    await mesh.settle(61_000);
    expect(await prove()).toEqual([{ result: 'proved' }]);
  });

  test('ends when nobody wants to know any more', async () => {
    await startThree();
    const written = await heldBy(['north', 'south'], 'text');
    const south = mesh.get('south');
    const { lend } = south.contents;
    south.contents.lend = (() => new Promise(() => undefined)) as unknown as typeof lend;
    const wanted = new AbortController();
    const startedMs = mesh.clock.monotonicMs();
    const asked = proverOf('north').sample(south.nodeId, [written], wanted.signal);
    await mesh.settle(1_000);
    wanted.abort(new Error('something else is to be done'));
    expect(await mesh.run(asked)).toEqual([{ result: 'unreachable', why: 'not_asked' }]);
    expect(mesh.clock.monotonicMs() - startedMs).toBeLessThan(1_100);
    south.contents.lend = lend;
    await mesh.settle(25_000);
    // That was no silence of its.
    expect(await mesh.run(proverOf('north').sample(south.nodeId, [written]))).toEqual([{ result: 'proved' }]);
  });

  test('about a small content looks at one place of it, and is not computed here for who lacks it', async () => {
    await startTwo();
    const absent = await heldBy(['north'], 'absent');
    const { contents, replication } = mesh.get('north');
    const read = vi.spyOn(contents, 'lend');
    const south = mesh.get('south').nodeId;
    expect(await mesh.run(replication.prover.sample(south, [absent]))).toEqual([{ result: 'lacking' }]);
    expect(read).not.toHaveBeenCalled();
    await keptBy('south', absent);
    expect(await mesh.run(replication.prover.sample(south, [absent]))).toEqual([{ result: 'proved' }]);
    // Its manifest and its chunk.
    expect(read).toHaveBeenCalledTimes(2);
    const places = [0, 1, 4_096, 16_384, 16_385].map((sizeBytes) => {
      return replication.prover.drawPoints({ ...absent, sizeBytes }).length;
    });
    expect(places).toEqual([0, 1, 1, 1, 3]);
  });

  test('costs reads, so that a peer which asks too much is put off', async () => {
    await startTwo();
    const written = await heldBy(['north', 'south'], manyBytes(1_000_000));
    const south = mesh.get('south').nodeId;
    const many = Array.from({ length: 600 }, () => written);
    const first = await mesh.run(proverOf('north').whole(south, many));
    expect(first.filter(({ result }) => result === 'proved').length).toBeGreaterThan(200);
    expect(first.filter(({ result }) => result === 'unreachable').length).toBeGreaterThan(100);
    await mesh.settle(10_000);
    expect(await mesh.run(proverOf('north').whole(south, [written]))).toEqual([{ result: 'proved' }]);
  });
});

describe('a proof', () => {
  const subject: ProofSubject = {
    nonce: new Uint8Array(32).fill(1),
    prover: 'peer' as PeerId,
    manifest: 'a'.repeat(52) as BlobHash,
  };
  const proofOf = (changes: Partial<ProofSubject>, ...blobs: string[]): string => {
    const proof = new ReplicaProof({ ...subject, ...changes });
    for (const blob of blobs) proof.add('b'.repeat(51).concat('a') as BlobHash, Buffer.from(blob));
    return Buffer.from(proof.digest()).toString('hex');
  };

  test('is another for every nonce, prover, content, and for other or fewer bytes', async () => {
    await startTwo();
    const other = blake3(Buffer.from('other'));
    const all = [
      proofOf({}, 'one', 'two'),
      proofOf({ nonce: other }, 'one', 'two'),
      proofOf({ prover: 'other' as PeerId }, 'one', 'two'),
      proofOf({ manifest: 'b'.repeat(51).concat('a') as BlobHash }, 'one', 'two'),
      proofOf({}, 'one', 'twp'),
      proofOf({}, 'one'),
      proofOf({}, 'two', 'one'),
      proofOf({}),
    ];
    expect(new Set(all).size).toBe(all.length);
    expect(proofOf({}, 'one', 'two')).toBe(all[0]);
  });
});

describe('a lease', () => {
  test('binds who gives it for as long as it says, and no longer', async () => {
    await startTwo();
    const written = await heldBy(['north', 'south'], 'text');
    const south = mesh.get('south');
    const [proof] = await mesh.run(proverOf('north').bind(south.nodeId, [written]));
    expect(proof?.result).toBe('proved');
    const untilMs = proof?.boundUntilMs ?? 0;
    expect(untilMs).toBeGreaterThanOrEqual(mesh.clock.monotonicMs() + 59_000);
    while (mesh.clock.monotonicMs() < untilMs) {
      expect(south.replication.leases.isBound(written.manifest)).toBe(true);
      await mesh.settle(5_000);
    }
    await mesh.settle(60_000);
    expect(south.replication.leases.isBound(written.manifest)).toBe(false);
    expect(south.replication.leases.count).toBe(0);
  });

  test('runs its whole length again after a crash', async () => {
    await startTwo();
    const written = await heldBy(['north', 'south'], 'text');
    const south = mesh.get('south');
    await mesh.run(proverOf('north').bind(south.nodeId, [written]));
    await mesh.settle(50_000);
    south.crash();
    await south.restart();
    expect(south.replication.leases.isBound(written.manifest)).toBe(true);
    await mesh.settle(50_000);
    expect(south.replication.leases.isBound(written.manifest)).toBe(true);
    await mesh.settle(60_000);
    expect(south.replication.leases.isBound(written.manifest)).toBe(false);
  });

  test('keeps its giver from dropping, whoever asks', async () => {
    await startThree();
    const written = await heldBy(['north', 'east', 'south'], 'text');
    const [desired] = mesh.desired(written) as [string];
    const others = mesh.nodes.filter(({ name }) => name !== desired);
    const [one, two] = others as [(typeof others)[number], (typeof others)[number]];
    // The one is bound to the other, and so stays; the other may go.
    await mesh.run(two.replication.prover.bind(one.nodeId, [written]));
    expect((await mesh.run(one.replication.dropper.drop([written.manifest]))).get(written.manifest)).toBe('bound');
    expect((await mesh.run(two.replication.dropper.drop([written.manifest]))).get(written.manifest)).toBe('dropped');
    expect(mesh.holders(written).sort()).toEqual([desired, one.name].sort());
  });

  test('is not given for what is not there', async () => {
    await startTwo();
    const written = await heldBy(['north'], 'text');
    const south = mesh.get('south');
    const [proof] = await mesh.run(proverOf('north').bind(south.nodeId, [written]));
    expect(proof).toEqual({ result: 'lacking' });
    expect(south.replication.leases.isBound(written.manifest)).toBe(false);
  });

  test('is not given when too many run, until some are over', async () => {
    await startTwo();
    const { clock } = mesh;
    const { kv } = mesh.get('south');
    const leases = new Leases({ kv, clock, log: new MemoryLog() });
    const { nodeId } = mesh.get('north');
    const manifests = Array.from({ length: leasesMax + 1 }, (_, at) => blobHashOf(Buffer.from(`${at}`)));
    const granted = await mesh.run(
      kv.transact((transaction) => manifests.map((manifest) => leases.grant(transaction, manifest, nodeId, 1_000))),
    );
    expect(granted.filter((isGranted) => !isGranted)).toHaveLength(1);
    expect(granted.at(-1)).toBe(false);
    await mesh.settle(40_000);
    expect(leases.count).toBe(0);
    const [first] = manifests as [BlobHash];
    expect(await mesh.run(kv.transact((transaction) => leases.grant(transaction, first, nodeId, 1_000)))).toBe(true);
    leases.stop();
  });

  test('is on disk once it was given, also after a longer one could not be written', async () => {
    await startTwo();
    const { clock } = mesh;
    const { nodeId } = mesh.get('north');
    const manifest = blobHashOf(Buffer.from('content'));
    const kv = new MemoryKv(clock, { name: 'leases' });
    const leases = new Leases({ kv, clock, log: new MemoryLog() });
    const grant = (lengthMs: number) =>
      mesh.run(kv.transact((transaction) => leases.grant(transaction, manifest, nodeId, lengthMs)));
    const remainsMs = async (): Promise<number> => {
      const after = new Leases({ kv: kv.clone(), clock, log: new MemoryLog() });
      after.start();
      const startedMs = clock.monotonicMs();
      while (after.isBound(manifest)) await mesh.settle(1_000);
      after.stop();
      return clock.monotonicMs() - startedMs;
    };
    kv.failTransactions('io_error');
    await expect(grant(60_000)).rejects.toMatchObject({ code: 'io_error' });
    expect(await grant(10_000)).toBe(true);
    expect(await remainsMs()).toBe(10_000);
    kv.failTransactions('io_error');
    await expect(grant(60_000)).rejects.toMatchObject({ code: 'io_error' });
    // What is on disk is of the shorter one that was given before.
    expect(await grant(30_000)).toBe(true);
    expect(await remainsMs()).toBe(30_000);
    leases.stop();
  });
});
