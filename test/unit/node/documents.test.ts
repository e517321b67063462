import * as Automerge from '@automerge/automerge';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DocId } from '../../../crdt/ids.ts';
import { ObjectStore } from '../../../src/node/object-store.ts';
import { snapshotKey } from '../../../src/node/storage-keys.ts';
import { Mesh, unwrap } from '../../support/mesh.ts';

let mesh: Mesh;
let objects: ObjectStore;
let doc: DocId;

beforeEach(async () => {
  mesh = await Mesh.start(['alice', 'bob']);
  const { cluster } = await mesh.get('alice').node.status();
  objects = new ObjectStore({ cluster, slots: 16 });
  doc = objects.documentId('test', 'key');
});
afterEach(async () => {
  await mesh.stop();
});

const compactions = (): number => mesh.get('alice').metrics.value('anabranch_documents_compacted_total');
const rebuilt = (): number => mesh.get('alice').metrics.value('anabranch_documents_rebuilt_total');

async function write(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) await mesh.put('alice', 'key', `text ${index}`);
  await mesh.settle();
}

async function recordsInDocument(): Promise<number> {
  const saved = unwrap(await mesh.get('alice').node.document({ ns: 'test', key: 'key' }));
  const document = Automerge.load<Record<string, unknown>>(saved);
  return Object.keys(document).length;
}

describe('documents on disk', () => {
  it('become a snapshot and the changes since, with every version still in them', async () => {
    await write(63);
    expect(compactions()).toBe(0);
    await write(1);
    expect(compactions()).toBe(1);
    const { kv } = mesh.get('alice');
    expect(kv.get(snapshotKey(doc))).toBeDefined();
    expect(objects.object(kv, doc)?.increments).toBe(0);
    await write(5);
    expect(objects.documentParts(kv, doc)).toHaveLength(6);
    expect(await recordsInDocument()).toBe(69);
    expect(mesh.graph('bob', 'key')).toEqual(mesh.graph('alice', 'key'));
  });

  it('are compacted again only when the changes have become as many as the snapshot holds', async () => {
    await write(64);
    await write(63);
    expect(compactions()).toBe(1);
    await write(1);
    expect(compactions()).toBe(2);
    expect(await recordsInDocument()).toBe(128);
    // The snapshot holds twice as many now, so as many as the first time are not enough.
    await write(127);
    expect(compactions()).toBe(2);
    await write(1);
    expect(compactions()).toBe(3);
    expect(await recordsInDocument()).toBe(256);
  });

  it('go on after a compaction: branches from versions within the snapshot are built as before', async () => {
    const first = await mesh.put('alice', 'key', 'first');
    await write(64);
    await mesh.put('alice', 'key', 'branch', [first.version]);
    await mesh.settle();
    expect(mesh.graph('alice', 'key').heads).toHaveLength(2);
    expect(await recordsInDocument()).toBe(66);
    expect(mesh.graph('bob', 'key')).toEqual(mesh.graph('alice', 'key'));
  });

  it.each([
    ['damaged', (snapshot: Uint8Array) => snapshot.fill(0, 20, 40)],
    ['of an earlier time', () => Automerge.save(Automerge.init())],
  ])('are built anew from the records when a snapshot is %s', async (_, spoil) => {
    await write(70);
    const { kv } = mesh.get('alice');
    await mesh.run(
      kv.transact((transaction) => {
        const snapshot = transaction.get(snapshotKey(doc)) ?? new Uint8Array(0);
        transaction.put(snapshotKey(doc), spoil(Uint8Array.from(snapshot)));
      }),
    );
    await mesh.stopNode('alice');
    await mesh.startNode('alice');
    expect(await mesh.run(recordsInDocument())).toBe(70);
    expect(rebuilt()).toBe(1);
    expect(mesh.get('alice').kv.get(snapshotKey(doc))).toBeUndefined();
  });

  it('are absent for an object that is not there', async () => {
    const outcome = await mesh.get('alice').node.document({ ns: 'test', key: 'none' });
    expect(outcome.ok).toBe(false);
  });
});
