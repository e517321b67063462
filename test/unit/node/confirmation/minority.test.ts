import { afterEach, describe, expect, test } from 'vitest';
import { operationId } from '../../../support/control-log.ts';
import { ControlMesh } from '../../../support/control-mesh.ts';

const names = ['alice', 'bob', 'carol', 'dave'] as const;

let mesh: ControlMesh;
afterEach(() => mesh.stop());

/** Three coordinators and one node that only stores, of which the first coordinator and that one are cut off. */
async function cut(): Promise<void> {
  mesh = await ControlMesh.start(names, 3);
  mesh.partition(['alice', 'dave'], ['bob', 'carol']);
  await mesh.settle();
}

/** What a listing shows: the state of each object's preferred head. */
const listed = (name: string): (string | undefined)[] => {
  const page = mesh.get(name).node.list({ ns: 'test' });
  return page.ok ? page.value.objects.map(({ state }) => state) : [];
};
const confirmed = (name: string, key: string): string | null => {
  const graph = mesh.get(name).node.graph({ ns: 'test', key });
  return graph.ok ? graph.value.confirmedHead : null;
};

describe('the minority’s side of a cut', () => {
  test('has what it wrote without asking for anything confirmed within seconds of the end of the cut', async () => {
    await cut();
    const written = new Map<string, string>();
    for (const key of ['one', 'two', 'three']) {
      const put = await mesh.put(key === 'two' ? 'dave' : 'alice', key, key);
      if (!put.ok) throw new Error(put.error.code);
      expect(put.value.state).toBe('provisional');
      written.set(key, put.value.version);
    }
    // Long after the last attempt, so that no timer of one is under way.
    await mesh.settle(10 * 60_000);
    for (const key of written.keys()) expect(confirmed('alice', key)).toBeNull();
    expect(listed('alice')).toEqual(Array(3).fill('provisional'));
    mesh.hub.heal();
    await mesh.settle(15_000);
    for (const name of names) {
      for (const [key, version] of written) expect(confirmed(name, key), `${key} at ${name}`).toBe(version);
    }
    for (const name of names) expect(listed(name)).toEqual(Array(3).fill('confirmed'));
    for (const name of ['alice', 'dave']) {
      const { quorum } = await mesh.run(mesh.get(name).node.status());
      expect(quorum).toMatchObject({ available: true, pending: 0 });
    }
  });

  test('is told at once by every node of it that nothing can be administered, and leaves nothing behind', async () => {
    await cut();
    for (const name of ['alice', 'dave']) {
      const startMs = mesh.clock.monotonicMs();
      const operation = { type: 'namespace', ns: 'docs', policy: { replicas: 2 } } as const;
      const refused = await mesh.change(name, operation, { operationId: operationId(name) });
      expect(refused).toMatchObject({ ok: false, error: { code: 'quorum_unavailable' } });
      expect(mesh.clock.monotonicMs() - startMs, name).toBeLessThan(1_000);
    }
    mesh.hub.heal();
    await mesh.settle(60_000);
    for (const name of names) expect(mesh.seq(name)).toBe(0);
  });
});

test('a node that reaches too few coordinators has what it wrote confirmed once those it reaches are enough', async () => {
  mesh = await ControlMesh.start(names, 3);
  mesh.partition(['dave'], ['bob', 'carol']);
  await mesh.settle();
  const put = await mesh.put('dave', 'plan', 'text');
  const version = put.ok ? put.value.version : expect.fail(put.error.code);
  await mesh.settle(60_000);
  const quorum = async () => (await mesh.run(mesh.get('dave').node.status())).quorum;
  expect(await quorum()).toMatchObject({ reachable: 1, coordinators: 3, available: false, pending: 1 });
  // No connection comes or goes: only who votes is another matter.
  for (const name of ['bob', 'carol']) {
    const { nodeId } = mesh.memberOf(name);
    expect(await mesh.change('alice', { type: 'roles', nodeId, roles: ['storage'] })).toMatchObject({ ok: true });
    await mesh.settle(30_000);
  }
  expect(await quorum()).toMatchObject({ reachable: 1, coordinators: 1, available: true, pending: 0 });
  for (const name of names) expect(confirmed(name, 'plan')).toBe(version);
});
