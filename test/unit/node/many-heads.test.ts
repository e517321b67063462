import { afterEach, expect, it } from 'vitest';
import type { VersionId } from '../../../crdt/ids.ts';
import type { WriteTarget } from '../../../src/node/api.ts';
import { ObjectStore } from '../../../src/node/object-store.ts';
import { Mesh, refusalOf, unwrap } from '../../support/mesh.ts';
import { actorOf, testNode, write } from '../../support/versions.ts';

/** Heads past which nobody may write without saying what is superseded. */
const headsMax = 1_000;
/** Parents that one version may name. */
const parentsMax = 256;

let mesh: Mesh;
afterEach(async () => {
  await mesh.stop();
});

/** A node on whose disk is an object with so many heads, and its calls for that object. */
async function nodeWithHeads(count: number) {
  mesh = await Mesh.start(['alice']);
  const { cluster } = await mesh.run(mesh.get('alice').node.status());
  await mesh.stopNode('alice');
  const objects = new ObjectStore({ cluster, slots: 16 });
  const stranger = testNode('stranger');
  const names = { ns: 'test', key: 'crowded' };
  const root = write(stranger, [], names);
  const branches = Array.from({ length: count }, (_, at) =>
    write(stranger, [root], { ...names, dot: { actor: actorOf(stranger), counter: at + 2 } }),
  );
  await mesh.run(mesh.get('alice').kv.transact((transaction) => objects.appendAll(transaction, [root, ...branches])));
  const { node } = await mesh.startNode('alice');
  const target = (parents?: readonly VersionId[]): WriteTarget => ({
    ...names,
    author: 'admin',
    commit: 'local',
    ...(parents === undefined ? {} : { parents }),
  });
  return {
    root,
    heads: () => mesh.heads('alice', 'crowded'),
    put: (parents?: readonly VersionId[]) =>
      mesh.run(node.put({ ...target(parents), body: (async function* () {})() })),
    remove: (parents?: readonly VersionId[]) => mesh.run(node.delete(target(parents))),
  };
}

it('an object with too many heads takes no blind write until some are merged, a limited number at a time', async () => {
  const { root, heads, put, remove } = await nodeWithHeads(headsMax);
  // So many are none too many yet: it extends the preferred one.
  unwrap(await put());
  expect(heads()).toHaveLength(headsMax);
  // Who names what the write supersedes is not refused, be it an old version, one head or many.
  unwrap(await put([root.id]));
  expect(heads()).toHaveLength(headsMax + 1);
  expect(refusalOf(await put())).toBe('too_many_heads');
  expect(refusalOf(await remove())).toBe('too_many_heads');
  unwrap(await put(heads().slice(0, 1)));
  expect(heads()).toHaveLength(headsMax + 1);

  const ids = heads().slice(0, parentsMax + 1);
  expect(refusalOf(await put(ids))).toBe('invalid_request');
  const merged = unwrap(await put(ids.slice(0, parentsMax)));
  expect(merged).toMatchObject({ kind: 'merge', parents: [...ids.slice(0, parentsMax)].sort() });
  expect(heads()).toHaveLength(headsMax + 1 - parentsMax + 1);
  unwrap(await put());
}, 60_000);
