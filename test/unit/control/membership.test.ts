import { afterEach, describe, expect, it } from 'vitest';
import type { AskedOperation, MeshEvent, Outcome } from '../../../src/node/api.ts';
import { ControlMesh } from '../../support/control-mesh.ts';

let mesh: ControlMesh;
afterEach(() => mesh.stop());

const codeOf = (outcome: Outcome<unknown>): string => (outcome.ok ? 'ok' : outcome.error.code);
const membershipOf = async (name: string) => (await mesh.get(name).node.status()).membership;
const remove = (name: string): AskedOperation => ({ type: 'remove', nodeId: mesh.get(name).nodeId });
const errorsOf = (name: string): string[] => mesh.get(name).log.lines.map(({ event }) => event);

/** The events of a type that a node has had, of all it keeps. */
async function eventsOf(name: string, type: MeshEvent['type']): Promise<MeshEvent['data'][]> {
  const controller = new AbortController();
  const events = mesh.get(name).node.events({ after: 0, signal: controller.signal })[Symbol.asyncIterator]();
  const found: MeshEvent['data'][] = [];
  const reading = (async () => {
    for (let next = await events.next(); next.done !== true; next = await events.next()) {
      if (next.value.type === type) found.push(next.value.data);
    }
  })();
  await mesh.settle(100);
  controller.abort();
  await mesh.run(reading);
  return found;
}

describe('a member that is removed', () => {
  it('is told before it is cut off, within a second, and says so', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c', 'd'], 3);
    await mesh.put('d', 'before', 'kept');
    await mesh.until(() => mesh.heads('a', 'before') === 1);
    expect(await membershipOf('d')).toEqual({ state: 'member', removedBy: null, turnedAwayBy: 0 });
    expect(codeOf(await mesh.change('a', remove('d'), { reason: 'sold' }))).toBe('ok');
    await mesh.settle(1_000);
    expect(mesh.seq('d')).toBe(1);
    for (const name of ['a', 'b', 'c']) expect(mesh.get(name).network.connectedPeers()).toHaveLength(2);
    expect(await membershipOf('d')).toEqual({ state: 'removed', removedBy: 1, turnedAwayBy: 0 });
    expect(errorsOf('d').filter((event) => event === 'control:removed')).toHaveLength(1);
    expect(await eventsOf('d', 'membership')).toEqual([{ state: 'removed', removedBy: 1, turnedAwayBy: 0 }]);
    expect(await eventsOf('a', 'membership')).toEqual([]);
  });

  it('serves what it has, takes no writes, and asks nobody any more, after a restart too', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c', 'd'], 3);
    await mesh.put('d', 'before', 'kept');
    await mesh.change('a', remove('d'));
    await mesh.settle(1_000);
    await mesh.stopNode('d');
    await mesh.startNode('d');
    await mesh.settle();
    expect(errorsOf('d')).toContain('control:removed');
    expect((await membershipOf('d')).state).toBe('removed');
    expect(mesh.get('d').network.turnedAwayBy()).toEqual([]);
    expect(mesh.heads('d', 'before')).toBe(1);
    const refused = await mesh.put('d', 'after', 'lost');
    expect(refused).toMatchObject({ ok: false, error: { code: 'not_permitted' } });
    expect(refused.ok ? '' : refused.error.message).toMatch(/put out of the cluster by entry 1/);
  });

  it('that does not answer is cut off after a second all the same', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c', 'd'], 3);
    for (const name of ['a', 'b', 'c']) {
      mesh.hub.hold(mesh.get('d').peerId, mesh.get(name).peerId);
      mesh.hub.hold(mesh.get(name).peerId, mesh.get('d').peerId);
    }
    expect(codeOf(await mesh.change('a', remove('d')))).toBe('ok');
    await mesh.settle(1_200);
    for (const name of ['a', 'b', 'c']) {
      expect(mesh.get(name).network.connectedPeers()).not.toContain(mesh.get('d').peerId);
    }
  });

  it('by its own hand tells the others before it goes', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c', 'd'], 3);
    for (const name of ['a', 'd']) expect(codeOf(await mesh.change(name, remove(name)))).toBe('ok');
    await mesh.settle(3_000);
    for (const name of ['b', 'c']) {
      expect(mesh.members(name)).toEqual(['b', 'c']);
      expect(mesh.get(name).network.connectedPeers()).toHaveLength(1);
    }
    expect(await Promise.all(['a', 'd'].map(async (name) => (await membershipOf(name)).state))).toEqual([
      'removed',
      'removed',
    ]);
  });

  it('while it was away sees that it is turned away, since nobody may tell it any more', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c', 'd'], 3);
    await mesh.stopNode('d');
    await mesh.change('a', remove('d'));
    await mesh.settle();
    await mesh.startNode('d');
    await mesh.settle();
    expect(await membershipOf('d')).toEqual({ state: 'turned_away', removedBy: null, turnedAwayBy: 3 });
    expect(await mesh.put('d', 'offline', 'x')).toMatchObject({ ok: true });
  });
});

describe('a node that is not admitted yet', () => {
  it('says that it waits, and that it is a member once it is one', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c'], 3);
    await mesh.startNode('new');
    await mesh.settle();
    expect(await membershipOf('new')).toMatchObject({ state: 'pending', removedBy: null });
    await mesh.change('a', { type: 'admit', member: mesh.memberOf('new') });
    await mesh.until(() => mesh.seq('new') === 1);
    expect((await membershipOf('new')).state).toBe('member');
    expect(await eventsOf('new', 'membership')).toMatchObject([{ state: 'member' }]);
  });
});

describe('what is said of a member', () => {
  it('is shown by every node', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c', 'd'], 3);
    const { nodeId } = mesh.get('d');
    const addresses = ['/ip4/10.0.0.4/tcp/7401'];
    await mesh.change('a', { type: 'addresses', nodeId, addresses });
    await mesh.change('b', { type: 'capacity', nodeId, capacity: 24 });
    await mesh.change('d', { type: 'drain', nodeId, draining: true });
    await mesh.until(() => ['a', 'b', 'c', 'd'].every((name) => mesh.seq(name) === 3));
    for (const name of ['a', 'b', 'c', 'd']) {
      const shown = mesh
        .get(name)
        .node.nodes()
        .find((each) => each.nodeId === nodeId);
      expect(shown).toMatchObject({ addresses: expect.arrayContaining(addresses), capacity: 24, draining: true });
    }
    expect(mesh.get('a').node.nodes()[0]).toMatchObject({ name: 'a', capacity: null, draining: false });
  });
});
