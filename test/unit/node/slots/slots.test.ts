import { afterEach, describe, expect, it } from 'vitest';
import { owedRows } from '../../../../src/node/slots/slot-rows.ts';
import { refusalOf } from '../../../support/mesh.ts';
import { SlotMesh } from '../../../support/slot-mesh.ts';

const ns = 'test';
let mesh: SlotMesh;

afterEach(async () => {
  for (const name of mesh.up()) await mesh.stop(name);
});

describe('a write at a node that does not hold the slot', () => {
  it('comes to every holder, to nobody else, and is kept by its writer', async () => {
    mesh = await SlotMesh.start(6);
    const key = mesh.keyElsewhere('n5');
    await mesh.write('n5', key, 'text');
    const { holders, others } = mesh.sidesOf(key);
    expect(holders.length).toBe(3);
    await mesh.settled();
    for (const name of holders) expect(mesh.has(name, key)).toBe(true);
    for (const name of others) expect(mesh.has(name, key)).toBe(name === 'n5');
    for (const name of holders) expect(await mesh.readAt(name, key)).toBe('text');
  });

  it('is owed over a crash while no holder is there, and then comes to them, though nobody can confirm it', async () => {
    mesh = await SlotMesh.start(6);
    const key = mesh.keyElsewhere('n5');
    mesh.partition(['n5'], ['n0', 'n1', 'n2', 'n3', 'n4']);
    await mesh.advance(2_000);
    await mesh.write('n5', key, 'offline');
    // After a crash nobody can follow its feed from where it was, and it gossips nothing again.
    mesh.crash('n5');
    await mesh.restart('n5');
    await mesh.advance(20_000);
    expect(owedRows.isEmpty(mesh.get('n5').kv)).toBe(false);
    const { holders } = mesh.sidesOf(key);
    for (const name of holders) expect(mesh.has(name, key)).toBe(false);
    await mesh.stop('n0');
    mesh.heal();
    await mesh.until(() => owedRows.isEmpty(mesh.get('n5').kv));
    for (const name of holders) expect(mesh.has(name, key)).toBe(name !== 'n0');
    await mesh.restart('n0');
    await mesh.settled();
    expect(mesh.has('n0', key)).toBe(true);
  });

  it('is read by its writer while no holder can be reached', async () => {
    mesh = await SlotMesh.start(6);
    const key = mesh.keyElsewhere('n5');
    mesh.partition(['n5'], ['n0', 'n1', 'n2', 'n3', 'n4']);
    await mesh.advance(2_000);
    await mesh.write('n5', key, 'offline');
    expect(await mesh.readAt('n5', key)).toBe('offline');
  });

  it('extends what the holders have, so that no conflict comes of it', async () => {
    mesh = await SlotMesh.start(6);
    const key = mesh.keyElsewhere('n4', 'n5');
    const first = await mesh.write('n4', key, 'one');
    await mesh.settled();
    const second = await mesh.write('n5', key, 'two');
    expect(second.parents).toEqual([first.version]);
    await mesh.advance(200);
    const third = await mesh.write('n4', key, 'three', [second.version]);
    expect(third.conflict).toBe(false);
    await mesh.settled();
    const [holder = ''] = mesh.sidesOf(key).holders;
    expect(mesh.headsOf(holder, key)).toEqual([third.version]);
  });
});

describe('a read at a node that does not hold the slot', () => {
  it('shows what a holder has, and asks again some seconds later', async () => {
    mesh = await SlotMesh.start(6);
    const key = mesh.keyElsewhere('n4', 'n5');
    await mesh.write('n4', key, 'one');
    await mesh.settled();
    expect(await mesh.readAt('n5', key)).toBe('one');
    await mesh.write('n4', key, 'two');
    await mesh.settled();
    await mesh.advance(3_000);
    expect(await mesh.readAt('n5', key)).toBe('two');
  });

  it('knows what there is not when a holder says so, and cannot tell when none answers', async () => {
    mesh = await SlotMesh.start(6);
    const key = mesh.keyElsewhere('n5');
    expect(await mesh.readAt('n5', key)).toBe('not_found');
    mesh.partition(['n5'], ['n0', 'n1', 'n2', 'n3', 'n4']);
    await mesh.advance(5_000);
    expect(await mesh.readAt('n5', key)).toBe('metadata_unavailable');
    const target = { ns, key, author: 'admin' };
    expect(refusalOf(await mesh.run(mesh.node('n5').delete(target)))).toBe('metadata_unavailable');
    const pick = 'a'.repeat(52);
    const merge = { ...target, parents: [pick, 'b'.repeat(52)], pick };
    expect(refusalOf(await mesh.run(mesh.node('n5').merge(merge)))).toBe('metadata_unavailable');
    expect(refusalOf(await mesh.run(mesh.node('n5').confirm({ ns, key })))).toBe('metadata_unavailable');
    expect(refusalOf(await mesh.run(mesh.node('n5').document({ ns, key })))).toBe('metadata_unavailable');
    expect(refusalOf(mesh.node('n5').graph({ ns, key }))).toBe('metadata_unavailable');
  });

  it('asks another holder when one does not have the slot whole', async () => {
    mesh = await SlotMesh.start(6);
    const key = mesh.keyElsewhere('n5');
    await mesh.write('n0', key, 'text');
    await mesh.settled();
    const [first = ''] = mesh.sidesOf(key).holders;
    await mesh.stop(first);
    expect(await mesh.readAt('n5', key)).toBe('text');
  });

  it('keeps a bounded number of documents for readers, and never forgets what was written here', async () => {
    mesh = await SlotMesh.start(6, { guestsMax: 3 });
    const all = Array.from({ length: 60 }, (_, at) => `key-${at}`);
    const [own = '', ...foreign] = all.filter((key) => mesh.sidesOf(key).others.includes('n5')).slice(0, 8);
    for (const key of foreign) await mesh.write('n0', key, key);
    await mesh.write('n5', own, 'own');
    await mesh.settled();
    for (const key of [own, ...foreign]) expect(await mesh.readAt('n5', key)).toBe(key === own ? 'own' : key);
    await mesh.advance(1_000);
    expect(foreign.filter((key) => mesh.has('n5', key))).toHaveLength(3);
    expect(mesh.has('n5', own)).toBe(true);
    const { objects, versions } = await mesh.run(mesh.node('n5').status());
    const held = (await mesh.run(mesh.node('n5').status())).slots.held;
    expect(held).toBeLessThan(16);
    expect(objects).toBe(versions);
    // What was forgotten is fetched again.
    for (const key of foreign) expect(await mesh.readAt('n5', key)).toBe(key);
  });
});

describe('a listing at a node that holds a part', () => {
  it('is the whole one, in order, page by page, whoever is asked', async () => {
    mesh = await SlotMesh.start(6);
    const keys = Array.from({ length: 40 }, (_, at) => `dir-${at % 4}/key-${at}`);
    for (const [at, key] of keys.entries()) await mesh.write(`n${at % 6}`, key, key);
    await mesh.settled();
    const expected = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    for (const name of mesh.names) {
      expect(await mesh.keysAt(name)).toEqual(expected);
      expect(await mesh.keysAt(name, 7)).toEqual(expected);
    }
    const folders = await mesh.run(mesh.node('n5').wholeList({ ns, delimiter: '/' }));
    expect(folders).toMatchObject({ value: { objects: [], prefixes: ['dir-0/', 'dir-1/', 'dir-2/', 'dir-3/'] } });
    const one = await mesh.run(mesh.node('n5').wholeList({ ns, prefix: 'dir-2/', delimiter: '/', limit: 3 }));
    expect(one).toMatchObject({ value: { prefixes: [] } });
  });

  it('is put together from several holders when no coordinator is there', async () => {
    mesh = await SlotMesh.start(6, { replicas: 3 });
    const keys = Array.from({ length: 20 }, (_, at) => `key-${at}`).sort();
    for (const key of keys) await mesh.write('n0', key, key);
    await mesh.settled();
    await mesh.stop('n0');
    for (const name of mesh.up()) expect(await mesh.keysAt(name, 6)).toEqual(keys);
  });

  it('is refused rather than short when nobody has the rest', async () => {
    mesh = await SlotMesh.start(6);
    await mesh.write('n0', 'key', 'text');
    await mesh.settled();
    mesh.partition(['n5'], ['n0', 'n1', 'n2', 'n3', 'n4']);
    await mesh.advance(5_000);
    expect(await mesh.keysAt('n5')).toBe('metadata_unavailable');
    expect(refusalOf(await mesh.run(mesh.node('n5').wholeConflicts({})))).toBe('metadata_unavailable');
    expect(refusalOf(mesh.node('n5').list({ ns }))).toBe('metadata_unavailable');
    expect(refusalOf(mesh.node('n5').conflicts({}))).toBe('metadata_unavailable');
    expect(refusalOf(await mesh.run(mesh.node('n5').wholeList({ ns: 'X' })))).toBe('invalid_namespace');
    expect(refusalOf(await mesh.run(mesh.node('n5').wholeConflicts({ ns: 'X' })))).toBe('invalid_namespace');
  });

  it('shows the conflicts of all slots in the order of namespaces and keys', async () => {
    mesh = await SlotMesh.start(6);
    const keys = Array.from({ length: 9 }, (_, at) => `key-${at}`);
    for (const key of keys) {
      const first = await mesh.write('n0', key, 'first');
      await mesh.write('n0', key, 'left', [first.version]);
      await mesh.write('n0', key, 'right', [first.version]);
    }
    await mesh.settled();
    for (const name of mesh.names) {
      const page = await mesh.run(mesh.node(name).wholeConflicts({ limit: 5 }));
      expect(page).toMatchObject({
        value: { conflicts: keys.slice(0, 5).map((key) => ({ ns, key })), next: 'test/key-4' },
      });
      const rest = await mesh.run(mesh.node(name).wholeConflicts({ after: 'test/key-4' }));
      expect(rest).toMatchObject({ value: { conflicts: keys.slice(5).map((key) => ({ ns, key })), next: null } });
    }
  });
});

describe('a change of the members', () => {
  it('moves slots to their new holders, which answer for them once they have them whole', async () => {
    mesh = await SlotMesh.start(6);
    const keys = Array.from({ length: 30 }, (_, at) => `key-${at}`);
    for (const [at, key] of keys.entries()) await mesh.write(`n${at % 6}`, key, key);
    await mesh.settled();
    await mesh.giveRoles('n4', ['agent']);
    await mesh.settled();
    for (const key of keys) {
      const { holders } = mesh.sidesOf(key);
      expect(holders).not.toContain('n4');
      for (const name of holders) expect(mesh.has(name, key)).toBe(true);
    }
    expect((await mesh.run(mesh.node('n4').status())).slots).toEqual({ count: 16, kept: 0, held: 0, leaving: 0 });
    for (const key of keys.slice(0, 5)) expect(await mesh.readAt('n4', key)).toBe(key);
  });

  it('gives a new coordinator everything before it answers for it', async () => {
    mesh = await SlotMesh.start(6);
    const keys = Array.from({ length: 30 }, (_, at) => `key-${at}`);
    for (const key of keys) await mesh.write('n0', key, key);
    await mesh.settled();
    await mesh.giveRoles('n5', ['coordinator', 'storage']);
    await mesh.settled();
    for (const key of keys) expect(mesh.has('n5', key)).toBe(true);
    await mesh.stop('n0');
    expect(await mesh.keysAt('n5')).toEqual(keys.toSorted());
  });

  it('hands over what only a node that loses the slot has', async () => {
    mesh = await SlotMesh.start(6);
    const key = ['x', 'y', 'z', 'u', 'v', 'w'].find((each) => mesh.sidesOf(each).holders.includes('n4')) ?? '';
    // It writes while it holds the slot and nobody hears of it, and loses the slot before anybody does.
    mesh.partition(['n4'], ['n0', 'n1', 'n2', 'n3', 'n5']);
    await mesh.advance(2_000);
    await mesh.write('n4', key, 'only here');
    await mesh.giveRoles('n4', ['agent']);
    await mesh.advance(2_000);
    // After a crash nobody can follow its feed from where it was, and without a coordinator nothing is confirmed.
    mesh.crash('n4');
    await mesh.stop('n0');
    mesh.heal();
    await mesh.restart('n4');
    const holders = mesh.sidesOf(key).holders.filter((name) => name !== 'n0');
    expect(holders).not.toContain('n4');
    await mesh.until(() => holders.every((name) => mesh.has(name, key)));
    await mesh.restart('n0');
    await mesh.settled();
    expect(mesh.has('n0', key)).toBe(true);
  });

  it('leaves nothing behind when the mesh becomes so small that everybody holds everything', async () => {
    mesh = await SlotMesh.start(6, { threshold: 5 });
    const keys = Array.from({ length: 20 }, (_, at) => `key-${at}`);
    for (const [at, key] of keys.entries()) await mesh.write(`n${at % 6}`, key, key);
    await mesh.settled();
    const operation = { type: 'remove', nodeId: mesh.member('n5').nodeId } as const;
    await mesh.run(mesh.node('n0').cluster.change({ operation, actor: 'admin' }));
    await mesh.stop('n5');
    const rest = mesh.names.slice(0, 5);
    await mesh.until(() => rest.every((name) => mesh.node(name).list({ ns }).ok));
    for (const name of rest) expect(mesh.node(name).list({ ns })).toMatchObject({ value: { objects: { length: 20 } } });
  });
});
