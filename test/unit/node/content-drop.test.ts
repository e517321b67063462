import { describe, expect, it } from 'vitest';
import { chunkingProfiles } from '../../../crdt/control/namespace-policy.ts';
import { fromBase32 } from '../../../crdt/digest.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import { decodeManifest } from '../../../crdt/manifest.ts';
import type { Content } from '../../../crdt/version.ts';
import { stateKey } from '../../../src/node/content/content-keys.ts';
import type { DropOutcome } from '../../../src/node/content/content-plane.ts';
import { hashed } from '../../../src/node/content/small-content.ts';
import { ContentMesh, type ContentNode, expectSame, fillDiskAt, subjectNamed } from '../../support/content-mesh.ts';
import { storedBlobs } from '../../support/stored-blobs.ts';

const mebibyte = 1024 * 1024;

async function drop(mesh: ContentMesh, node: ContentNode, { manifest }: Content): Promise<DropOutcome> {
  const outcome = await mesh.run(node.kv.transact((transaction) => node.plane.drop(transaction, manifest)));
  node.plane.kick();
  await mesh.clock.advance(10_000);
  return outcome;
}

describe('dropping a content', () => {
  it('says what became of it: leased, dropped, or absent', async () => {
    const mesh = new ContentMesh();
    let leased = true;
    const alice = await mesh.start('alice', {}, { isLeased: () => leased });
    const content = await mesh.put(alice, [mesh.bytes(mebibyte)]);
    expect(await drop(mesh, alice, content)).toBe('leased');
    expect(alice.plane.holds(content)).toBe(true);
    leased = false;
    expect(await drop(mesh, alice, content)).toBe('dropped');
    expect(await storedBlobs(alice)).toEqual(new Map());
    expect(await drop(mesh, alice, content)).toBe('absent');
    expect(alice.metrics.value('anabranch_content_removed_bytes_total')).toBeGreaterThanOrEqual(mebibyte);
  });

  it('tells the inventory in the same transaction', async () => {
    const mesh = new ContentMesh();
    const told: string[] = [];
    const inventory = {
      completed: (_: unknown, manifest: string, sizeBytes: number) => told.push(`+${manifest} ${sizeBytes}`),
      gone: (_: unknown, manifest: string) => told.push(`-${manifest}`),
    };
    const alice = await mesh.start('alice', {}, { inventory });
    const content = await mesh.put(alice, [mesh.bytes(100)]);
    await mesh.put(alice, [await mesh.read(alice, content)]);
    await drop(mesh, alice, content);
    expect(told).toEqual([`+${content.manifest} 100`, `-${content.manifest}`]);
  });

  it('ends a pull that is under way, and removes what it has brought', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const content = await mesh.put(alice, [mesh.bytes(16 * mebibyte)]);
    await mesh.want(bob, content);
    await mesh.until(() => bob.metrics.value('anabranch_blobs_received_bytes_total') > 4 * mebibyte);
    expect(await drop(mesh, bob, content)).toBe('dropped');
    await mesh.clock.advance(30_000);
    expect(bob.plane.pending()).toBe(0);
    expect(await storedBlobs(bob)).toEqual(new Map());
  });

  it('leaves a reader of it what it was reading: the rest comes from holders', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const bytes = mesh.bytes(8 * mebibyte);
    for (const node of [alice, bob]) await mesh.put(node, [bytes]);
    const content = await mesh.put(alice, [bytes]);
    const opened = await mesh.open(alice, content);
    if (!opened.ok) throw new Error(opened.error.message);
    const parts: Uint8Array[] = [];
    const stream = opened.value[Symbol.asyncIterator]();
    for (let next = await mesh.run(stream.next()); next.done !== true; next = await mesh.run(stream.next())) {
      parts.push(next.value);
      if (parts.length === 2) await drop(mesh, alice, content);
    }
    expectSame(new Uint8Array(Buffer.concat(parts)), bytes);
    expect(await storedBlobs(alice)).toEqual(new Map());
  });

  it('is gone on with after a power loss, from the row that was written with it', async () => {
    const mesh = new ContentMesh();
    let alice = await mesh.start('alice');
    const content = await mesh.put(alice, [mesh.bytes(4 * mebibyte)]);
    await mesh.run(alice.kv.transact((transaction) => alice.plane.drop(transaction, content.manifest)));
    await alice.network.stop();
    alice = await mesh.start('alice', { kv: alice.kv.crash(mesh.random), blobs: alice.blobs.crash(mesh.random) });
    await mesh.clock.advance(10_000);
    expect(await storedBlobs(alice)).toEqual(new Map());
  });

  it('finds by the rows what a manifest that rotted had listed', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const [first, second] = [mesh.bytes(3 * mebibyte), mesh.bytes(mebibyte)];
    const content = await mesh.put(alice, [first]);
    const other = await mesh.put(alice, [second]);
    alice.kv.rot(Uint8Array.of(0x40, ...hashBytesOf(content.manifest)), mesh.random);
    await drop(mesh, alice, content);
    expect((await storedBlobs(alice)).has(content.manifest)).toBe(false);
    expectSame(await mesh.read(alice, other), second);
    expect(alice.blobs.usedBytes).toBeLessThan(mebibyte + 1);
  });

  it('removes what an upload that came to nothing has left', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const bytes = mesh.bytes(4 * mebibyte);
    const broken = async function* (): AsyncGenerator<Uint8Array> {
      yield bytes;
      throw new Error('the client has gone');
    };
    await expect(mesh.run(alice.plane.ingest(broken(), 'files'))).rejects.toThrow('the client has gone');
    await mesh.clock.advance(1_000);
    expect(await storedBlobs(alice)).toEqual(new Map());
  });

  it.each([true, false])('works for a manifest too long for one transaction, kept (%s)', async (isKept) => {
    const mesh = new ContentMesh();
    const cut = { chunkingOf: () => ({ algorithm: 'fastcdc-1', min: 64, average: 256, max: 1_024 }) as const };
    const [alice, bob] = [await mesh.start('alice', {}, cut), await mesh.start('bob')];
    const bytes = mesh.bytes(400_000);
    const staged = await mesh.run(alice.plane.ingest([bytes], 'files'));
    expect(staged.linkage).toBeUndefined();
    if (isKept) {
      await mesh.run(alice.kv.transact((transaction) => alice.plane.keep(transaction, staged)));
    }
    staged.release(isKept);
    await mesh.clock.advance(30_000);
    expect((await storedBlobs(alice)).size > 0).toBe(isKept);
    if (!isKept) return;
    await mesh.want(bob, staged.content);
    await mesh.until(() => bob.plane.holds(staged.content));
    expect(await mesh.run(bob.plane.scrubNow(new AbortController().signal))).toMatchObject({ leftovers: 0 });
    for (const node of [alice, bob]) {
      expectSame(await mesh.read(node, staged.content), bytes);
      await drop(mesh, node, staged.content);
      await mesh.clock.advance(10_000);
      expect(await storedBlobs(node)).toEqual(new Map());
    }
  });

  it('links the contents of a store that was filled before links were kept, and only then removes anything', async () => {
    const mesh = new ContentMesh();
    let alice = await mesh.start('alice');
    const bytes = mesh.bytes(3 * mebibyte);
    const content = await mesh.put(alice, [bytes]);
    const disk = await mesh.stop(alice);
    await mesh.run(
      (disk.kv as ContentNode['kv']).transact((transaction) => {
        const links = [...transaction.range({ start: Uint8Array.of(0x47), end: Uint8Array.of(0x48) })];
        for (const [key] of links) transaction.delete(key);
        transaction.delete(stateKey('linked'));
      }),
    );
    alice = await mesh.start('alice', disk);
    const { leftovers, incomplete } = await mesh.run(alice.plane.scrubNow(new AbortController().signal));
    expect({ leftovers, incomplete }).toEqual({ leftovers: 0, incomplete: 0 });
    expectSame(await mesh.read(alice, content), bytes);
    await drop(mesh, alice, content);
    expect(await storedBlobs(alice)).toEqual(new Map());
  });
});

describe('a node that is to hold a content no more', () => {
  it('ends the jobs nobody here wants, dead ones too, and keeps those of others', async () => {
    const mesh = new ContentMesh();
    const unwanted = new Set<string>();
    const alice = await mesh.start('alice');
    const bob = await mesh.start('bob', {}, { shouldHold: ({ key }) => !unwanted.has(key) });
    const contents: Content[] = [];
    for (let index = 0; index < 5; index++) {
      const staged = await mesh.run(alice.plane.ingest([mesh.bytes(50_000)], 'files'));
      staged.release(false);
      contents.push(staged.content);
      await mesh.want(bob, staged.content, `v${index}`);
    }
    await mesh.want(bob, contents[0] as Content, 'also');
    for (const name of ['v0', 'v1', 'v2']) unwanted.add(name);
    expect(await mesh.run(bob.plane.reconsider())).toBe(2);
    expect(bob.plane.pending()).toBe(3);
    await mesh.clock.advance(26 * 3_600_000);
    expect(bob.plane.deadCount()).toBe(3);
    unwanted.add('v3');
    expect(await mesh.run(bob.plane.reconsider())).toBe(1);
    expect(bob.plane.deadCount()).toBe(2);
  });
});

describe('a content that was wanted for one version, and then came with another', () => {
  it('stays when the first is to be held here no more, whether its job had been given up or waits', async () => {
    for (const waitMs of [0, 26 * 3_600_000]) {
      const mesh = new ContentMesh();
      let isWanted = true;
      const alice = await mesh.start('alice');
      const bob = await mesh.start('bob', {}, { shouldHold: ({ key }) => isWanted || key !== 'v1' });
      const bytes = mesh.bytes(50_000);
      const staged = await mesh.run(alice.plane.ingest([bytes], 'files'));
      staged.release(false);
      await mesh.want(bob, staged.content);
      await mesh.clock.advance(waitMs);
      const own = await mesh.run(bob.plane.ingest([bytes], 'files'));
      await mesh.run(bob.kv.transact((transaction) => bob.plane.keep(transaction, own)));
      own.release(true);
      isWanted = false;
      await mesh.run(bob.plane.reconsider());
      expect(bob.plane.holds(own.content)).toBe(true);
      expect([bob.plane.pending(), bob.plane.deadCount()]).toEqual([0, 0]);
      bob.plane.kick();
      await mesh.clock.advance(60_000);
      expectSame(await mesh.read(bob, own.content), bytes);
    }
  });
});

describe('the way content is cut', () => {
  it('follows the namespace, for small contents too', async () => {
    const mesh = new ContentMesh();
    const cut = { chunkingOf: (ns: string) => (ns === 'files' ? chunkingProfiles.small : chunkingProfiles.default) };
    const alice = await mesh.start('alice', {}, cut);
    const content = await mesh.put(alice, [mesh.bytes(mebibyte)]);
    const manifest = decodeManifest((await storedBlobs(alice)).get(content.manifest) as Uint8Array);
    if (!manifest.ok || manifest.value.kind !== 'leaf') throw new Error('a leaf');
    expect(manifest.value.chunking).toEqual(chunkingProfiles.small);
    expect(manifest.value.chunks.length).toBeGreaterThan(6);
    const bytes = mesh.bytes(700);
    const small = await mesh.put(alice, [bytes]);
    const bob = await mesh.start('bob');
    const kept = await mesh.run(
      bob.kv.transact((transaction) => bob.plane.keepSmall(transaction, small, subjectNamed('v1'), hashed(bytes))),
    );
    expect([kept, bob.plane.holds(small)]).toEqual([true, true]);
  });
});

function hashBytesOf(hash: BlobHash): Uint8Array {
  const bytes = fromBase32(hash);
  if (bytes === undefined) throw new Error('no hash');
  return bytes;
}

it('the jobs that ended before the disk was full for a moment leave nothing', async () => {
  const mesh = new ContentMesh();
  const alice = await mesh.start('alice');
  let isHolder = true;
  const bob = await mesh.start('bob', {}, { shouldHold: () => isHolder });
  const large = await mesh.put(alice, [mesh.bytes(16 * mebibyte)]);
  await mesh.want(bob, large, 'large');
  await mesh.until(() => (bob.metrics.value('anabranch_blobs_received_bytes_total') ?? 0) > 4 * mebibyte);
  mesh.hub.partition([alice.peer], [bob.peer]);
  // More than are gone through at once.
  for (let index = 0; index < 300; index += 1) {
    const { content } = await mesh.run(alice.plane.ingest([mesh.bytes(10 + index)], 'files'));
    await mesh.run(bob.kv.transact((transaction) => bob.plane.want(transaction, content, subjectNamed(`v${index}`))));
  }
  bob.plane.kick();
  // Half a minute before work is looked for that nobody told of.
  await mesh.clock.advance(90_000 - (mesh.clock.monotonicMs() % 60_000));
  expect((await storedBlobs(bob)).size).toBeGreaterThan(0);
  isHolder = false;
  fillDiskAt(bob, 2);
  await expect(mesh.run(bob.plane.reconsider())).rejects.toMatchObject({ code: 'disk_full' });
  await mesh.clock.advance(10_000);
  expect((await storedBlobs(bob)).size).toBe(0);
});
