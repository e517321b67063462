import { afterEach, describe, expect, it } from 'vitest';
import { Mesh } from '../../support/mesh.ts';

let mesh: Mesh;
afterEach(async () => {
  await mesh.stop();
});

/** What the rounds of a node came to that brought it something, from its log. */
function roundsOf(name: string): { comparisons: number; documentsDiffering: number; recordsReceived: number }[] {
  return mesh
    .get(name)
    .log.lines.filter((line) => line.event === 'sync:completed')
    .map((line) => line.fields as never);
}

describe('a rejoin', () => {
  it('after 1,000 offline writes on each side raises each conflict once and loses nothing', async () => {
    mesh = await Mesh.start(['alice', 'bob']);
    mesh.partition(['alice'], ['bob']);
    await mesh.settle();
    const written = new Map<string, Set<string>>();
    for (let index = 0; index < 1_000; index += 1) {
      for (const name of ['alice', 'bob']) {
        // Two keys in three are written on both sides.
        const key = index % 3 === 0 ? `${name}-${index % 30}` : `shared-${index % 40}`;
        const { version } = await mesh.put(name, key, `${name} ${index}`);
        written.set(key, (written.get(key) ?? new Set()).add(version));
      }
    }
    const shared = [...written.keys()].filter((key) => key.startsWith('shared'));
    expect(shared.length).toBeGreaterThan(20);
    mesh.heal();
    await mesh.settle(30_000);
    for (const name of ['alice', 'bob']) {
      const conflicts = await mesh.eventsOf(name, 'conflict');
      expect(conflicts.map((event) => (event.data as { key: string }).key).sort()).toEqual([...shared].sort());
      for (const [key, versions] of written) {
        const graph = mesh.graph(name, key);
        expect(new Set(graph.versions.map(({ version }) => version))).toEqual(versions);
        expect(graph.heads).toHaveLength(key.startsWith('shared') ? 2 : 1);
      }
    }
    const before = await mesh.eventsOf('alice');
    await mesh.stopNode('alice');
    await mesh.startNode('alice');
    await mesh.settle(120_000);
    const isNews = (event: { type: string }): boolean => event.type === 'version' || event.type === 'conflict';
    expect((await mesh.eventsOf('alice')).filter(isNews)).toEqual(before.filter(isNews));
  }, 30_000);

  it('follows the feed and compares nothing else when the peer was here before', async () => {
    // A coordinator that comes back fetches what it is to vote on, beside the feed.
    mesh = await Mesh.start(['alice', 'bob'], 'mesh', ['alice']);
    for (let index = 0; index < 50; index += 1) await mesh.put('alice', `key-${index}`, 'one');
    await mesh.settle(60_000);
    await mesh.stopNode('bob');
    for (let index = 0; index < 10; index += 1) await mesh.put('alice', `key-${index}`, 'two');
    // Nobody hears the hints, so the feed is all there is.
    await mesh.settle(1_000);
    await mesh.startNode('bob');
    await mesh.settle(1_000);
    expect(roundsOf('bob')).toEqual([
      expect.objectContaining({ comparisons: 1, documentsDiffering: 10, recordsReceived: 10 }),
    ]);
  });

  it('compares ranges when the peer has lost its disk, and each gets back what the other has', async () => {
    mesh = await Mesh.start(['alice', 'bob']);
    for (let index = 0; index < 50; index += 1) await mesh.put('alice', `key-${index}`, 'one');
    await mesh.settle(60_000);
    await mesh.stopNode('bob');
    mesh.wipe('bob');
    await mesh.startNode('bob');
    await mesh.put('bob', 'new', 'from bob');
    await mesh.settle(5_000);
    expect(mesh.graph('alice', 'new').heads).toHaveLength(1);
    for (let index = 0; index < 50; index += 1) expect(mesh.heads('bob', `key-${index}`)).toHaveLength(1);
    const [round] = roundsOf('bob');
    expect(round?.comparisons).toBeGreaterThan(1);
    expect(round?.recordsReceived).toBe(50);
  });
});
