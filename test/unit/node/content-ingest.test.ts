import { describe, expect, it } from 'vitest';
import { createChunker, defaultChunking } from '../../../crdt/chunking.ts';
import { blake3, blobHashOf, toHex } from '../../../crdt/digest.ts';
import { decodeManifest } from '../../../crdt/manifest.ts';
import { MeshError } from '../../../src/ports/mesh-error.ts';
import { ContentMesh, expectSame, pieces } from '../../support/content-mesh.ts';

const mebibyte = 1024 * 1024;

describe('ingest', () => {
  it('names the whole by its BLAKE3 and the chunks by theirs, however the body is cut', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const bytes = mesh.bytes(3 * mebibyte + 17);
    const chunker = createChunker(defaultChunking);
    const chunks = [...chunker.push(bytes), chunker.finish()].filter((chunk) => chunk !== undefined);
    const results = [];
    for (const size of [4_096, 65_536, mebibyte, bytes.length]) {
      results.push(await mesh.run(alice.plane.ingest(pieces(bytes, size), 'files')));
    }
    for (const { content, rows } of results) {
      expect(content).toEqual({ manifest: content.manifest, size: bytes.length, b3: toHex(blake3(bytes)) });
      expect(content.manifest).toBe(results[0]?.content.manifest);
      const root = decodeManifest(rows.find(({ hash }) => hash === content.manifest)?.bytes ?? new Uint8Array());
      expect(root).toMatchObject({
        ok: true,
        value: { kind: 'leaf', chunks: chunks.map((chunk) => ({ hash: blobHashOf(chunk), size: chunk.length })) },
      });
    }
  });

  it('takes an empty body as content of no chunks, and one byte as one small chunk', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const empty = await mesh.put(alice, []);
    expect(empty).toMatchObject({ size: 0, b3: toHex(blake3(new Uint8Array())) });
    expect(await mesh.read(alice, empty)).toEqual(new Uint8Array());
    const one = await mesh.put(alice, [Uint8Array.of(7)]);
    expect(one.size).toBe(1);
    expect(await mesh.read(alice, one)).toEqual(Uint8Array.of(7));
    for await (const blob of alice.blobs.list()) expect(blob).toBeUndefined();
  });

  it('passes on what the body threw and leaves nothing referenced', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const before = alice.kv.snapshot();
    const broken = new MeshError('incomplete_body', 'the body was cut short');
    async function* body(): AsyncGenerator<Uint8Array> {
      for (const piece of pieces(mesh.bytes(2 * mebibyte), 65_536)) yield piece;
      throw broken;
    }
    await expect(mesh.run(alice.plane.ingest(body(), 'files'))).rejects.toBe(broken);
    expect(alice.kv.snapshot()).toEqual(before);
  });

  it('ends with the signal while the body hangs, and lets go of the body', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const abort = new AbortController();
    let returned = false;
    const body: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise(() => undefined),
        return: async () => {
          returned = true;
          return { done: true, value: undefined };
        },
      }),
    };
    const ingesting = alice.plane.ingest(body, 'files', abort.signal);
    const reason = new Error('the client has gone');
    abort.abort(reason);
    await expect(mesh.run(ingesting)).rejects.toBe(reason);
    expect(returned).toBe(true);
  });

  it('reports a full disk', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    alice.blobs.setCapacity(mebibyte);
    await expect(mesh.run(alice.plane.ingest([mesh.bytes(4 * mebibyte)], 'files'))).rejects.toMatchObject({
      code: 'disk_full',
    });
  });

  it('does not trust a rotten copy of a chunk that is here already', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const bytes = mesh.bytes(mebibyte);
    await mesh.put(alice, [bytes]);
    for await (const { hash } of alice.blobs.list()) alice.blobs.corrupt(hash, mesh.random);
    const again = await mesh.put(alice, [bytes]);
    expectSame(await mesh.read(alice, again), bytes);
  });

  it('keeps a bounded number of bytes on their way to disk over all bodies', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    let underWay = 0;
    let most = 0;
    const put = alice.blobs.put.bind(alice.blobs);
    alice.blobs.put = async (hash, bytes) => {
      underWay += bytes.length;
      most = Math.max(most, underWay);
      await mesh.clock.sleep(5);
      underWay -= bytes.length;
      return put(hash, bytes);
    };
    const bodies = Array.from({ length: 4 }, () => pieces(mesh.bytes(8 * mebibyte), 65_536));
    await mesh.run(Promise.all(bodies.map((body) => alice.plane.ingest(body, 'files'))));
    expect(most).toBeGreaterThan(8 * mebibyte);
    expect(most).toBeLessThanOrEqual(16 * mebibyte);
  });
});
