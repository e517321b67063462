import { expect, it } from 'vitest';
import { defaultSlotRules } from '../../../../crdt/slot-placement.ts';
import { SlotMesh } from '../../../support/slot-mesh.ts';

/** A mesh past the size up to which everybody holds everything, by the rules that production has. */
const nodes = 36;

it('holds, lists and reads everything in a mesh of 36 nodes in which most hold a part', async () => {
  const mesh = await SlotMesh.start(nodes, { coordinators: 3, ...defaultSlotRules, seed: 'large' });
  const keys = Array.from({ length: 24 }, (_, at) => `key-${String(at).padStart(2, '0')}`);
  for (const [at, key] of keys.entries()) await mesh.write(`n${(at * 7) % nodes}`, key, key);
  await mesh.settled();
  for (const key of keys) {
    const { holders } = mesh.sidesOf(key);
    expect(holders).toHaveLength(3 + defaultSlotRules.replicas);
    for (const name of holders) expect(mesh.has(name, key)).toBe(true);
    const copies = mesh.names.filter((name) => mesh.has(name, key)).length;
    // The writer keeps what it wrote.
    expect(copies).toBeLessThanOrEqual(holders.length + 1);
  }
  const partial = mesh.names.filter((name) => !mesh.node(name).list({ ns: 'test' }).ok);
  expect(partial.length).toBe(nodes - 3);
  for (const name of partial.slice(0, 4)) {
    expect(await mesh.keysAt(name)).toEqual(keys);
    for (const key of keys.slice(0, 6)) expect(await mesh.readAt(name, key)).toBe(key);
  }
  for (const name of mesh.up()) await mesh.stop(name);
}, 240_000);
