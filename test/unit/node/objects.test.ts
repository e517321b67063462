import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { blake3, toHex } from '../../../crdt/digest.ts';
import { openDocument } from '../../../crdt/object-document.ts';
import type { NodeAdapters } from '../../../src/node/node-parts.ts';
import { ObjectStore } from '../../../src/node/object-store.ts';
import { MeshError } from '../../../src/ports/mesh-error.ts';
import { Mesh, refusalOf, type TestNode, unwrap } from '../../support/mesh.ts';

let mesh: Mesh;
let alice: TestNode;
beforeEach(async () => {
  mesh = await Mesh.start(['alice']);
  alice = mesh.get('alice');
});
afterEach(async () => {
  await mesh.stop();
});

const target = (key: string) => ({ ns: 'test', key, author: 'admin' });
const body = (text: string) => [Buffer.from(text)];
const unknownId = 'a'.repeat(52);

describe('writing', () => {
  it('answers with the version, its place in the graph and the hash of its content', async () => {
    const first = await mesh.put('alice', 'key', 'one');
    expect(first).toMatchObject({ kind: 'put', state: 'provisional', parents: [], generation: 1, size: 3 });
    expect(first.b3).toBe(toHex(blake3(Buffer.from('one'))));
    expect(first.heads).toEqual([first.version]);
    expect(first.conflict).toBe(false);
    const second = await mesh.put('alice', 'key', 'two');
    expect(second).toMatchObject({ parents: [first.version], generation: 2, heads: [second.version] });
  });

  it('takes bodies of no byte and of one', async () => {
    const empty = unwrap(await mesh.run(alice.node.put({ ...target('empty'), body: [] })));
    expect(empty.size).toBe(0);
    expect(await mesh.text('alice', 'empty')).toBe('');
    await mesh.put('alice', 'one', 'x');
    expect(await mesh.text('alice', 'one')).toBe('x');
  });

  it('makes a branch when an old version is named, and keeps both', async () => {
    const first = await mesh.put('alice', 'key', 'one');
    const left = await mesh.put('alice', 'key', 'left', [first.version]);
    const right = await mesh.put('alice', 'key', 'right', [first.version]);
    expect(right.conflict).toBe(true);
    expect(right.heads).toEqual([left.version, right.version].sort());
    expect(await mesh.text('alice', 'key', left.version)).toBe('left');
    expect(await mesh.text('alice', 'key', right.version)).toBe('right');
  });

  it('keeps every one of many writes at once to one key', async () => {
    const writes = Array.from({ length: 50 }, (_, index) => mesh.put('alice', 'key', `text ${index}`));
    const written = await Promise.all(writes);
    const graph = mesh.graph('alice', 'key');
    expect(graph.versions).toHaveLength(50);
    expect(new Set(written.map(({ version }) => version)).size).toBe(50);
    expect(graph.heads).toHaveLength(1);
    expect(new Set(graph.versions.map(({ dot }) => dot.counter)).size).toBe(50);
  });

  it('merges what is named, and drops a named parent that is an ancestor of another', async () => {
    const first = await mesh.put('alice', 'key', 'one');
    const left = await mesh.put('alice', 'key', 'left', [first.version]);
    const right = await mesh.put('alice', 'key', 'right', [first.version]);
    const merged = await mesh.put('alice', 'key', 'both', [first.version, left.version, right.version]);
    expect(merged).toMatchObject({ kind: 'merge', conflict: false, generation: 3 });
    expect(merged.parents).toEqual([left.version, right.version].sort());
  });

  it('adopts one side in a merge that picks it', async () => {
    const left = await mesh.put('alice', 'key', 'left');
    const first = await mesh.run(alice.node.put({ ...target('key'), body: body('x'), parents: [left.version] }));
    const right = await mesh.put('alice', 'key', 'right', [left.version]);
    const parents = [unwrap(first).version, right.version];
    const merged = unwrap(await mesh.run(alice.node.merge({ ...target('key'), parents, pick: right.version })));
    expect(merged).toMatchObject({ kind: 'merge', b3: right.b3, conflict: false });
    expect(await mesh.text('alice', 'key')).toBe('right');
  });

  it('acknowledges a quorum write as confirmed when it is the only coordinator', async () => {
    const outcome = await mesh.run(alice.node.put({ ...target('key'), body: body('text'), commit: 'quorum' }));
    expect(unwrap(outcome)).toMatchObject({ state: 'confirmed', conflict: false });
  });

  it('refuses what it cannot take, each by its own code, and stores nothing', async () => {
    const elsewhere = await mesh.put('alice', 'elsewhere', 'text');
    const put = async (extra: object): Promise<string> =>
      refusalOf(await mesh.run(alice.node.put({ ...target('key'), body: body('text'), ...extra })));
    expect(await put({ ns: 'No Such' })).toBe('invalid_namespace');
    expect(await put({ key: 'a/../b' })).toBe('invalid_key');
    expect(await put({ key: '' })).toBe('invalid_key');
    expect(await put({ key: 'k'.repeat(1_025) })).toBe('invalid_key');
    expect(await put({ parents: ['nonsense'] })).toBe('invalid_version');
    expect(await put({ parents: [unknownId] })).toBe('unknown_parent');
    expect(await put({ parents: [elsewhere.version] })).toBe('foreign_parent');
    expect(await put({ parents: [] })).toBe('invalid_request');
    expect(await put({ type: 'text/plain\n' })).toBe('invalid_request');
    expect(await put({ meta: { 'Bad Name': 'x' } })).toBe('invalid_request');
    expect(refusalOf(alice.node.graph({ ns: 'test', key: 'key' }))).toBe('not_found');
    expect((await alice.node.status()).versions).toBe(1);
  });

  it('leaves nothing of a body that was cut short', async () => {
    const cutShort = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(400_000, 1);
      throw new MeshError('incomplete_body', 'the body ended early');
    };
    const outcome = await mesh.run(alice.node.put({ ...target('key'), body: cutShort() }));
    expect(refusalOf(outcome)).toBe('incomplete_body');
    expect(refusalOf(alice.node.read({ ns: 'test', key: 'key' }))).toBe('not_found');
  });

  it('says that the disk is full, and goes on when there is room again', async () => {
    alice.kv.failTransactions('disk_full');
    const outcome = await mesh.run(alice.node.put({ ...target('key'), body: body('text') }));
    expect(refusalOf(outcome)).toBe('disk_full');
    alice.blobs.failNext('put', 'disk_full');
    const large = await mesh.run(alice.node.put({ ...target('key'), body: [Buffer.alloc(100_000)] }));
    expect(refusalOf(large)).toBe('disk_full');
    expect(refusalOf(alice.node.read({ ns: 'test', key: 'key' }))).toBe('not_found');
    expect((await mesh.put('alice', 'key', 'text')).generation).toBe(1);
  });
});

describe('deleting', () => {
  it('writes a tombstone that reads as deleted, and the versions before it stay', async () => {
    const first = await mesh.put('alice', 'key', 'text');
    const deleted = unwrap(await mesh.run(alice.node.delete(target('key'))));
    expect(deleted).toMatchObject({ kind: 'delete', size: null, b3: null, parents: [first.version] });
    expect(refusalOf(alice.node.read({ ns: 'test', key: 'key' }))).toBe('deleted');
    expect(await mesh.text('alice', 'key', first.version)).toBe('text');
    expect(unwrap(alice.node.list({ ns: 'test' })).objects).toEqual([]);
  });

  it('refuses what is not there, or deleted already', async () => {
    expect(refusalOf(await mesh.run(alice.node.delete(target('key'))))).toBe('not_found');
    await mesh.put('alice', 'key', 'text');
    unwrap(await mesh.run(alice.node.delete(target('key'))));
    expect(refusalOf(await mesh.run(alice.node.delete(target('key'))))).toBe('deleted');
  });

  it('keeps both heads when a write and a delete are concurrent, and lists the key', async () => {
    const first = await mesh.put('alice', 'key', 'text');
    unwrap(await mesh.run(alice.node.delete({ ...target('key'), parents: [first.version] })));
    const second = await mesh.put('alice', 'key', 'more', [first.version]);
    expect(second.conflict).toBe(true);
    expect(unwrap(alice.node.list({ ns: 'test' })).objects).toHaveLength(1);
  });
});

describe('reading', () => {
  it('knows the modes: nothing is confirmed yet', async () => {
    await mesh.put('alice', 'key', 'text');
    expect(refusalOf(alice.node.read({ ns: 'test', key: 'key', mode: 'confirmed_only' }))).toBe('not_confirmed');
    unwrap(alice.node.read({ ns: 'test', key: 'key', mode: 'provisional_allowed' }));
    expect(refusalOf(alice.node.read({ ns: 'test', key: 'none' }))).toBe('not_found');
    expect(refusalOf(alice.node.read({ ns: 'test', key: 'key', version: unknownId }))).toBe('version_not_found');
    expect(refusalOf(alice.node.read({ ns: 'test', key: 'key', version: 'x' }))).toBe('invalid_version');
  });

  it('prefers the greatest generation and names the head it did not show', async () => {
    const first = await mesh.put('alice', 'key', 'one');
    const short = await mesh.put('alice', 'key', 'short', [first.version]);
    const long = await mesh.put('alice', 'key', 'long', [first.version]);
    const longer = await mesh.put('alice', 'key', 'longer', [long.version]);
    const found = unwrap(alice.node.read({ ns: 'test', key: 'key' }));
    expect(found.version).toBe(longer.version);
    expect(found.newer).toBe(short.version);
  });

  it('lists keys in the order of their bytes, by page, prefix and delimiter', async () => {
    const keys = ['a', 'b/1', 'b/2', 'b/c/3', 'd', 'é', 'b'];
    for (const key of keys) await mesh.put('alice', key, key);
    const all: string[] = [];
    let after: string | undefined;
    for (;;) {
      const page = unwrap(alice.node.list({ ns: 'test', limit: 2, ...(after === undefined ? {} : { after }) }));
      all.push(...page.objects.map(({ key }) => key));
      if (page.next === null) break;
      after = page.next;
    }
    const byBytes = [...keys].sort((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right)));
    expect(all).toEqual(byBytes);
    const folder = unwrap(alice.node.list({ ns: 'test', prefix: 'b/', delimiter: '/' }));
    expect(folder.objects.map(({ key }) => key)).toEqual(['b/1', 'b/2']);
    expect(folder.prefixes).toEqual(['b/c/']);
    const top = unwrap(alice.node.list({ ns: 'test', delimiter: '/', limit: 3 }));
    expect([top.objects.map(({ key }) => key), top.prefixes, top.next]).toEqual([['a', 'b'], ['b/'], 'b/']);
    const rest = unwrap(alice.node.list({ ns: 'test', delimiter: '/', after: 'b/' }));
    expect(rest.objects.map(({ key }) => key)).toEqual(['d', 'é']);
  });

  it('keeps an Automerge document whose heads are the heads of the graph', async () => {
    const first = await mesh.put('alice', 'key', 'one');
    await mesh.put('alice', 'key', 'left', [first.version]);
    await mesh.put('alice', 'key', 'right', [first.version]);
    const { cluster } = await alice.node.status();
    const objects = new ObjectStore({ cluster, slots: 16 });
    const kv: NodeAdapters['kv'] = alice.kv;
    const document = openDocument(objects.documentParts(kv, objects.documentId('test', 'key')));
    const graph = mesh.graph('alice', 'key');
    expect(document.heads()).toEqual(graph.heads);
    expect(document.versions()).toEqual(graph.versions.map(({ version }) => version).sort());
    document.free();
  });
});
