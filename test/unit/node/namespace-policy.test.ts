import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { chunkingProfiles } from '../../../crdt/control/namespace-policy.ts';
import { decodeManifest } from '../../../crdt/manifest.ts';
import type { AskedOperation, ReadInput } from '../../../src/node/api.ts';
import { ControlMesh } from '../../support/control-mesh.ts';
import { storedBlobs } from '../../support/stored-blobs.ts';

let mesh: ControlMesh;
afterEach(() => mesh.stop());

type Policy = Extract<AskedOperation, { type: 'namespace' }>['policy'];

async function set(policy: Policy): Promise<void> {
  const changed = await mesh.change('bob', { type: 'namespace', ns: 'test', policy });
  expect(changed).toMatchObject({ ok: true });
  await mesh.settle();
}

/** The version that a read at a node shows, or the code it is refused with. */
function shown(name: string, how: Omit<ReadInput, 'ns' | 'key'> = {}): string {
  const read = mesh.get(name).node.read({ ns: 'test', key: 'plan', ...how });
  return read.ok ? read.value.version : read.error.code;
}

async function write(text: string): Promise<string> {
  const written = await mesh.put('alice', 'plan', text);
  return written.ok ? written.value.version : expect.fail(written.error.code);
}

const cut = (): void => mesh.partition(['alice'], ['bob', 'carol']);

async function heal(): Promise<void> {
  mesh.hub.heal();
  await mesh.settle(10_000);
}

describe('a read that names no mode', () => {
  it('is of the mode that the policy of its namespace names, and of the preferred head without one', async () => {
    mesh = await ControlMesh.start(['alice', 'bob', 'carol']);
    cut();
    const first = await write('one');
    expect(shown('alice')).toBe(first);
    await heal();
    await set({ readMode: 'confirmed_only' });
    expect(shown('alice')).toBe(first);

    cut();
    const second = await write('two');
    expect(shown('alice')).toBe(first);
    await heal();
    expect(shown('carol')).toBe(second);
    await set({ readMode: 'provisional_allowed' });
    cut();
    const third = await write('three');
    expect(shown('alice')).toBe(third);
    expect(shown('carol')).toBe(second);
    await heal();
    await set({});
    cut();
    await write('four');
    expect(shown('alice')).toBe(third);
  });

  it('is refused while nothing is confirmed, where the policy asks for that, and one that names a mode or a version is not', async () => {
    mesh = await ControlMesh.start(['alice', 'bob', 'carol']);
    await set({ readMode: 'confirmed_only' });
    cut();
    const version = await write('one');
    expect(shown('alice')).toBe('not_confirmed');
    expect(shown('alice', { mode: 'preferred' })).toBe(version);
    expect(shown('alice', { mode: 'provisional_allowed' })).toBe(version);
    expect(shown('alice', { version })).toBe(version);
    await heal();
    for (const name of ['alice', 'bob', 'carol']) expect(shown(name)).toBe(version);
  });
});

describe('a content', () => {
  /** How the contents that a node has are cut, in the order of their sizes. */
  async function cutting(name: string): Promise<unknown[]> {
    const manifests = [...(await storedBlobs(mesh.get(name))).values()].map(decodeManifest);
    const leaves = manifests.flatMap((read) => (read.ok && read.value.kind === 'leaf' ? [read.value] : []));
    return leaves.toSorted((left, right) => left.size - right.size).map(({ chunking }) => chunking);
  }

  it('is cut as the policy of its namespace says from then on, and before that as by default', async () => {
    mesh = await ControlMesh.start(['alice', 'bob']);
    const write = (name: string, key: string, sizeBytes: number) =>
      mesh.run(mesh.get(name).node.put({ ns: 'test', key, body: [randomBytes(sizeBytes)], author: 'ada' }));
    await write('alice', 'first', 100_000);
    await set({ chunking: 'small' });
    await write('alice', 'second', 200_000);
    await write('bob', 'third', 300_000);
    await mesh.settle(10_000);
    const expected = [chunkingProfiles.default, chunkingProfiles.small, chunkingProfiles.small];
    for (const name of ['alice', 'bob']) expect(await cutting(name)).toEqual(expected);
  });
});
