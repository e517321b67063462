import { afterEach, describe, expect, test, vi } from 'vitest';
import type { BlobHash } from '../../../crdt/ids.ts';
import type { DrainProgress } from '../../../src/replication/drain-progress.ts';
import { ReplicaMesh, type ReplicaMeshOptions, type WrittenContent } from '../../support/replica-mesh.ts';

vi.setConfig({ testTimeout: 60_000 });

let mesh: ReplicaMesh;
afterEach(() => mesh.stop());

const storage = ['n1', 'n2', 'n3'];

/** A coordinator that holds nothing, and three that do. */
const start = async (options: Partial<ReplicaMeshOptions> = {}): Promise<void> => {
  mesh = await ReplicaMesh.start({
    nodes: { c: {}, n1: {}, n2: {}, n3: {} },
    coordinators: ['c'],
    storage,
    policy: { replicas: 1 },
    repairDelayMs: 30_000,
    ...options,
  });
};

const drain = (name: string, draining = true): void =>
  mesh.change(() => mesh.control.add({ type: 'drain', nodeId: mesh.get(name).nodeId, draining }));

const look = async (name: string): Promise<DrainProgress> => {
  const progress = await mesh.run(mesh.get('c').replication.drainProgress(mesh.get(name).nodeId));
  if (progress === undefined) throw new Error('c is a coordinator');
  return progress;
};

const keptBy = async (names: readonly string[], written: WrittenContent): Promise<void> => {
  for (const name of names) {
    const node = mesh.get(name);
    await mesh.run(node.kv.transact((transaction) => node.contents.keep(transaction, written)));
  }
  await mesh.settle(10_000);
};

const audit = async (): Promise<void> => {
  await mesh.run(mesh.get('c').replication.auditor.audit('demand'));
};

/** A content, the node that is to hold it, and another. */
const write = async (): Promise<{ written: WrittenContent; holder: string; other: string; third: string }> => {
  const written = await mesh.write('c', 'a', 'the only bytes');
  await mesh.settle(10_000);
  const [holder] = mesh.desired(written) as [string];
  const [other, third] = storage.filter((name) => name !== holder) as [string, string];
  return { written, holder, other, third };
};

describe('a node that drains is not empty', () => {
  test('while who is to hold its content is gone, and who stands in has not fetched it', async () => {
    await start();
    const { written, holder, other, third } = await write();
    await keptBy([other], written);
    await audit();
    mesh.get(third).contents.mayPull = () => false;
    mesh.get(holder).crash();
    await mesh.settle(60_000);
    drain(other);
    await audit();
    await mesh.settle(2_000);
    expect(mesh.holders(written).filter((name) => mesh.get(name).isUp)).toEqual([other]);
    expect((await look(other)).remaining).toBe(1);
    mesh.get(third).contents.mayPull = () => true;
    await audit();
    await mesh.settle(10_000);
    expect((await look(other)).remaining).toBe(0);
    expect(mesh.get(third).holds(written)).toBe(true);
  });

  test('while who is to hold its content is only away', async () => {
    await start();
    const { written, holder, other } = await write();
    await keptBy([other], written);
    drain(other);
    expect((await look(other)).remaining).toBe(0);
    await mesh.get(holder).stop();
    expect((await look(other)).remaining).toBe(1);
    await mesh.get(holder).restart();
    await mesh.settle(10_000);
    expect((await look(other)).remaining).toBe(0);
  });

  test('while so many are gone that its copy is one of those that there are to be', async () => {
    await start({ policy: { replicas: 2 } });
    const { written } = await write();
    const [gone, left] = mesh.desired(written) as [string, string];
    const other = storage.find((name) => ![gone, left].includes(name)) as string;
    await keptBy([other], written);
    drain(other);
    mesh.get(gone).crash();
    await mesh.settle(60_000);
    expect((await look(other)).remaining).toBe(1);
  });

  test('by proofs of before the drain, nor by those for a drain that was taken back', async () => {
    await start();
    const { written, holder, other } = await write();
    await keptBy([other], written);
    await audit();
    const { contents } = mesh.get(holder);
    const kept = [...contents.blobs];
    contents.blobs.clear();
    drain(other);
    expect((await look(other)).remaining).toBe(1);
    for (const [hash, bytes] of kept) contents.blobs.set(hash, bytes);
    await audit();
    expect((await look(other)).remaining).toBe(0);
    drain(other, false);
    contents.blobs.clear();
    drain(other);
    expect((await look(other)).remaining).toBe(1);
  });

  test('while the copy of the coordinator that looks cannot be read', async () => {
    await start({ storage: ['c', 'n1'] });
    const written = await mesh.write('n1', 'a', 'some bytes');
    await keptBy(['c', 'n1'], written);
    drain('n1');
    await mesh.settle(1_000);
    const { contents } = mesh.get('c');
    const { lend } = contents;
    contents.lend = () => undefined;
    expect((await look('n1')).remaining).toBe(1);
    contents.lend = lend;
    expect((await look('n1')).remaining).toBe(0);
  });

  test('while a version cannot be read, which may have its content', async () => {
    await start();
    const { versions, replication } = mesh.get('c');
    const { written, holder, other } = await write();
    await keptBy([other], written);
    const unread = await mesh.write(holder, 'b', 'bytes that nobody knows of');
    versions.damaged.add(unread.version);
    await keptBy([other], unread);
    drain(other);
    expect(await look(other)).toMatchObject({ contents: 2, remaining: 1, unreadable: 1 });
    const { nodeId } = mesh.get(other);
    expect((await mesh.run(replication.mesh.drain(nodeId))).progress?.unreadable).toBe(1);
    await mesh.settle(3_600_000);
    expect((await look(other)).remaining).toBe(1);
    versions.damaged.clear();
    await mesh.settle(10_000);
    expect((await mesh.run(replication.mesh.drain(nodeId))).progress).toMatchObject({ unreadable: 0 });
  });

  test('for the first minutes after a content is seen of which no version is known, and then it is', async () => {
    await start();
    const { kv, contents } = mesh.get('n1');
    await mesh.run(
      kv.transact((transaction) => contents.jobs.markComplete(transaction, 'a'.repeat(52) as BlobHash, 10)),
    );
    await mesh.settle(10_000);
    drain('n1');
    expect(await look('n1')).toMatchObject({ contents: 1, remaining: 1, unreadable: 0 });
    await mesh.settle(4 * 60_000);
    expect((await look('n1')).remaining).toBe(1);
    await mesh.settle(61_000);
    expect((await look('n1')).remaining).toBe(0);
  });
});

test('a look at a drain does not wait for a holder that does not answer', async () => {
  await start();
  const { written, holder, other } = await write();
  await keptBy([other], written);
  drain(other);
  const { contents } = mesh.get(holder);
  const { lend } = contents;
  contents.lend = (() => new Promise(() => undefined)) as unknown as typeof lend;
  const startedMs = mesh.clock.monotonicMs();
  expect((await look(other)).remaining).toBe(1);
  expect(mesh.clock.monotonicMs() - startedMs).toBeLessThan(25_000);
  contents.lend = lend;
});
