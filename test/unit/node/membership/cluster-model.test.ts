import { afterEach, describe, expect, it } from 'vitest';
import type { NodeInfo } from '../../../../src/node/api.ts';
import { ControlMesh } from '../../../support/control-mesh.ts';
import { Mesh } from '../../../support/mesh.ts';

const infoOf = (nodes: readonly NodeInfo[], name: string): NodeInfo =>
  nodes.find((node) => node.name === name) ?? expect.fail(`${name} is not listed`);

describe('the nodes of a mesh', () => {
  let mesh: Mesh;
  afterEach(() => mesh.stop());

  it('are listed with what they say of themselves and how they are', async () => {
    mesh = await Mesh.start(['alice', 'bob']);
    await mesh.settle(3_000);
    const bob = infoOf(mesh.get('alice').node.nodes(), 'bob');
    expect(bob).toMatchObject({
      state: 'online',
      self: false,
      connected: true,
      draining: false,
      capacity: null,
      version: 'test',
      url: null,
      usedBytes: 0,
      load: 0,
      addresses: [`/memory/${mesh.get('bob').peerId}`],
    });
    expect(bob.capacityBytes).toBe(bob.freeBytes);
    expect(bob.lastHeartbeatMs).toBeLessThan(5_500);
    expect(infoOf(mesh.get('alice').node.nodes(), 'alice')).toMatchObject({ self: true, lastHeartbeatMs: 0 });
  });

  it('are told of when their state changes, with the name and since when', async () => {
    mesh = await Mesh.start(['alice', 'bob']);
    await mesh.crash('bob');
    await mesh.settle(80_000);
    const events = await mesh.eventsOf('alice', 'node');
    const { nodeId } = mesh.get('bob');
    expect(events.map(({ data }) => data)).toEqual(
      ['online', 'suspect', 'offline'].map((state) => ({ nodeId, name: 'bob', state, since: expect.any(Number) })),
    );
    const [, suspect, offline] = events.map(({ data }) => (data as { since: number }).since);
    expect((offline ?? 0) - (suspect ?? 0)).toBe(45_000);
    expect(infoOf(mesh.get('alice').node.nodes(), 'bob')).toMatchObject({ state: 'offline', since: offline });
    expect(mesh.get('alice').metrics.value('anabranch_nodes', { state: 'offline' })).toBe(1);
  });

  it('cost each other one message an interval and a verification at each node, and nothing else once they agree', async () => {
    const names = Array.from({ length: 6 }, (_, at) => `n${at}`);
    mesh = await Mesh.start(names);
    await mesh.settle(30_000);
    const counts = () =>
      names.map((name) => {
        const { metrics } = mesh.get(name);
        const of = (outcome: string) => metrics.value('anabranch_heartbeats_total', { outcome });
        return { sent: of('sent'), received: of('received'), refused: of('refused') };
      });
    const before = counts();
    await mesh.settle(100_000);
    for (const [at, after] of counts().entries()) {
      const sent = after.sent - (before[at]?.sent ?? 0);
      expect(sent).toBeGreaterThanOrEqual(18);
      expect(sent).toBeLessThanOrEqual(21);
      expect(after.received - (before[at]?.received ?? 0)).toBeLessThanOrEqual(5 * 21);
      expect(after.refused).toBe(0);
    }
  });
});

describe('a control log that grows', () => {
  let mesh: ControlMesh;
  afterEach(() => mesh.stop());

  it('has newcomers watched and told of, and forgets who was put out', async () => {
    mesh = await ControlMesh.start(['a', 'b', 'c'], 3);
    await mesh.change('a', { type: 'admit', member: mesh.memberOf('d') });
    await mesh.startNode('d');
    const { nodeId } = mesh.get('d');
    const model = (name: string) => mesh.get(name).node.model;
    await mesh.until(() => ['a', 'b', 'c'].every((name) => model(name).descriptors().has(nodeId)));
    await mesh.until(() => model('d').descriptors().size === 4);
    expect(model('a').liveness.stateOf(nodeId)).toBe('online');
    await mesh.change('a', { type: 'remove', nodeId });
    await mesh.settle(1_000);
    expect(model('b').descriptors().has(nodeId)).toBe(false);
    expect(model('b').liveness.stateOf(nodeId)).toBeUndefined();
  });
});
