import { afterEach, describe, expect, test, vi } from 'vitest';
import type { NodeId } from '../../../crdt/ids.ts';
import { fiveNodes, ReplicaMesh, type ReplicaMeshOptions, type WrittenContent } from '../../support/replica-mesh.ts';

// Minutes of virtual time, on machines that may be busy.
vi.setConfig({ testTimeout: 60_000 });

let mesh: ReplicaMesh;
afterEach(() => mesh.stop());

const start = async (options: Partial<ReplicaMeshOptions> = {}): Promise<void> => {
  mesh = await ReplicaMesh.start({ ...fiveNodes, ...options });
};

/** A node that need not hold a content. */
const outsideOf = (written: WrittenContent): (typeof mesh.nodes)[number] => {
  const names = mesh.desired(written);
  return mesh.nodes.find(({ name }) => !names.includes(name)) ?? expect.fail('everybody is to hold it');
};
describe('two nodes that want to drop the same content', () => {
  test('never leave it with fewer proved copies than its policy asks', async () => {
    await start({ policy: { replicas: 2 } });
    const written = await mesh.writeMany(20);
    await mesh.settle(20_000);
    // Everybody has everything, then two who need not try at once, again and again.
    for (const node of mesh.nodes) {
      for (const each of written)
        await mesh.run(node.kv.transact((transaction) => node.contents.keep(transaction, each)));
    }
    const drops = mesh.nodes.map((node) => node.replication.dropper.drop(written.map(({ manifest }) => manifest)));
    await mesh.run(Promise.all(drops));
    for (const each of written) expect(mesh.holders(each).length).toBeGreaterThanOrEqual(2);
    await mesh.settle(70_000);
    for (let time = 0; time < 3; time += 1) {
      for (const node of mesh.nodes)
        await mesh.run(node.replication.dropper.drop(written.map(({ manifest }) => manifest)));
      await mesh.settle(70_000);
    }
    for (const each of written) expect(mesh.holders(each).sort()).toEqual(mesh.desired(each).sort());
  });

  test('keep it when a version with the same bytes comes meanwhile', async () => {
    await start({ policy: { replicas: 2 } });
    const first = await mesh.write('north', 'first', 'the same bytes');
    await mesh.settle(20_000);
    const names = mesh.nodes.map(({ name }) => name);
    const outside = names.find((name) => !mesh.desired(first).includes(name)) as string;
    const key = Array.from({ length: 100 }, (_, at) => `other ${at}`).find((name) =>
      mesh.desired({ ...first, key: name }).includes(outside),
    ) as string;
    const node = mesh.get(outside);
    await mesh.run(node.kv.transact((transaction) => node.contents.keep(transaction, first)));
    const dropping = node.replication.dropper.drop([first.manifest]);
    // The holders are reading by now; their proofs are on their way.
    await mesh.settle(3);
    await mesh.write(outside, key, 'the same bytes');
    expect((await mesh.run(dropping)).get(first.manifest)).not.toBe('dropped');
    expect(node.holds(first)).toBe(true);
  });

  test('rely on leases that were given to them a moment ago, and on no older ones', async () => {
    await start({ policy: { replicas: 2 } });
    const written = await mesh.write('north', 'first', 'some bytes');
    await mesh.settle(20_000);
    const outside = outsideOf(written);
    const { dropper, prover } = outside.replication;
    const holders = mesh.desired(written).map((name) => mesh.get(name).nodeId);
    const dropBound = async (forMs: number) => {
      await mesh.run(outside.kv.transact((transaction) => outside.contents.keep(transaction, written)));
      const asked = vi.spyOn(prover, 'bind');
      const untilMs = mesh.clock.monotonicMs() + forMs;
      const bound = () => new Map(holders.map((node) => [node, untilMs] as const));
      const results = await mesh.run(dropper.drop([written.manifest], bound));
      const count = asked.mock.calls.length;
      asked.mockRestore();
      return [results.get(written.manifest), count];
    };
    expect(await dropBound(60_000)).toEqual(['dropped', 0]);
    expect(await dropBound(30_000)).toEqual(['dropped', 2]);
  });

  test('rely on no lease of a holder of which nothing was heard for ten seconds, and ask it again', async () => {
    await start({ policy: { replicas: 2 } });
    const written = await mesh.write('north', 'first', 'some bytes');
    await mesh.settle(20_000);
    const outside = outsideOf(written);
    const { dropper, prover } = outside.replication;
    const [quiet, other] = mesh.desired(written).map((name) => mesh.get(name).nodeId) as [NodeId, NodeId];
    const asked = vi.spyOn(prover, 'bind');
    const untilMs = mesh.clock.monotonicMs() + 60_000;
    const bound = () => new Map([quiet, other].map((node) => [node, untilMs] as const));
    for (const [silentMs, asks] of [
      [10_000, []],
      [10_001, [quiet]],
    ] as const) {
      asked.mockClear();
      mesh.silentMs.set(quiet, silentMs);
      await mesh.run(outside.kv.transact((transaction) => outside.contents.keep(transaction, written)));
      expect((await mesh.run(dropper.drop([written.manifest], bound))).get(written.manifest)).toBe('dropped');
      expect(asked.mock.calls.map(([node]) => node)).toEqual(asks);
    }
  });

  test('keep it when a holder that has proved it falls silent while another is waited for, though no connection broke', async () => {
    await start({ policy: { replicas: 2 } });
    const written = await mesh.write('north', 'first', 'some bytes');
    await mesh.settle(20_000);
    const outside = outsideOf(written);
    await mesh.run(outside.kv.transact((transaction) => outside.contents.keep(transaction, written)));
    const [first, second] = mesh.desired(written).map((name) => mesh.get(name).nodeId) as [NodeId, NodeId];
    const { dropper, prover } = outside.replication;
    const bind = prover.bind.bind(prover);
    vi.spyOn(prover, 'bind').mockImplementation(async (node, contents) => {
      if (node === second) await mesh.clock.sleep(20_000);
      return bind(node, contents);
    });
    const dropping = dropper.drop([written.manifest]);
    await mesh.settle(2_000);
    mesh.silentMs.set(first, 16_000);
    expect((await mesh.run(dropping)).get(written.manifest)).toBe('too_few_proofs');
    // It was only quiet: then the next attempt does it.
    mesh.silentMs.delete(first);
    expect((await mesh.run(dropper.drop([written.manifest]))).get(written.manifest)).toBe('dropped');
  });

  test('keep it when a holder that has proved it is disconnected while another is waited for', async () => {
    await start({ policy: { replicas: 2 } });
    const written = await mesh.write('north', 'first', 'some bytes');
    await mesh.settle(20_000);
    const outside = outsideOf(written);
    await mesh.run(outside.kv.transact((transaction) => outside.contents.keep(transaction, written)));
    const [first, second] = mesh.desired(written).map((name) => mesh.get(name)) as [typeof outside, typeof outside];
    const { dropper, prover } = outside.replication;
    const bind = prover.bind.bind(prover);
    vi.spyOn(prover, 'bind').mockImplementation(async (node, contents) => {
      if (node === second.nodeId) await mesh.clock.sleep(10_000);
      return bind(node, contents);
    });
    const dropping = dropper.drop([written.manifest]);
    await mesh.settle(2_000);
    first.crash();
    await first.restart({ isWiped: true });
    expect((await mesh.run(dropping)).get(written.manifest)).toBe('too_few_proofs');
  });

  test('keep it while one of its holders only says that it has it', async () => {
    await start({ policy: { replicas: 2 } });
    const written = await mesh.write('north', 'first', 'some bytes');
    await mesh.settle(20_000);
    const [holder] = mesh.desired(written) as [string];
    const outside = outsideOf(written);
    await mesh.run(outside.kv.transact((transaction) => outside.contents.keep(transaction, written)));
    const { blobs } = mesh.get(holder).contents;
    const kept = [...blobs];
    blobs.clear();
    const drop = async () =>
      (await mesh.run(outside.replication.dropper.drop([written.manifest]))).get(written.manifest);
    expect(await drop()).toBe('too_few_proofs');
    for (const [hash, bytes] of kept) blobs.set(hash, bytes);
    expect(await drop()).toBe('dropped');
  });
});

describe('what a node wrote that need not hold it', () => {
  const minuteMs = 60_000;

  /** Writes at `north`, where nothing is placed, while `west` is gone, which is alone in its place and in no rack. */
  const writeWithoutWest = async (diversity: Readonly<Record<string, number>>): Promise<WrittenContent[]> => {
    mesh = await ReplicaMesh.start({
      nodes: { north: {}, east: { dc: 'a', rack: '1' }, south: { dc: 'a', rack: '2' }, west: { dc: 'b' } },
      storage: ['east', 'south', 'west'],
      policy: { replicas: 2, diversity },
      repairDelayMs: minuteMs,
    });
    await mesh.get('west').stop();
    await mesh.settle(2 * minuteMs);
    const written = await mesh.writeMany(12);
    expect(written.some((each) => mesh.desired(each).includes('west'))).toBe(true);
    await mesh.settle(minuteMs);
    for (const each of written) expect(mesh.holders(each)).toEqual(['north', 'east', 'south']);
    return written;
  };

  test('stays, and is waited for no longer, where its policy is met neither with a holder that is gone nor with who stands in for it', async () => {
    const written = await writeWithoutWest({ dc: 2, rack: 2 });
    const { intents } = mesh.get('north').replication;
    expect(intents.pending).toBe(0);
    await mesh.get('west').restart({ isClean: true });
    await mesh.settle(minuteMs);
    for (const each of written) expect(mesh.holders(each)).toContain('north');
    expect(intents.pending).toBe(0);
  });

  test('stays until a holder is back without which its policy is not met, and nobody reads it over and over meanwhile', async () => {
    const written = await writeWithoutWest({ dc: 2 });
    const { intents, prover } = mesh.get('north').replication;
    const asked = vi.spyOn(prover, 'bind');
    await mesh.settle(10 * minuteMs);
    expect([intents.pending, asked.mock.calls.length]).toEqual([written.length, 0]);
    await mesh.get('west').restart({ isClean: true });
    await mesh.settle(minuteMs);
    expect(intents.pending).toBe(0);
    for (const each of written) expect(mesh.holders(each)).not.toContain('north');
  });
});
