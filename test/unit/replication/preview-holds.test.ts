import { afterEach, describe, expect, test, vi } from 'vitest';
import type { ControlOperation } from '../../../crdt/control/operations.ts';
import type { AskedChange } from '../../../protocols/replicas/views.ts';
import { memberOf } from '../../support/control-log.ts';
import { ReplicaMesh, type WrittenContent } from '../../support/replica-mesh.ts';

// Minutes of virtual time, on machines that may be busy.
vi.setConfig({ testTimeout: 60_000 });

let mesh: ReplicaMesh;
afterEach(() => mesh.stop());

type Operation = ControlOperation extends infer Each
  ? Each extends ControlOperation
    ? Omit<Each, 'id'>
    : never
  : never;

const idOf = (name: string) => mesh.get(name).nodeId;
const newcomer = memberOf('newcomer', ['storage'], { labels: { dc: 'c' } });

async function start(): Promise<WrittenContent[]> {
  mesh = await ReplicaMesh.start({
    nodes: { north: { dc: 'a' }, east: { dc: 'a' }, south: { dc: 'b' }, west: { dc: 'b' }, home: { dc: 'c' } },
    coordinators: ['north', 'east', 'south'],
    policy: { replicas: 2, diversity: { dc: 2 } },
  });
  for (const name of ['north', 'east', 'south', 'west', 'home']) {
    mesh.change(() => mesh.control.add({ type: 'capacity', nodeId: idOf(name), capacity: 20 }));
  }
  const written: WrittenContent[] = [];
  for (let index = 0; index < 30; index += 1) written.push(await mesh.write('north', `key ${index}`, `text ${index}`));
  await mesh.settle(30_000);
  return written;
}

describe('what a preview says would move', () => {
  test.each<[string, () => AskedChange, () => Operation[]]>([
    ['leaves', () => ({ kind: 'leave', node: idOf('home') }), () => [{ type: 'remove', nodeId: idOf('home') }]],
    [
      'drains',
      () => ({ kind: 'drain', node: idOf('south') }),
      () => [{ type: 'drain', nodeId: idOf('south'), draining: true }],
    ],
    [
      'has other labels',
      () => ({ kind: 'labels', node: idOf('home'), labels: { dc: 'a' } }),
      () => [{ type: 'labels', nodeId: idOf('home'), labels: { dc: 'a' } }],
    ],
    [
      'has more room',
      () => ({ kind: 'capacity', node: idOf('west'), capacity: 26 }),
      () => [{ type: 'capacity', nodeId: idOf('west'), capacity: 26 }],
    ],
    [
      'joins',
      () => ({ kind: 'join', node: newcomer.nodeId, labels: { dc: 'c' }, capacity: 24 }),
      () => [
        { type: 'admit', member: newcomer },
        { type: 'capacity', nodeId: newcomer.nodeId, capacity: 24 },
      ],
    ],
  ])('is what placement makes of it once a node %s', async (_, change, operations) => {
    const written = await start();
    const placed = () => new Map(written.map((each) => [each.key, mesh.desired(each)]));
    const before = placed();
    const question = { change: change(), after: undefined, movesMax: 40 };
    const page = await mesh.run(mesh.get('west').replication.mesh.preview(question));
    mesh.change(() => mesh.control.add(...operations()));
    const after = placed();
    const moved = written.flatMap(({ key, sizeBytes }) => {
      const [was = [], is = []] = [before.get(key), after.get(key)];
      const [from, to] = [was.filter((node) => !is.includes(node)), is.filter((node) => !was.includes(node))];
      return from.length + to.length === 0 ? [] : [{ key, sizeBytes, from, to }];
    });
    expect(moved.length).toBeGreaterThan(0);
    const told = page?.moves.map(({ key, sizeBytes, from, to }) => {
      return { key, sizeBytes, from: from.map((node) => mesh.named(node)), to: to.map((node) => mesh.named(node)) };
    });
    const byKey = (left: { key: string }, right: { key: string }) => (left.key < right.key ? -1 : 1);
    expect(told?.toSorted(byKey)).toEqual(moved.toSorted(byKey));
    const bytes = moved.reduce((sum, { sizeBytes, to }) => sum + sizeBytes * to.length, 0);
    expect(page?.totals).toMatchObject({ subjects: written.length, moved: moved.length, bytes });
  });
});
