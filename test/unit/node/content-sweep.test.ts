import { describe, expect, it } from 'vitest';
import { chunkingProfiles } from '../../../crdt/control/namespace-policy.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import { decodeManifest } from '../../../crdt/manifest.ts';
import type { Content } from '../../../crdt/version.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { blobKey, condemnedKey, hashedRange } from '../../../src/node/content/content-keys.ts';
import { ContentMesh, type ContentNode, expectSame, pieces, subjectNamed } from '../../support/content-mesh.ts';
import { storedBlobs } from '../../support/stored-blobs.ts';

const mebibyte = 1024 * 1024;
/** Some 150 chunks: three batches of the sweeper, so that it pauses twice in the midst of one content. */
const bytesInBatches = 10 * mebibyte;
const small = { chunkingOf: () => chunkingProfiles.small };

/** Readers see what is flushed, as those of LMDB do. */
function flushedKv(mesh: ContentMesh): MemoryKv {
  const kv = new MemoryKv(mesh.clock, { flushDelayMs: 4 });
  kv.get = (key) => kv.durable().get(key);
  kv.range = (range) => kv.durable().range(range);
  return kv;
}

/** A node whose disk takes a millisecond to say how large a file is, and two to remove one. */
async function slowNode(mesh: ContentMesh, name: string): Promise<ContentNode> {
  const node = await mesh.start(name, { kv: flushedKv(mesh) }, small);
  const { blobs } = node;
  const [sizeOf, remove] = [blobs.sizeOf.bind(blobs), blobs.delete.bind(blobs)];
  blobs.sizeOf = async (hash) => {
    await mesh.clock.sleep(1);
    return sizeOf(hash);
  };
  blobs.delete = async (hash) => {
    await mesh.clock.sleep(2);
    await remove(hash);
  };
  return node;
}

async function beginDrop(mesh: ContentMesh, node: ContentNode, { manifest }: Content): Promise<void> {
  await mesh.run(node.kv.transact((transaction) => node.plane.drop(transaction, manifest)));
  node.plane.kick();
}

/** What of a content's chunks is not stored. */
async function lacking(node: ContentNode, { manifest }: Content): Promise<BlobHash[]> {
  const stored = await storedBlobs(node);
  const decoded = decodeManifest(stored.get(manifest) ?? new Uint8Array());
  if (!decoded.ok || decoded.value.kind !== 'leaf') return [manifest];
  return decoded.value.chunks.map(({ hash }) => hash).filter((hash) => !stored.has(hash));
}

describe('what was dropped', () => {
  const condemned = (node: ContentNode): number => [...node.kv.range(hashedRange('condemned'))].length;

  it('is removed with all the manifests that its manifest lists, though nobody asks again', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice', {}, { chunkingOf: () => tiny });
    const content = await mesh.put(alice, [mesh.bytes(3 * mebibyte)]);
    const root = decodeManifest((await storedBlobs(alice)).get(content.manifest) ?? new Uint8Array());
    expect(root.ok && root.value.kind).toBe('tree');
    await mesh.clock.advance(61_000);
    await beginDrop(mesh, alice, content);
    await mesh.clock.advance(55_000);
    expect([condemned(alice), (await storedBlobs(alice)).size]).toEqual([0, 0]);
  });

  it('is removed within a minute also where nobody told of it', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice', {}, small);
    const content = await mesh.put(alice, [mesh.bytes(100)]);
    await mesh.clock.advance(10_000);
    await mesh.run(
      alice.kv.transact((transaction) => transaction.put(condemnedKey(content.manifest), new Uint8Array())),
    );
    await mesh.clock.advance(65_000);
    expect(condemned(alice)).toBe(0);
    expect(alice.plane.holds(content)).toBe(true);
  });
});

describe('a content that is being taken apart', () => {
  const moments = [0, 1, 10, 40, 70, 100, 140, 180];

  it.each(moments)('is whole again when it is wanted again %i ms later', async (afterMs) => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await slowNode(mesh, 'alice'), await mesh.start('bob', {}, small)];
    const bytes = mesh.bytes(bytesInBatches);
    const content = await mesh.put(alice, pieces(bytes, mebibyte));
    await mesh.put(bob, pieces(bytes, mebibyte));
    await beginDrop(mesh, alice, content);
    await mesh.clock.advance(afterMs);
    await mesh.want(alice, content, 'v2');
    await mesh.until(() => alice.plane.holds(content));
    expect(await lacking(alice, content)).toEqual([]);
    await mesh.clock.advance(60_000);
    expect([alice.plane.holds(content), alice.plane.pending()]).toEqual([true, 0]);
    expect(await lacking(alice, content)).toEqual([]);
  });

  it.each(moments)(
    'keeps what an upload of the same bytes found, when that is acknowledged %i ms later',
    async (ms) => {
      const mesh = new ContentMesh();
      const alice = await slowNode(mesh, 'alice');
      const bytes = mesh.bytes(bytesInBatches);
      const content = await mesh.put(alice, pieces(bytes, mebibyte));
      const staged = await mesh.run(alice.plane.ingest(pieces(bytes, mebibyte), 'files'));
      await beginDrop(mesh, alice, content);
      await mesh.clock.advance(ms);
      await mesh.run(alice.kv.transact((transaction) => alice.plane.keep(transaction, staged)));
      staged.release(true);
      await mesh.clock.advance(60_000);
      expect(alice.plane.holds(content)).toBe(true);
      expectSame(await mesh.read(alice, content), bytes);
    },
  );

  it.each(moments)('keeps what an upload that begins %i ms later finds of it', async (afterMs) => {
    const mesh = new ContentMesh();
    const alice = await slowNode(mesh, 'alice');
    const bytes = mesh.bytes(bytesInBatches);
    const content = await mesh.put(alice, pieces(bytes, mebibyte));
    await beginDrop(mesh, alice, content);
    await mesh.clock.advance(afterMs);
    await mesh.put(alice, pieces(bytes, mebibyte));
    await mesh.clock.advance(60_000);
    expectSame(await mesh.read(alice, content), bytes);
  });

  it.each([
    [5, 10],
    [5, 80],
    [70, 5],
    [70, 30],
    [70, 70],
    [130, 70],
  ])(
    'leaves nothing behind when it is wanted again %i ms later and dropped again after %i',
    async (wantedMs, droppedMs) => {
      const mesh = new ContentMesh();
      const [alice, bob] = [await slowNode(mesh, 'alice'), await mesh.start('bob', {}, small)];
      const bytes = mesh.bytes(bytesInBatches);
      const content = await mesh.put(alice, pieces(bytes, mebibyte));
      await mesh.put(bob, pieces(bytes, mebibyte));
      await beginDrop(mesh, alice, content);
      await mesh.clock.advance(wantedMs);
      await mesh.want(alice, content, 'v2');
      await mesh.clock.advance(droppedMs);
      await beginDrop(mesh, alice, content);
      await mesh.clock.advance(60_000);
      expect(alice.plane.pending()).toBe(0);
      expect(await storedBlobs(alice)).toEqual(new Map());
      const links = alice.kv.range({ start: Uint8Array.of(0x47), end: Uint8Array.of(0x49) });
      expect([...links]).toEqual([]);
    },
  );

  it('is gone on with after a power loss at any moment, or is whole when it was wanted again', async () => {
    for (const [index, afterMs] of moments.entries()) {
      const mesh = new ContentMesh();
      const alice = await slowNode(mesh, 'alice');
      await mesh.start('bob', {}, small).then((bob) => mesh.put(bob, [mesh.bytes(1)]));
      const bytes = mesh.bytes(bytesInBatches);
      const content = await mesh.put(alice, pieces(bytes, mebibyte));
      const shared = await mesh.put(alice, pieces(bytes.subarray(0, bytesInBatches / 2), mebibyte));
      await beginDrop(mesh, alice, content);
      await mesh.clock.advance(afterMs);
      const isWanted = index % 2 === 0;
      if (isWanted) await mesh.want(alice, content, 'v2');
      await mesh.clock.advance(index);
      await alice.network.stop();
      const disk = { kv: alice.kv.crash(mesh.random), blobs: alice.blobs.crash(mesh.random) };
      const again = await mesh.start('alice', disk, small);
      await mesh.clock.advance(60_000);
      if (again.plane.holds(content)) expect(await lacking(again, content)).toEqual([]);
      expect(again.plane.pending()).toBe(isWanted && !again.plane.holds(content) ? 1 : 0);
      expectSame(await mesh.read(again, shared), bytes.subarray(0, bytesInBatches / 2));
    }
  });
});

describe('a small blob whose removal is not flushed yet', () => {
  it('is stored again by an upload that can still see it', async () => {
    const mesh = new ContentMesh();
    const kv = flushedKv(mesh);
    const cut = { chunkingOf: () => ({ algorithm: 'fastcdc-1', min: 4_096, average: 8_192, max: 16_384 }) as const };
    const alice = await mesh.start('alice', { kv }, cut);
    // More small blobs than wait for the transaction of a version: the rest is stored at once, and looked for first.
    const bytes = mesh.bytes(3 * mebibyte);
    const other = new Uint8Array([...mesh.bytes(mebibyte + 200_000), ...bytes]);
    const content = await mesh.put(alice, [bytes]);
    for (const afterMs of [1, 7, 13, 26]) {
      await beginDrop(mesh, alice, content);
      await mesh.clock.advance(afterMs);
      const kept = await mesh.put(alice, [other]);
      await mesh.clock.advance(20_000);
      expect([afterMs, await lacking(alice, kept)]).toEqual([afterMs, []]);
      await mesh.put(alice, [bytes]);
      await beginDrop(mesh, alice, kept);
      await mesh.clock.advance(20_000);
    }
  });
});

describe('a blob of a content under way', () => {
  it('is looked for again when it rots after it was found, so that nothing is called whole without it', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice', {}, small), await mesh.start('bob', {}, small)];
    const content = await mesh.put(alice, pieces(mesh.bytes(bytesInBatches), mebibyte));
    const first = await firstChunk(alice, content);
    await mesh.want(bob, content);
    await mesh.until(() => bob.blobs.usedBytes > bytesInBatches / 2);
    mesh.hub.partition([alice.peer], [bob.peer]);
    await mesh.clock.advance(1_000);
    for (const node of [alice, bob]) {
      expect(node.blobs.corrupt(first, mesh.random)).toBe(true);
      expect(await mesh.run(Promise.resolve(node.plane.lendBlob(first)))).toBeUndefined();
    }
    mesh.hub.heal();
    await mesh.clock.advance(120_000);
    expect((await lacking(bob, content)).filter((hash) => hash !== content.manifest)).toEqual([first]);
    expect(bob.plane.holds(content)).toBe(false);
    expect(bob.plane.pending()).toBe(2);
  });

  it('is looked at again when it rots before the version of its upload is written', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice', {}, small);
    const bytes = mesh.bytes(2 * mebibyte);
    const staged = await mesh.run(alice.plane.ingest(pieces(bytes, mebibyte), 'files'));
    const first = alice.blobs.hashes()[0] as BlobHash;
    alice.blobs.corrupt(first, mesh.random);
    await mesh.run(Promise.resolve(alice.plane.lendBlob(first)));
    await mesh.run(alice.kv.transact((transaction) => alice.plane.keep(transaction, staged)));
    staged.release(true);
    await mesh.clock.advance(1_000);
    expect(alice.plane.holds(staged.content)).toBe(false);
    const again = await mesh.put(alice, pieces(bytes, mebibyte));
    await mesh.clock.advance(60_000);
    expect([alice.plane.holds(again), alice.plane.pending()]).toEqual([true, 0]);
    expectSame(await mesh.read(alice, again), bytes);
  });

  it('makes every content that shares it wanted again, however many there are', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice', {}, { chunkingOf: () => tiny });
    const shared = mesh.bytes(20_000);
    const contents: Content[] = [];
    for (let index = 0; index < 300; index++) contents.push(await mesh.put(alice, [shared, mesh.bytes(300)]));
    const listings = await Promise.all(contents.map((content) => chunksOf(alice, content)));
    const common = listings[0]?.find((hash) => listings.every((listed) => listed.includes(hash))) as BlobHash;
    alice.kv.rot(blobKey(common), mesh.random);
    expect(await mesh.run(Promise.resolve(alice.plane.lendBlob(common)))).toBeUndefined();
    await mesh.clock.advance(1_000);
    expect(contents.filter((content) => alice.plane.holds(content))).toEqual([]);
  });
});

describe('a content that somebody found lacking', () => {
  it('is looked at, and wanted again when it does lack something', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice', {}, small), await mesh.start('bob', {}, small)];
    const bytes = mesh.bytes(bytesInBatches);
    const content = await mesh.put(alice, pieces(bytes, mebibyte));
    await mesh.put(bob, pieces(bytes, mebibyte));
    alice.plane.doubt(content.manifest);
    await mesh.clock.advance(1_000);
    expect([alice.plane.holds(content), alice.log.linesOf('content:incomplete')]).toEqual([true, []]);
    await mesh.run(alice.blobs.delete(await firstChunk(alice, content)));
    mesh.hub.partition([alice.peer], [bob.peer]);
    // Whoever doubts it at every turn does not have it looked at at every turn.
    alice.plane.doubt(content.manifest);
    await mesh.clock.advance(50_000);
    expect(alice.plane.holds(content)).toBe(true);
    await mesh.clock.advance(10_000);
    alice.plane.doubt(content.manifest);
    await mesh.clock.advance(1_000);
    expect([alice.plane.holds(content), alice.plane.pending()]).toEqual([false, 1]);
    mesh.hub.heal();
    await mesh.until(() => alice.plane.holds(content));
    expect(await lacking(alice, content)).toEqual([]);
  });

  it('is whole again by what is here, also when its manifest is a file and nobody else is there', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice', {}, { chunkingOf: () => tiny });
    const bytes = mesh.bytes(200_000);
    const content = await mesh.put(alice, [bytes]);
    expect(alice.blobs.hashes()).toContain(content.manifest);
    const chunk = (await chunksOf(alice, content))[3] as BlobHash;
    alice.kv.rot(blobKey(chunk), mesh.random);
    await mesh.run(Promise.resolve(alice.plane.lendBlob(chunk)));
    await mesh.clock.advance(1_000);
    expect(alice.plane.holds(content)).toBe(false);
    await mesh.put(alice, [bytes.subarray(0, 100_000)]);
    await mesh.until(() => alice.plane.holds(content));
    expectSame(await mesh.read(alice, content), bytes);
  });

  it('is nothing to a node that does not hold it, nor to one that stops', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice', {}, small);
    const content = await mesh.put(alice, pieces(mesh.bytes(bytesInBatches), mebibyte));
    alice.plane.doubt(subjectNamed('unknown').version as string as BlobHash);
    alice.plane.doubt(content.manifest);
    await mesh.stop(alice);
    alice.plane.doubt(content.manifest);
    expect(alice.log.linesOf('content:incomplete')).toEqual([]);
  });
});

const tiny = { algorithm: 'fastcdc-1', min: 64, average: 256, max: 1_024 } as const;

async function chunksOf(node: ContentNode, { manifest }: Content): Promise<BlobHash[]> {
  const decoded = decodeManifest((await storedBlobs(node)).get(manifest) ?? new Uint8Array());
  if (!decoded.ok || decoded.value.kind !== 'leaf') throw new Error('a leaf');
  return decoded.value.chunks.map(({ hash }) => hash);
}

async function firstChunk(node: ContentNode, content: Content): Promise<BlobHash> {
  return (await chunksOf(node, content))[0] as BlobHash;
}
