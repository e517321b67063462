import { afterEach, describe, expect, it } from 'vitest';
import { Mesh, unwrap } from '../../support/mesh.ts';

let mesh: Mesh;
afterEach(async () => {
  await mesh.stop();
});

describe('a mesh of nodes', () => {
  it('shows a write on every other node, with its content', async () => {
    mesh = await Mesh.start(['alice', 'bob', 'carol']);
    const written = await mesh.put('alice', 'greeting', 'hello');
    await mesh.until(() => mesh.heads('bob', 'greeting').length === 1 && mesh.heads('carol', 'greeting').length === 1);
    expect(mesh.heads('bob', 'greeting')).toEqual([written.version]);
    expect(await mesh.text('bob', 'greeting')).toBe('hello');
    expect(await mesh.text('carol', 'greeting')).toBe('hello');
  });

  it('brings a node that was away up to date', async () => {
    mesh = await Mesh.start(['alice', 'bob']);
    await mesh.stopNode('bob');
    for (let index = 0; index < 20; index += 1) await mesh.put('alice', `key-${index % 7}`, `text ${index}`);
    await mesh.startNode('bob');
    await mesh.settle();
    for (let index = 0; index < 7; index += 1) {
      expect(mesh.graph('bob', `key-${index}`)).toEqual(mesh.graph('alice', `key-${index}`));
    }
  });

  it('keeps both branches of a partition, raises one conflict a node, and ends it with a merge', async () => {
    mesh = await Mesh.start(['alice', 'bob', 'carol']);
    const base = await mesh.put('alice', 'plan', 'base');
    await mesh.settle();
    mesh.partition(['alice'], ['bob', 'carol']);
    await mesh.settle();
    for (let index = 0; index < 10; index += 1) {
      await mesh.put('alice', 'plan', `alice ${index}`);
      await mesh.put('bob', 'plan', `bob ${index}`);
    }
    await mesh.settle();
    expect(mesh.heads('alice', 'plan')).toHaveLength(1);
    mesh.heal();
    await mesh.settle(5_000);

    const graph = mesh.graph('alice', 'plan');
    expect(graph.heads).toHaveLength(2);
    expect(graph.versions).toHaveLength(21);
    expect(graph.versions[0]?.version).toBe(base.version);
    for (const name of ['bob', 'carol']) expect(mesh.graph(name, 'plan')).toEqual(graph);
    for (const name of ['alice', 'bob', 'carol']) {
      expect(await mesh.eventsOf(name, 'conflict'), name).toHaveLength(1);
      expect(unwrap(mesh.get(name).node.conflicts({})).conflicts).toEqual([
        { ns: 'test', key: 'plan', heads: graph.heads, preferred: graph.preferred },
      ]);
    }

    await mesh.put('carol', 'plan', 'both', graph.heads);
    await mesh.settle();
    for (const name of ['alice', 'bob', 'carol']) {
      expect(mesh.heads(name, 'plan')).toHaveLength(1);
      expect(await mesh.text(name, 'plan')).toBe('both');
      expect(unwrap(mesh.get(name).node.conflicts({})).conflicts).toEqual([]);
    }
  });

  it('tells whoever was away of a new conflict that comes with the end of the old one, and of none that is over', async () => {
    mesh = await Mesh.start(['alice', 'bob', 'carol']);
    const told = async (name: string) => (await mesh.eventsOf(name, 'conflict')).map(({ data }) => data);
    const apart = async (): Promise<void> => {
      mesh.partition(['alice'], ['bob']);
      await mesh.settle(100);
    };
    const together = async (): Promise<void> => {
      mesh.heal();
      await mesh.settle(40_000);
    };
    await apart();
    await mesh.put('alice', 'plan', 'north');
    await mesh.put('bob', 'plan', 'south');
    await together();
    const first = mesh.heads('carol', 'plan');
    expect(first).toHaveLength(2);
    await mesh.stopNode('carol');
    await apart();
    const merges = [
      await mesh.put('alice', 'plan', 'merged by alice', first),
      await mesh.put('bob', 'plan', 'merged by bob', first),
    ].map(({ version }) => version);
    await together();
    await mesh.startNode('carol');
    await mesh.settle(40_000);
    const second = mesh.heads('carol', 'plan');
    expect([...second].sort()).toEqual(merges.sort());
    expect(await told('carol')).toMatchObject([{ heads: first }, { heads: second }]);
    for (const name of ['alice', 'bob']) expect(await told(name), name).toHaveLength(2);

    await mesh.stopNode('carol');
    await mesh.put('alice', 'plan', 'all of it', second);
    await mesh.settle();
    await apart();
    await mesh.put('alice', 'plan', 'east');
    await mesh.put('bob', 'plan', 'west');
    await together();
    await mesh.put('bob', 'plan', 'both', mesh.heads('bob', 'plan'));
    await mesh.settle();
    await mesh.startNode('carol');
    await mesh.settle(60_000);
    expect(mesh.heads('carol', 'plan')).toEqual(mesh.heads('bob', 'plan'));
    expect(await told('alice')).toHaveLength(3);
    expect(await told('carol')).toHaveLength(2);
  });

  it('says nothing new when the same records come again, after a restart too', async () => {
    mesh = await Mesh.start(['alice', 'bob']);
    mesh.partition(['alice'], ['bob']);
    await mesh.settle();
    await mesh.put('alice', 'plan', 'a');
    await mesh.put('bob', 'plan', 'b');
    mesh.heal();
    await mesh.settle(5_000);
    const before = (await mesh.eventsOf('bob')).filter(
      (event) => event.type === 'version' || event.type === 'conflict',
    );
    await mesh.stopNode('bob');
    await mesh.startNode('bob');
    await mesh.settle(180_000);
    const after = (await mesh.eventsOf('bob')).filter((event) => event.type === 'version' || event.type === 'conflict');
    expect(after).toEqual(before);
  });

  it('keeps its incarnation over a clean stop and takes a new one after a crash or a restore', async () => {
    mesh = await Mesh.start(['alice']);
    const incarnation = async (): Promise<string> => (await mesh.get('alice').node.status()).incarnation;
    const first = await incarnation();
    await mesh.put('alice', 'key', 'one');
    await mesh.stopNode('alice');
    await mesh.startNode('alice');
    expect(await incarnation()).toBe(first);
    await mesh.crash('alice');
    await mesh.startNode('alice');
    const second = await incarnation();
    expect(second).not.toBe(first);
    await mesh.stopNode('alice');
    const { kv } = mesh.get('alice');
    mesh.get('alice').kv = kv.restore(kv.snapshot());
    await mesh.startNode('alice');
    expect([first, second]).not.toContain(await incarnation());
  });
});
