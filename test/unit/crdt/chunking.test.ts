import { describe, expect, it } from 'vitest';
import {
  blobBytesMax,
  type ChunkingParameters,
  checkChunking,
  createChunker,
  defaultChunking,
  gearTable,
} from '../../../crdt/chunking.ts';
import { blake3, blobHashOf, toHex } from '../../../crdt/digest.ts';
import { contentOf, type VectorContent } from '../../support/vector-content.ts';
import vectors from '../../vectors/chunking.json' with { type: 'json' };

const small: ChunkingParameters = { algorithm: 'fastcdc-1', min: 64, average: 256, max: 1024 };

const chunksOf = (bytes: Uint8Array, parameters: ChunkingParameters, pieceBytes = bytes.length): Uint8Array[] => {
  const chunker = createChunker(parameters);
  const chunks: Uint8Array[] = [];
  for (let start = 0; start < bytes.length; start += pieceBytes) {
    chunks.push(...chunker.push(bytes.subarray(start, start + pieceBytes)));
  }
  const last = chunker.finish();
  return last === undefined ? chunks : [...chunks, last];
};

describe('the gear table', () => {
  it('is the one that the vectors spell out', () => {
    const gear = gearTable();
    const bytes = new Uint8Array(1024);
    for (const [index, word] of gear.entries()) new DataView(bytes.buffer).setInt32(index * 4, word, true);
    expect([...gear.subarray(0, 8)].map((word) => word >>> 0)).toEqual(vectors.gear.first);
    expect((gear[255] ?? 0) >>> 0).toBe(vectors.gear.last);
    expect(toHex(blake3(bytes))).toBe(vectors.gear.b3);
  });
});

describe('the chunker', () => {
  it.each(vectors.cases)('cuts as the vector says: $name', ({ content, parameters, chunks }) => {
    const bytes = contentOf(content as VectorContent);
    for (const pieceBytes of [bytes.length || 1, 65_536, 999]) {
      const cut = chunksOf(bytes, parameters as ChunkingParameters, pieceBytes);
      expect(cut.map((chunk) => [blobHashOf(chunk), chunk.length])).toEqual(chunks);
    }
  });

  it('uses the default parameters when given none', () => {
    const bytes = contentOf({ hashes: 'default', length: 600_000 });
    const chunker = createChunker();
    const chunks = [...chunker.push(bytes), chunker.finish()];
    expect(chunks).toEqual(chunksOf(bytes, defaultChunking));
  });

  it('hands out a chunk as soon as its end is in, and nothing for empty content', () => {
    const chunker = createChunker(small);
    expect(chunker.push(new Uint8Array(1_023))).toEqual([]);
    expect(chunker.push(new Uint8Array(1))).toEqual([new Uint8Array(1_024)]);
    expect(chunker.push(new Uint8Array(0))).toEqual([]);
    expect(chunker.finish()).toBeUndefined();
    expect(createChunker(small).finish()).toBeUndefined();
  });

  it('copies a chunk that spans pieces, so a piece may be used again for the next', () => {
    const bytes = contentOf({ hashes: 'reused', length: 20_000 });
    const chunker = createChunker(small);
    const piece = new Uint8Array(50);
    const chunks: Uint8Array[] = [];
    for (let start = 0; start < bytes.length; start += piece.length) {
      piece.set(bytes.subarray(start, start + piece.length));
      chunks.push(...chunker.push(piece));
    }
    expect(chunks).toEqual(chunksOf(bytes, small).slice(0, chunks.length));
  });

  it('hands out views, not copies, of a piece that holds the whole chunk', () => {
    const bytes = contentOf({ hashes: 'views', length: 5_000 });
    for (const chunk of createChunker(small).push(bytes)) expect(chunk.buffer).toBe(bytes.buffer);
  });

  it('finds the old cuts again after an edit', () => {
    const before = contentOf({ hashes: 'edited', length: 400_000 });
    const after = new Uint8Array([...before.subarray(0, 200_000), 7, ...before.subarray(200_000)]);
    const known = new Set(chunksOf(before, small).map(blobHashOf));
    const changed = chunksOf(after, small).filter((chunk) => !known.has(blobHashOf(chunk)));
    expect(changed.length).toBeLessThanOrEqual(5);
  });

  it('cuts random content to about 1.14 times the average', () => {
    const sizes = chunksOf(contentOf({ hashes: 'mean', length: 1_000_000 }), small).map((chunk) => chunk.length);
    const mean = sizes.reduce((total, size) => total + size, 0) / sizes.length;
    expect(mean / small.average).toBeGreaterThan(1.05);
    expect(mean / small.average).toBeLessThan(1.25);
  });
});

describe('chunking parameters', () => {
  it('are taken when they are in order', () => {
    expect(checkChunking(defaultChunking)).toEqual({ ok: true, value: defaultChunking });
    expect(checkChunking({ ...defaultChunking, max: blobBytesMax }).ok).toBe(true);
    expect(checkChunking(small).ok).toBe(true);
  });

  it.each([
    [undefined],
    [null],
    ['fastcdc-1'],
    [[]],
    [{ ...small, algorithm: 'fastcdc' }],
    [{ ...small, extra: 1 }],
    [{ ...small, min: 63 }],
    [{ ...small, min: 256 }],
    [{ ...small, min: '64' }],
    [{ ...small, min: Number.NaN }],
    [{ ...small, average: 128 }],
    [{ ...small, average: 300 }],
    [{ ...small, max: 256 }],
    [{ ...small, max: blobBytesMax + 1 }],
    [{ ...small, max: 1_000.5 }],
    [{ algorithm: 'fastcdc-1', min: 64, average: 256 }],
  ])('are refused otherwise: %j', (parameters) => {
    expect(checkChunking(parameters)).toEqual({ ok: false, error: expect.any(String) });
  });

  it('that would be refused do not make a chunker', () => {
    expect(() => createChunker({ ...small, max: 0 })).toThrow(RangeError);
  });
});
