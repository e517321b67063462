import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeCanonical } from '../../crdt/canonical-json.ts';
import type { ChunkingParameters } from '../../crdt/chunking.ts';
import { blobHashOf } from '../../crdt/digest.ts';
import {
  checkPart,
  chunksInRange,
  createManifestBuilder,
  decodeManifest,
  type Manifest,
  type ManifestBlob,
  type ManifestEntry,
} from '../../crdt/manifest.ts';
import { runs } from '../support/property-runs.ts';

const chunking: ChunkingParameters = { algorithm: 'fastcdc-1', min: 64, average: 256, max: 1024 };

const chunks: fc.Arbitrary<ManifestEntry[]> = fc
  .tuple(fc.array(fc.integer({ min: 64, max: 1_024 }), { maxLength: 70 }), fc.integer({ min: 1, max: 1_024 }))
  .map(([sizes, last]) => [...sizes, last])
  .chain((sizes) => fc.constantFrom(sizes, []))
  .map((sizes) => sizes.map((size) => ({ hash: blobHashOf(Uint8Array.of(size & 0xff, size >>> 8)), size })));

function build(entries: readonly ManifestEntry[], entriesMax: number) {
  const builder = createManifestBuilder(chunking, entriesMax);
  const blobs: ManifestBlob[] = entries.flatMap((entry) => builder.add(entry));
  const rest = builder.finish();
  return {
    root: rest.root,
    size: rest.size,
    blobs: new Map([...blobs, ...rest.blobs].map((blob) => [blob.hash, blob])),
  };
}

/** The bytes `start` to `end` as pairs of chunk and byte within it, found by walking down from the root. */
function read({ root, blobs }: ReturnType<typeof build>, start: number, end: number): [string, number][] {
  const load = (hash: string): Manifest => {
    const result = decodeManifest([...blobs.values()].find((blob) => blob.hash === hash)?.bytes ?? new Uint8Array());
    if (!result.ok) throw new Error(result.error);
    return result.value;
  };
  const walk = (manifest: Manifest, from: number, to: number): [string, number][] =>
    chunksInRange(manifest.kind === 'leaf' ? manifest.chunks : manifest.parts, from, to).flatMap((entry) => {
      if (manifest.kind === 'leaf') {
        return Array.from({ length: entry.to - entry.from }, (_, index): [string, number] => [
          entry.hash,
          entry.from + index,
        ]);
      }
      const part = load(entry.hash);
      expect(checkPart(manifest, entry, part)).toBeUndefined();
      return walk(part, entry.from, entry.to);
    });
  return walk(load(root), start, end);
}

describe('manifests', () => {
  it('give back their chunks at any fan-out that three levels of trees can hold', () => {
    fc.assert(
      fc.property(chunks, fc.integer({ min: 3, max: 80 }), (entries, entriesMax) => {
        const built = build(entries, entriesMax);
        const bytes = entries.flatMap(({ hash, size }) =>
          Array.from({ length: size }, (_, at): [string, number] => [hash, at]),
        );
        expect(built.size).toBe(bytes.length);
        expect(read(built, 0, built.size)).toEqual(bytes);
      }),
      runs(0.3),
    );
  });

  it('give back any range of bytes', () => {
    fc.assert(
      fc.property(
        chunks,
        fc.integer({ min: 3, max: 80 }),
        fc.nat(80_000),
        fc.nat(3_000),
        (entries, fan, from, length) => {
          const bytes = entries.flatMap(({ hash, size }) =>
            Array.from({ length: size }, (_, at): [string, number] => [hash, at]),
          );
          expect(read(build(entries, fan), from, from + length)).toEqual(bytes.slice(from, from + length));
        },
      ),
      runs(0.3),
    );
  });

  it('that were changed by a byte are refused or are another manifest, and nothing is thrown', () => {
    fc.assert(
      fc.property(chunks, fc.nat(), fc.nat(255), (entries, position, byte) => {
        for (const { hash, bytes } of build(entries, 16).blobs.values()) {
          const changed = bytes.slice();
          changed[position % bytes.length] = byte;
          if (blobHashOf(changed) === hash) continue;
          const result = decodeManifest(changed);
          if (result.ok) expect(result.value).not.toEqual((decodeManifest(bytes) as { value: Manifest }).value);
          else expect(typeof result.error).toBe('string');
        }
      }),
    );
  });

  it('are refused with a sentence when they are any bytes at all', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(decodeManifest(bytes)).toEqual({ ok: false, error: expect.any(String) });
      }),
    );
  });

  it('are refused, or sound, when any of their fields is any JSON', () => {
    const hash = blobHashOf(new Uint8Array());
    const entry = fc.oneof(fc.jsonValue(), fc.tuple(fc.constant(hash), fc.integer()));
    const leaf = {
      v: 1,
      kind: 'leaf',
      size: 70,
      chunking,
      chunks: [
        [hash, 64],
        [hash, 6],
      ],
    };
    const tree = {
      v: 1,
      kind: 'tree',
      size: 70,
      height: 2,
      parts: [
        [hash, 64],
        [hash, 6],
      ],
    };
    const change = fc.record(
      {
        v: fc.jsonValue(),
        kind: fc.oneof(fc.constantFrom('leaf', 'tree'), fc.jsonValue()),
        size: fc.oneof(fc.integer({ min: -1, max: 200 }), fc.jsonValue()),
        height: fc.oneof(fc.integer({ min: -1, max: 5 }), fc.jsonValue()),
        chunking: fc.jsonValue(),
        chunks: fc.oneof(fc.array(entry, { maxLength: 3 }), fc.jsonValue()),
        parts: fc.oneof(fc.array(entry, { maxLength: 3 }), fc.jsonValue()),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.constantFrom(leaf, tree), change, (manifest, changed) => {
        const result = decodeManifest(new TextEncoder().encode(encodeCanonical({ ...manifest, ...changed })));
        if (result.ok) {
          const entries = result.value.kind === 'leaf' ? result.value.chunks : result.value.parts;
          expect(entries.reduce((total, { size }) => total + size, 0)).toBe(result.value.size);
        } else {
          expect(typeof result.error).toBe('string');
        }
      }),
      runs(5),
    );
  });
});
