import { describe, expect, it } from 'vitest';
import { type ChunkingParameters, defaultChunking } from '../../../crdt/chunking.ts';
import { blobHashOf } from '../../../crdt/digest.ts';
import {
  buildManifest,
  checkPart,
  chunksInRange,
  createManifestBuilder,
  decodeManifest,
  type Manifest,
  type ManifestBlob,
  type ManifestEntry,
  manifestBytesMax,
  manifestEntriesMax,
  type TreeManifest,
} from '../../../crdt/manifest.ts';
import vectors from '../../vectors/manifest.json' with { type: 'json' };

const encoder = new TextEncoder();
const chunk = (index: number, size: number): ManifestEntry => ({
  hash: blobHashOf(encoder.encode(`anabranch/vector/chunk/${index}`)),
  size,
});
const chunks = (count: number, size: number): ManifestEntry[] =>
  Array.from({ length: count }, (_, index) => chunk(index, size));

const decoded = (bytes: Uint8Array): Manifest => {
  const result = decodeManifest(bytes);
  if (!result.ok) throw new Error(result.error);
  return result.value;
};

/** Walks down from the root as a reader does, checking every step. */
const flatten = (root: string, blobs: readonly ManifestBlob[]): ManifestEntry[] => {
  const byHash = new Map<string, ManifestBlob>(blobs.map((blob) => [blob.hash, blob]));
  const manifestOf = (hash: string) => decoded(byHash.get(hash)?.bytes ?? new Uint8Array());
  const walk = (manifest: Manifest): ManifestEntry[] => {
    if (manifest.kind === 'leaf') return [...manifest.chunks];
    return manifest.parts.flatMap((part) => {
      const child = manifestOf(part.hash);
      expect(checkPart(manifest, part, child)).toBeUndefined();
      return walk(child);
    });
  };
  return walk(manifestOf(root));
};

describe('manifest vectors', () => {
  it.each(vectors.manifests)('read, and are written again to the byte: $name', ({ text, hash }) => {
    const bytes = encoder.encode(text);
    expect(blobHashOf(bytes)).toBe(hash);
    const manifest = decoded(bytes);
    if (manifest.kind === 'leaf') {
      expect(buildManifest(manifest.chunks, manifest.chunking)).toEqual({
        root: hash,
        size: manifest.size,
        blobs: [{ hash, bytes }],
      });
    }
  });

  it.each(vectors.built)('are built: $name', ({ count, root, size, manifests }) => {
    const entries = Array.from({ length: count }, (_, index) => chunk(index, 131_072 + index));
    const built = buildManifest(entries, defaultChunking);
    expect(built.root).toBe(root);
    expect(built.size).toBe(size);
    expect(built.blobs.map(({ hash, bytes }) => [hash, bytes.length])).toEqual(manifests);
    expect(flatten(built.root, built.blobs)).toEqual(entries);
  });

  it.each(vectors.refused)('refuse $name', ({ text }) => {
    expect(decodeManifest(encoder.encode(text))).toEqual({ ok: false, error: expect.any(String) });
  });
});

describe('manifest bounds', () => {
  it('hold for the longest leaf and the longest tree there can be', () => {
    const wide = chunks(manifestEntriesMax, 2_097_152);
    expect(buildManifest(wide, defaultChunking).blobs[0]?.bytes.length).toBeLessThan(manifestBytesMax);
    const part = `["${chunk(0, 1).hash}",${2_199_023_255_551}]`;
    const size = manifestEntriesMax * 2_199_023_255_551;
    const parts = Array.from({ length: manifestEntriesMax }, () => part).join(',');
    const tree = decoded(encoder.encode(`{"height":3,"kind":"tree","parts":[${parts}],"size":${size},"v":1}`));
    expect(tree.size).toBe(size);
  });

  it('refuse one entry more, bytes past the bound, and bytes that are no UTF-8', () => {
    const chunking = JSON.stringify({ algorithm: 'fastcdc-1', average: 256, max: 1024, min: 64 });
    const count = manifestEntriesMax + 1;
    const list = Array.from({ length: count }, () => `["${chunk(0, 1).hash}",64]`).join(',');
    const text = `{"chunking":${chunking},"chunks":[${list}],"kind":"leaf","size":${count * 64},"v":1}`;
    expect(decodeManifest(encoder.encode(text))).toEqual({ ok: false, error: expect.stringContaining('4096 entries') });
    expect(decodeManifest(new Uint8Array(manifestBytesMax + 1))).toMatchObject({ ok: false });
    expect(decodeManifest(Uint8Array.of(0xff, 0xfe))).toEqual({ ok: false, error: 'the manifest is not UTF-8' });
    const first = encoder.encode(vectors.manifests[0]?.text ?? '');
    expect(decodeManifest(new Uint8Array([0xef, 0xbb, 0xbf, ...first]))).toMatchObject({ ok: false });
  });

  it('refuse content longer than a size can say', () => {
    const builder = createManifestBuilder(defaultChunking);
    builder.add(chunk(0, Number.MAX_SAFE_INTEGER));
    expect(() => builder.add(chunk(1, 1))).toThrow(RangeError);
  });
});

describe('manifest fan-out', () => {
  const small: ChunkingParameters = { algorithm: 'fastcdc-1', min: 64, average: 256, max: 1024 };

  it.each([
    [4, 'leaf', 0],
    [5, 'tree', 1],
    [16, 'tree', 1],
    [17, 'tree', 2],
    [64, 'tree', 2],
    [65, 'tree', 3],
  ])('of four a level puts %i chunks under a %s of height %i', (count, kind, height) => {
    const entries = chunks(count, 100);
    const builder = createManifestBuilder(small, 4);
    const early = entries.flatMap((entry) => builder.add(entry));
    const { root, size, blobs } = builder.finish();
    const top = decoded(blobs.at(-1)?.bytes ?? new Uint8Array());
    expect(top.kind).toBe(kind);
    expect(top.kind === 'tree' ? top.height : 0).toBe(height);
    expect(size).toBe(count * 100);
    expect(top.size).toBe(size);
    expect(flatten(root, [...early, ...blobs])).toEqual(entries);
  });

  it('shares every full manifest with the content it was before it grew', () => {
    const before = buildManifest(chunks(4_096 * 2 + 10, 64), small);
    const after = buildManifest(chunks(4_096 * 2 + 20, 64), small);
    expect(after.blobs.slice(0, 2)).toEqual(before.blobs.slice(0, 2));
    expect(after.root).not.toBe(before.root);
  });
});

describe('a part of a tree', () => {
  const leaf = decoded(buildManifest([chunk(0, 10)], defaultChunking).blobs[0]?.bytes ?? new Uint8Array());
  const tree: TreeManifest = { kind: 'tree', size: 20, height: 1, parts: [chunk(8, 10), chunk(9, 10)] };

  it('fits when its size and height are what the tree says', () => {
    expect(checkPart(tree, chunk(8, 10), leaf)).toBeUndefined();
    expect(checkPart({ ...tree, height: 2 }, chunk(8, 20), tree)).toBeUndefined();
  });

  it('does not fit with another size, or at another height', () => {
    expect(checkPart(tree, chunk(8, 11), leaf)).toContain('size');
    expect(checkPart({ ...tree, height: 2 }, chunk(8, 10), leaf)).toContain('height');
    expect(checkPart(tree, chunk(8, 20), tree)).toContain('height');
  });
});

describe('a range', () => {
  const entries = [chunk(0, 10), chunk(1, 5), chunk(2, 20)];
  const found = (start: number, end: number) =>
    chunksInRange(entries, start, end).map(({ index, from, to }) => [index, from, to]);

  it('finds the chunks it touches and the bytes of them', () => {
    expect(found(0, 35)).toEqual([
      [0, 0, 10],
      [1, 0, 5],
      [2, 0, 20],
    ]);
    expect(found(9, 16)).toEqual([
      [0, 9, 10],
      [1, 0, 5],
      [2, 0, 1],
    ]);
    expect(found(10, 15)).toEqual([[1, 0, 5]]);
    expect(found(14, 15)).toEqual([[1, 4, 5]]);
  });

  it('is empty when it has no bytes or lies past the end, and is cut off at the end', () => {
    expect(found(7, 7)).toEqual([]);
    expect(found(8, 3)).toEqual([]);
    expect(found(35, 99)).toEqual([]);
    expect(found(34, 99)).toEqual([[2, 19, 20]]);
    expect(chunksInRange([], 0, 10)).toEqual([]);
  });
});
