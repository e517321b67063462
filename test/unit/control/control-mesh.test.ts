import { afterEach, describe, expect, it, vi } from 'vitest';
import type { PeerId } from '../../../crdt/ids.ts';
import type { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import type { AskedOperation, Outcome } from '../../../src/node/api.ts';
import { operationId } from '../../support/control-log.ts';
import { ControlMesh } from '../../support/control-mesh.ts';

vi.setConfig({ testTimeout: 60_000 });

let mesh: ControlMesh;
afterEach(() => mesh.stop());

const policy = (replicas: number): AskedOperation => ({ type: 'namespace', ns: 'docs', policy: { replicas } });
const replicasAt = (name: string): number | undefined => {
  const found = mesh.get(name).node.cluster.namespace('docs');
  return found.ok ? found.value.policy.replicas : undefined;
};
const codeOf = (outcome: Outcome<unknown>): string => (outcome.ok ? 'ok' : outcome.error.code);
const written = (key: string) => ({ ns: 'test', key, body: [Buffer.from(key)], author: 'ada' });
const entriesOf = (name: string) => mesh.get(name).node.cluster.entries({ limit: 1_000 }).entries;

describe('the control log of a mesh', () => {
  it('commits what any node asks for, with its effect on every node', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c', 'd', 'e'], 3);
    expect(await mesh.change('a', policy(2))).toMatchObject({ ok: true, value: { seq: 1 } });
    expect(await mesh.change('e', policy(5))).toMatchObject({ ok: true, value: { seq: 2 } });
    await mesh.settle(500);
    for (const name of mesh.nodes.keys()) {
      expect(replicasAt(name)).toBe(5);
      expect(entriesOf(name)).toEqual(entriesOf('a'));
    }
  });

  it('decides between two who ask at once, and both are told the truth', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c', 'd'], 3);
    const asked = ['a', 'b', 'c', 'd', 'a', 'b'].map((name, at) => mesh.change(name, policy(at + 1)));
    const outcomes = await Promise.all(asked);
    expect(outcomes.map(codeOf)).toEqual(Array(6).fill('ok'));
    const seqs = outcomes.map((outcome) => (outcome.ok ? outcome.value.seq : 0));
    expect(seqs.toSorted()).toEqual([1, 2, 3, 4, 5, 6]);
    const member = mesh.memberOf('new');
    const rivals = await Promise.all([
      mesh.change('a', { type: 'admit', member }),
      mesh.change('b', { type: 'admit', member: { ...member, nodeId: mesh.memberOf('other').nodeId } }),
    ]);
    expect(rivals.map(codeOf).toSorted()).toEqual(['name_taken', 'ok']);
  });

  it('answers a minority at once, and a refusal leaves nothing', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c'], 3);
    mesh.partition(['a'], ['b', 'c']);
    await mesh.settle();
    const before = mesh.clock.monotonicMs();
    const refused = await mesh.change('a', policy(2), { operationId: operationId('minority') });
    expect(refused).toMatchObject({
      ok: false,
      error: { code: 'quorum_unavailable', detail: { operationId: operationId('minority') } },
    });
    expect(mesh.clock.monotonicMs() - before).toBeLessThan(10);
    expect(codeOf(await mesh.change('b', { type: 'remove', nodeId: mesh.memberOf('nobody').nodeId }))).toBe(
      'unknown_node',
    );
    expect(codeOf(await mesh.change('b', { type: 'labels', nodeId: mesh.get('b').nodeId, labels: { DC: 'x' } }))).toBe(
      'invalid_request',
    );
    expect(await mesh.put('a', 'offline', 'writes go on')).toMatchObject({ ok: true });
    expect(await mesh.change('c', policy(4))).toMatchObject({ ok: true, value: { seq: 1 } });
    mesh.hub.heal();
    await mesh.until(() => mesh.seq('a') === 1);
    expect(entriesOf('a')).toEqual(entriesOf('b'));
    await mesh.until(() => mesh.heads('b', 'offline') === 1);
  });

  it('does a call once that is made twice, anywhere, and not another under its name', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c', 'd'], 3);
    const id = operationId('once');
    const first = await mesh.change('a', policy(2), { operationId: id });
    await mesh.settle(500);
    expect(await mesh.change('d', policy(2), { operationId: id })).toEqual(first);
    expect(await mesh.change('a', policy(2), { operationId: id, reason: 'again' })).toEqual(first);
    expect(codeOf(await mesh.change('b', policy(3), { operationId: id }))).toBe('operation_reused');
    const both = await Promise.all(
      ['b', 'c'].map((name) => mesh.change(name, policy(7), { operationId: operationId('both') })),
    );
    expect(both[0]).toEqual(both[1]);
    expect(mesh.seq('b')).toBe(2);
  });

  it('tells who gives up that the outcome is unknown, and the retry what it was', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c'], 3);
    const stopped = new AbortController();
    const id = operationId('given up');
    const asked = mesh.get('a').node.cluster.change({
      operation: policy(2),
      actor: 'ada',
      operationId: id,
      signal: stopped.signal,
    });
    await mesh.settle(3);
    stopped.abort();
    const outcome = await mesh.run(asked);
    expect(outcome).toMatchObject({ ok: false, error: { code: 'unknown_outcome', detail: { operationId: id } } });
    expect(await mesh.change('b', policy(2), { operationId: id })).toMatchObject({ ok: true });
    expect(mesh.seq('b')).toBe(1);
  });

  it('does not say refused of what may be in the log, when the answer of who proposed it is lost', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c', 'd'], 3);
    mesh.partition(['d'], ['b', 'c']);
    await mesh.settle();
    const id = operationId('lost');
    const asked = mesh.get('d').node.cluster.change({ operation: policy(2), actor: 'ada', operationId: id });
    // It was chosen a moment ago, and who asked has not been told yet.
    await mesh.until(() => mesh.seq('a') === 1);
    mesh.partition(['d'], ['a', 'b', 'c']);
    expect(codeOf(await mesh.run(asked))).toBe('unknown_outcome');
    mesh.hub.heal();
    await mesh.settle(10_000);
    expect(await mesh.change('d', policy(2), { operationId: id })).toMatchObject({ ok: true, value: { seq: 1 } });
  });

  it('is there after a restart, and goes on', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c'], 3);
    await mesh.change('a', policy(2));
    for (const name of ['a', 'b', 'c']) await mesh.stopNode(name);
    for (const name of ['a', 'b', 'c']) await mesh.startNode(name);
    await mesh.settle();
    expect(replicasAt('c')).toBe(2);
    expect(await mesh.change('c', policy(3))).toMatchObject({ ok: true, value: { seq: 2 } });
  });
});

describe('a member', () => {
  it('that was admitted learns the log, and what it writes is taken in by those who are behind', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c', 'd'], 3);
    await mesh.startNode('new');
    expect(codeOf(await mesh.put('new', 'early', 'x'))).toBe('not_permitted');
    await mesh.settle();
    expect(mesh.get('new').network.connectedPeers()).toEqual([]);
    mesh.partition(['d'], ['a', 'b', 'c']);
    await mesh.settle();
    expect(codeOf(await mesh.change('a', { type: 'admit', member: mesh.memberOf('new') }))).toBe('ok');
    await mesh.until(() => mesh.seq('new') === 1);
    expect(await mesh.put('new', 'key', 'hello')).toMatchObject({ ok: true });
    await mesh.until(() => mesh.heads('c', 'key') === 1);
    expect(mesh.heads('d', 'key')).toBe(0);
    mesh.hub.heal();
    await mesh.until(() => mesh.heads('d', 'key') === 1);
    expect(mesh.members('d')).toEqual(['a', 'b', 'c', 'd', 'new']);
    expect(mesh.get('d').log.lines.filter(({ event }) => event === 'record:refused')).toEqual([]);
  });

  it('that is removed is cut off at once, everywhere, and what it wrote before stays', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c', 'd'], 3);
    await mesh.put('d', 'before', 'kept');
    await mesh.until(() => mesh.heads('a', 'before') === 1);
    const removed = await mesh.change('b', { type: 'remove', nodeId: mesh.get('d').nodeId }, { reason: 'stolen' });
    expect(codeOf(removed)).toBe('ok');
    await mesh.settle(500);
    for (const name of ['a', 'b', 'c']) {
      expect(mesh.get(name).network.connectedPeers()).not.toContain(mesh.get('d').peerId);
      expect(mesh.members(name)).toEqual(['a', 'b', 'c']);
      expect(mesh.heads(name, 'before')).toBe(1);
    }
    await mesh.put('d', 'after', 'lost');
    await mesh.settle(60_000);
    expect(mesh.heads('a', 'after')).toBe(0);
    const back = await mesh.change('a', { type: 'admit', member: { ...mesh.memberOf('d'), name: 'again' } });
    expect(codeOf(back)).toBe('key_removed');
  });

  it('without a role that writes gets no record in', async () => {
    mesh = await ControlMesh.start(['a', 'b'], 1);
    const { nodeId } = mesh.get('b');
    await mesh.change('a', { type: 'roles', nodeId, roles: ['agent'] });
    await mesh.until(() => mesh.seq('b') === 1);
    expect(codeOf(await mesh.put('b', 'key', 'x'))).toBe('not_permitted');
  });
});

describe('a change of the coordinators', () => {
  it('is carried over before the next one, and each is made one at a time', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c', 'd'], 1);
    const roles = ['coordinator', 'storage'] as const;
    const nodeId = (name: string) => mesh.get(name).nodeId;
    const statusOf = async (name: string) => (await mesh.get(name).node.status()).control;
    const first = (await Promise.all(['a', 'b', 'c', 'd'].map(statusOf))).findIndex((each) => each.coordinator);
    expect(first).toBe(0);
    expect(codeOf(await mesh.change('a', { type: 'roles', nodeId: nodeId('b'), roles }))).toBe('ok');
    const tooSoon = await mesh.change('a', { type: 'roles', nodeId: nodeId('c'), roles });
    expect(['ok', 'carry_over_running']).toContain(codeOf(tooSoon));
    await mesh.settle(10_000);
    expect(await statusOf('a')).toMatchObject({ epoch: 2, carryOver: { complete: true } });
    expect(codeOf(await mesh.change('d', { type: 'roles', nodeId: nodeId('c'), roles }))).toBe('ok');
    await mesh.settle(10_000);
    expect(await statusOf('c')).toMatchObject({ epoch: 3, coordinator: true, carryOver: { complete: true } });
    mesh.partition(['a'], ['b', 'c', 'd']);
    await mesh.settle();
    expect(codeOf(await mesh.change('d', policy(2)))).toBe('ok');
    expect(codeOf(await mesh.change('a', policy(3)))).toBe('quorum_unavailable');
  });

  it('is refused while the one before has not reached a majority, across a restart too', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c'], 1);
    await mesh.change('a', policy(1));
    mesh.partition(['a', 'c'], ['b']);
    await mesh.settle();
    const roles = ['coordinator', 'storage'] as const;
    expect(codeOf(await mesh.change('a', { type: 'roles', nodeId: mesh.get('b').nodeId, roles }))).toBe('ok');
    // Two vote now, and one of them is away: nothing at all can be decided.
    expect(codeOf(await mesh.change('a', policy(2)))).toBe('quorum_unavailable');
    const status = { epoch: 2, carried: 0, done: 0, total: 1, complete: false };
    expect((await mesh.get('a').node.status()).control.carryOver).toEqual(status);
    await mesh.stopNode('a');
    await mesh.startNode('a');
    await mesh.settle();
    expect((await mesh.get('a').node.status()).control.carryOver?.complete).toBe(false);
    mesh.hub.heal();
    await mesh.settle(10_000);
    expect((await mesh.get('a').node.status()).control.carryOver?.complete).toBe(true);
    expect(codeOf(await mesh.change('a', { type: 'roles', nodeId: mesh.get('c').nodeId, roles }))).toBe('ok');
  });
});

describe('a carry-over that is not done', () => {
  it('refuses the next change with how far it has come, which every node can tell', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'd'], 1);
    await mesh.change('a', policy(1));
    const [a, b] = mesh.peers('a', 'b') as [PeerId, PeerId];
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      mesh.hub.hold(from, to);
    }
    const roles = ['coordinator', 'storage'] as const;
    const asked = (name: string): AskedOperation => ({ type: 'roles', nodeId: mesh.get(name).nodeId, roles });
    expect(codeOf(await mesh.change('a', asked('b')))).toBe('ok');
    await mesh.until(() => mesh.seq('b') === 2);
    const progress = { epoch: 2, done: 0, total: 1 };
    const refused = await mesh.change('a', asked('d'), { operationId: operationId('early') });
    const detail = { operationId: operationId('early'), progress };
    expect(refused).toMatchObject({ ok: false, error: { code: 'carry_over_running', detail } });
    for (const name of ['a', 'd']) {
      const told = await mesh.run(mesh.get(name).node.cluster.carryOver());
      expect(told).toMatchObject({ ok: true, value: { ...progress, complete: false } });
    }
    mesh.hub.release(a, b);
    mesh.hub.release(b, a);
    await mesh.settle(20_000);
    const done = { ok: true, value: { epoch: 2, total: 1, done: 1, complete: true } };
    expect(await mesh.run(mesh.get('d').node.cluster.carryOver())).toMatchObject(done);
    expect(codeOf(await mesh.change('d', asked('d')))).toBe('ok');
  });

  it('is told to who asks a node that does not vote for the next change', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'd'], 1);
    for (let at = 0; at < 1_200; at += 1) void mesh.get('a').node.put(written(`key ${at}`));
    await mesh.settle(20_000);
    const roles = ['coordinator', 'storage'] as const;
    const asked = (name: string): AskedOperation => ({ type: 'roles', nodeId: mesh.get(name).nodeId, roles });
    expect(codeOf(await mesh.change('a', asked('b')))).toBe('ok');
    const refused = await mesh.change('d', asked('d'));
    expect(refused).toMatchObject({ ok: false, error: { code: 'carry_over_running' } });
    expect(refused.ok ? undefined : refused.error.detail?.progress).toEqual({
      epoch: 2,
      done: expect.any(Number),
      total: 1_201,
    });
  });

  it('is unknown to who reaches no coordinator', async () => {
    mesh = await ControlMesh.start(['a', 'b'], 1);
    mesh.partition(['a'], ['b']);
    await mesh.settle();
    expect(codeOf(await mesh.run(mesh.get('b').node.cluster.carryOver()))).toBe('quorum_unavailable');
  });
});

describe('a lone coordinator', () => {
  it('restored from a backup of before its first vote gives none, and what it chose has no rival', async () => {
    mesh = await ControlMesh.start(['a']);
    await mesh.stopNode('a');
    const backup = mesh.get('a').kv.snapshot();
    await mesh.startNode('a');
    expect(codeOf(await mesh.change('a', policy(2)))).toBe('ok');
    await mesh.stopNode('a');
    mesh.get('a').kv = mesh.get('a').kv.restore(backup);
    await mesh.startNode('a');
    expect(mesh.get('a').log.lines.map(({ event }) => event)).toContain('quorum:restored');
    expect(codeOf(await mesh.change('a', policy(3)))).toBe('quorum_unavailable');
    expect((await mesh.get('a').node.status()).control.restored).toEqual([mesh.get('a').nodeId]);
    expect(await mesh.put('a', 'key', 'kept')).toMatchObject({ ok: true });
    const confirmed = await mesh.run(mesh.get('a').node.confirm({ ns: 'test', key: 'key' }));
    expect(codeOf(confirmed)).toBe('quorum_unavailable');
  });
});

describe('a coordinator whose disk was put back', () => {
  it('gives no vote any more, is named, and takes part again as a new node', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c'], 3);
    await mesh.change('a', policy(2));
    await mesh.stopNode('c');
    const backup = mesh.get('c').kv.snapshot();
    await mesh.startNode('c');
    // So long that it is asked for its vote whoever answers faster.
    await mesh.settle(6_000);
    await mesh.change('a', policy(3));
    await mesh.settle(6_000);
    await mesh.stopNode('c');
    mesh.get('c').kv = mesh.get('c').kv.restore(backup, { unnoticed: true });
    await mesh.startNode('c');
    await mesh.settle();
    // It has the log again, and the two others decide without it.
    await mesh.until(() => mesh.seq('c') === 2);
    expect(codeOf(await mesh.change('b', policy(4)))).toBe('ok');
    await mesh.settle();
    const namedBy = async (name: string) => (await mesh.get(name).node.status()).control.restored;
    const named = (await Promise.all(['a', 'b', 'c'].map(namedBy))).flat();
    expect(new Set(named)).toEqual(new Set([mesh.get('c').nodeId]));
    // With b away there are not two who may vote.
    mesh.partition(['b'], ['a', 'c']);
    await mesh.settle();
    await mesh.change('a', policy(4));
    expect(codeOf(await mesh.change('a', policy(5)))).toBe('quorum_unavailable');
    expect(mesh.seq('a')).toBe(3);
    mesh.hub.heal();
    await mesh.settle();
    expect(codeOf(await mesh.change('a', { type: 'remove', nodeId: mesh.get('c').nodeId }))).toBe('ok');
    await mesh.settle();
    expect((await Promise.all(['a', 'b'].map(namedBy))).flat()).toEqual([]);
  });
});

describe('a control log of which a majority of the coordinators forgot an entry', () => {
  it('may get another one in its place: every node says so with both, keeps what it has, and lets nobody else in', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c', 'd'], 3);
    for (const replicas of [2, 3, 4]) await mesh.change('a', policy(replicas));
    await mesh.settle();
    const forgetful = ['b', 'c'];
    const backups = new Map<string, ReturnType<MemoryKv['snapshot']>>();
    for (const name of forgetful) {
      await mesh.stopNode(name);
      backups.set(name, mesh.get(name).kv.snapshot());
    }
    for (const name of forgetful) await mesh.startNode(name);
    await mesh.settle();
    expect(codeOf(await mesh.change('a', policy(5)))).toBe('ok');
    await mesh.until(() => ['a', 'b', 'c', 'd'].every((name) => mesh.seq(name) === 4));
    for (const name of forgetful) await mesh.stopNode(name);
    mesh.partition(['a', 'd'], forgetful);
    for (const name of forgetful) {
      const backup = backups.get(name);
      if (backup === undefined) throw new Error('there is no backup');
      mesh.get(name).kv = mesh.get(name).kv.restore(backup, { unnoticed: true });
      await mesh.startNode(name);
    }
    await mesh.settle(20_000);
    for (const replicas of [6, 7]) expect(codeOf(await mesh.change('b', policy(replicas)))).toBe('ok');
    await mesh.until(() => mesh.seq('c') === 5);
    const forkedAt = async (name: string) => (await mesh.run(mesh.get(name).node.status())).control.forked;
    expect(await forkedAt('a')).toBeNull();

    mesh.hub.heal();
    await mesh.settle(120_000);
    const hashAt = (name: string) => mesh.get(name).node.cluster.entries({ limit: 10 }).entries[3]?.hash;
    const [first, second] = [hashAt('a'), hashAt('b')];
    expect(first).not.toBe(second);
    for (const name of ['a', 'd']) expect(await forkedAt(name)).toMatchObject({ seq: 4, ours: first, theirs: second });
    for (const name of forgetful) expect(await forkedAt(name)).toMatchObject({ seq: 4, ours: second, theirs: first });
    const other = [mesh.get('b').nodeId, mesh.get('c').nodeId];
    expect(other).toContain((await forkedAt('a'))?.nodeId);
    expect([mesh.seq('a'), mesh.seq('b')]).toEqual([4, 5]);
    expect(await mesh.put('a', 'key', 'written all the same')).toMatchObject({ ok: true });
  });
});
