import { describe, expect, test } from 'vitest';
import { controlLogRegister } from '../../../../crdt/certificate.ts';
import type { VersionId } from '../../../../crdt/ids.ts';
import { versionKey } from '../../../../src/node/storage-keys.ts';
import type { KvReader } from '../../../../src/ports/kv.ts';
import { acceptorStatesOf } from '../../../sim/checkers/acceptor-rows.ts';
import { Mesh } from '../../../support/mesh.ts';

const names = ['alice', 'bob', 'carol'];

/** The heads that a disk has votes for, and those of them whose records it has. */
function votedFor(store: KvReader): { readonly heads: readonly string[]; readonly held: readonly string[] } {
  const states = [...acceptorStatesOf(store)].filter(([register]) => register !== controlLogRegister);
  const heads = states.flatMap(([, { accepted }]) => accepted?.value.head ?? []);
  return { heads, held: heads.filter((head) => store.get(versionKey(head as VersionId)) !== undefined) };
}

test('whatever a power loss leaves of a disk, no vote is on it without the record it is for', async () => {
  const mesh = await Mesh.start(names, 'votes and records', names);
  const writes = Array.from({ length: 30 }, (_, at) =>
    mesh
      .get('bob')
      .node.put({ ns: 'test', key: `k${at}`, author: 'admin', body: [Buffer.from('x')], commit: 'quorum' }),
  );
  let looked = 0;
  for (let step = 0; step < 600; step += 1) {
    await mesh.settle(0.25);
    for (const name of names) {
      const { heads, held } = votedFor(mesh.get(name).kv.durable());
      expect(held).toEqual(heads);
      looked += heads.length;
    }
  }
  expect((await Promise.all(writes)).map((written) => written.ok)).toEqual(writes.map(() => true));
  expect(looked).toBeGreaterThan(0);
  await mesh.stop();
});

test('a vote on a head that came along with it does not wait for the flush of its record', async () => {
  const mesh = await Mesh.start(names, 'one flush', names);
  const written = mesh.get('bob').node.put({
    ns: 'test',
    key: 'plan',
    author: 'admin',
    body: [Buffer.from('text')],
    commit: 'quorum',
  });
  const heldSince = new Map<string, number>();
  const votedSince = new Map<string, number>();
  for (let step = 0; step < 400; step += 1) {
    await mesh.settle(0.25);
    const version = mesh.heads('bob', 'plan')[0] as VersionId | undefined;
    if (version === undefined) continue;
    for (const name of names) {
      const disk = mesh.get(name).kv.durable();
      if (disk.get(versionKey(version)) !== undefined && !heldSince.has(name)) heldSince.set(name, step);
      if (votedFor(disk).heads.includes(version) && !votedSince.has(name)) votedSince.set(name, step);
    }
  }
  expect((await written).ok).toBe(true);
  expect(names.map((name) => heldSince.has(name))).toEqual(names.map(() => true));
  // A majority is asked for its votes: the other one learns of it by the certificate.
  expect(votedSince.size).toBe(2);
  expect(names.some((name) => votedSince.get(name) === heldSince.get(name))).toBe(true);
  await mesh.stop();
});

test('a version leaves its writer when it is on disk there, and the writer’s own vote goes to disk with it', async () => {
  const mesh = await Mesh.start(names, 'own vote', names);
  const ownVotes: boolean[] = [];
  for (let at = 0; at < 12; at += 1) {
    const key = `own-${at}`;
    const body = [Buffer.from('text')];
    const written = mesh.get('bob').node.put({ ns: 'test', key, author: 'admin', body, commit: 'quorum' });
    let flushed: number | undefined;
    let voted: number | undefined;
    for (let step = 0; step < 200; step += 1) {
      await mesh.settle(0.25);
      const durable = mesh.get('bob').kv.durable();
      const known = names.map((name) => mesh.heads(name, key)[0]).find((head) => head !== undefined) as VersionId;
      if (known === undefined) continue;
      const isFlushed = durable.get(versionKey(known)) !== undefined;
      const others = names.filter((name) => name !== 'bob' && mesh.heads(name, key).length > 0);
      if (!isFlushed) expect(others).toEqual([]);
      if (isFlushed) flushed ??= step;
      if (votedFor(durable).heads.includes(known)) voted ??= step;
    }
    expect((await written).ok).toBe(true);
    ownVotes.push(voted !== undefined && voted === flushed);
  }
  // Of the objects whose proposer is the writer's own node.
  expect(ownVotes.filter(Boolean).length).toBeGreaterThan(0);
  await mesh.stop();
});

test('a write that the disk refused is nowhere, and the one after it stands alone', async () => {
  const mesh = await Mesh.start(names, 'refused', names);
  await mesh.settle(2_000);
  for (let at = 0; at < 12; at += 1) {
    const write = (text: string) =>
      mesh.run(
        mesh.get('bob').node.put({
          ns: 'test',
          key: `refused-${at}`,
          author: 'admin',
          body: [Buffer.from(text)],
          commit: 'quorum',
        }),
      );
    mesh.get('bob').kv.failTransactions('disk_full', 1);
    expect(await write('refused')).toMatchObject({ ok: false, error: { code: 'disk_full' } });
    mesh.get('bob').kv.clearFault();
    expect(await write('taken')).toMatchObject({ ok: true });
    await mesh.settle(1_000);
    for (const name of names) {
      const graph = mesh.get(name).node.graph({ ns: 'test', key: `refused-${at}` });
      expect(graph.ok && graph.value.versions).toHaveLength(1);
    }
  }
  expect(mesh.get('bob').log.linesOf('incarnation:abandoned')).toEqual([]);
  await mesh.stop();
});

describe('a crash at any moment of a confirmation', () => {
  test.each(names)('of %s leaves one chain, and everything is confirmed in the end', async (crashed) => {
    for (let delayMs = 1; delayMs <= 20; delayMs += 1) {
      const mesh = await Mesh.start(names, `crash ${crashed} ${delayMs}`, names);
      const body = [Buffer.from('text')];
      const write = mesh.get('bob').node.put({ ns: 'test', key: 'plan', author: 'admin', body, commit: 'quorum' });
      write.catch(() => undefined);
      await mesh.settle(delayMs);
      await mesh.crash(crashed);
      await mesh.settle(500);
      await mesh.startNode(crashed);
      await mesh.settle(2_000);
      // What bob had not flushed when it crashed was acknowledged to nobody.
      const written = mesh.heads('bob', 'plan')[0] ?? (await mesh.put('bob', 'plan', 'again')).version;
      const head = (name: string): string | undefined => {
        const graph = mesh.get(name).node.graph({ ns: 'test', key: 'plan' });
        return graph.ok ? (graph.value.confirmedHead ?? undefined) : undefined;
      };
      await mesh.until(() => names.every((name) => head(name) === written));
      expect(mesh.heads('alice', 'plan')).toEqual([written]);
      await mesh.stop();
    }
  });
});
