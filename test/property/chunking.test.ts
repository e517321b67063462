import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ChunkingParameters, createChunker, gearTable } from '../../crdt/chunking.ts';

const gear = gearTable();

/** The definition read word for word, one byte and one big integer at a time. */
function cutsByDefinition(bytes: Uint8Array, { min, average, max }: ChunkingParameters): number[] {
  const lengths: number[] = [];
  for (let start = 0; start < bytes.length; ) {
    let hash = 0n;
    let length = 0;
    while (start + length < bytes.length && length < max) {
      const byte = bytes[start + length] ?? 0;
      length++;
      if (length <= min) continue;
      hash = ((hash << 1n) + BigInt((gear[byte] ?? 0) >>> 0)) % 2n ** 32n;
      const bits = Math.log2(average) + (length <= average ? 2 : -2);
      if (hash < 2n ** BigInt(32 - bits)) break;
    }
    lengths.push(length);
    start += length;
  }
  return lengths;
}

function chunksOf(pieces: readonly Uint8Array[], parameters: ChunkingParameters): Uint8Array[] {
  const chunker = createChunker(parameters);
  const chunks = pieces.flatMap((piece) => chunker.push(piece));
  const last = chunker.finish();
  return last === undefined ? chunks : [...chunks, last];
}

function split(bytes: Uint8Array, positions: readonly number[]): Uint8Array[] {
  const cuts = [0, ...positions.map((position) => position % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return cuts.slice(1).map((end, index) => bytes.subarray(cuts[index], end));
}

const parameters: fc.Arbitrary<ChunkingParameters> = fc.constantFrom(256, 512, 1_024).chain((average) =>
  fc.record({
    algorithm: fc.constant('fastcdc-1' as const),
    min: fc.integer({ min: 64, max: average - 1 }),
    average: fc.constant(average),
    max: fc.integer({ min: average + 1, max: 4_096 }),
  }),
);

/** Random bytes, and stretches of one byte, where no cut is found before the maximum. */
const content = fc
  .array(
    fc.oneof(
      fc.uint8Array({ minLength: 0, maxLength: 6_000, size: 'max' }),
      fc.tuple(fc.nat(255), fc.nat(5_000)).map(([byte, length]) => new Uint8Array(length).fill(byte)),
    ),
    { maxLength: 4 },
  )
  .map((parts) => new Uint8Array(Buffer.concat(parts)));

const positions = fc.array(fc.nat(30_000), { maxLength: 20 });

describe('chunking', () => {
  it('cuts where the definition says, however the input is split', () => {
    fc.assert(
      fc.property(content, positions, parameters, (bytes, cuts, chosen) => {
        const lengths = chunksOf(split(bytes, cuts), chosen).map((chunk) => chunk.length);
        expect(lengths).toEqual(cutsByDefinition(bytes, chosen));
      }),
    );
  });

  it('loses, adds and changes no byte', () => {
    fc.assert(
      fc.property(content, positions, parameters, (bytes, cuts, chosen) => {
        const whole = Buffer.concat(chunksOf(split(bytes, cuts), chosen));
        expect(Buffer.compare(whole, bytes)).toBe(0);
      }),
    );
  });

  it('keeps every chunk within its bounds, the last excepted from the minimum', () => {
    fc.assert(
      fc.property(content, positions, parameters, (bytes, cuts, chosen) => {
        const lengths = chunksOf(split(bytes, cuts), chosen).map((chunk) => chunk.length);
        expect(lengths.every((length) => length > 0 && length <= chosen.max)).toBe(true);
        expect(lengths.slice(0, -1).every((length) => length > chosen.min)).toBe(true);
      }),
    );
  });
});
