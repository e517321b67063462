import { blake3 } from './digest.ts';
import { err, ok, type Result } from './ids.ts';

/**
 * Content-defined chunking: FastCDC (Xia et al., "The Design of Fast Content Defined Chunking for Data
 * Deduplication Based Storage Systems", IEEE TPDS 2020) with a 32-bit gear hash and normalisation level 2.
 *
 * The cut is defined as follows, so that another language finds the same one. A chunk's first `min` bytes are
 * skipped. The hash starts at 0 and takes each byte b after them as `hash = (hash << 1) + gear[b]` modulo 2^32.
 * The chunk ends right after the first byte at which the hash's uppermost `bits` bits are all zero; `bits` is
 * log2(average) + 2 while the chunk, this byte included, has at most `average` bytes and log2(average) − 2 after
 * that. It ends at `max` bytes in any case, and where the content ends. A bit of the hash depends on at most the
 * last 32 bytes, so an edit moves the cuts near it and no others. On random content the mean chunk is about 1.14
 * times `average`, as in the paper: the minimum is added to what the masks expect.
 */

/** The longest blob of any kind, in bytes: what a store reads into memory at once, and a chunk's upper bound. */
export const blobBytesMax = 4 * 1024 * 1024;

/** Where content is cut. All in bytes; `average` is a power of two. Kept in the manifest, since it decides the cuts. */
export interface ChunkingParameters {
  readonly algorithm: 'fastcdc-1';
  readonly min: number;
  readonly average: number;
  readonly max: number;
}

/** The parameters of every namespace that sets none. */
export const defaultChunking: ChunkingParameters = {
  algorithm: 'fastcdc-1',
  min: 128 * 1024,
  average: 512 * 1024,
  max: 2 * 1024 * 1024,
};

// Below this, a list of chunks would rival the content in size.
const minBytesMin = 64;
const averageBytesMin = 256;

/**
 * Checks parameters of unknown origin: `algorithm` by name, 64 ≤ min < average < max ≤ 4 MiB, `average` a power
 * of two of at least 256, and nothing else beside them.
 *
 * @returns the parameters, or a sentence saying what is wrong; never throws
 */
export function checkChunking(value: unknown): Result<ChunkingParameters, string> {
  if (typeof value !== 'object' || value === null) return err('the chunking parameters are not an object');
  const { algorithm, min, average, max, ...rest } = value as Readonly<Record<string, unknown>>;
  if (Object.keys(rest).length > 0) return err('the chunking parameters have a field that is not known');
  if (algorithm !== 'fastcdc-1') return err('the chunking algorithm is not known');
  if (!isInteger(min) || !isInteger(average) || !isInteger(max)) return err('a chunking parameter is not an integer');
  if (min < minBytesMin || min >= average || average >= max || max > blobBytesMax) {
    return err(`the chunking parameters are not in order ${minBytesMin} ≤ min < average < max ≤ ${blobBytesMax}`);
  }
  if (average < averageBytesMin || (average & (average - 1)) !== 0) {
    return err(`the average chunk size is not a power of two of at least ${averageBytesMin}`);
  }
  return ok({ algorithm, min, average, max });
}

function isInteger(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

/**
 * The 256 words of the gear hash, the same in every implementation: word i is the little-endian 32-bit integer
 * at byte 4 × (i mod 8) of BLAKE3(utf8("anabranch/gear/1/" + floor(i / 8) as a decimal number)).
 * Signed, because V8 keeps signed 32-bit integers in registers.
 */
export function gearTable(): Int32Array {
  const table = new Int32Array(256);
  for (let block = 0; block < 32; block++) {
    const digest = blake3(new TextEncoder().encode(`anabranch/gear/1/${block}`));
    const words = new DataView(digest.buffer, digest.byteOffset, digest.byteLength);
    for (let word = 0; word < 8; word++) table[block * 8 + word] = words.getInt32(word * 4, true);
  }
  return table;
}

const gear = gearTable();

/** Extra bits asked of the hash before the average size, and let off after it: level 2 of the paper. */
const normalisationBits = 2;

/** A word whose uppermost `bits` bits are set. */
function uppermostBits(bits: number): number {
  return -1 << (32 - bits);
}

/**
 * Cuts one content into chunks, piece by piece. How the content is split into pieces does not change the cuts.
 * It holds at most `max` bytes of an unfinished chunk.
 */
export interface Chunker {
  /**
   * Takes the next piece and returns the chunks that are complete with it, in order. A chunk that lies within one
   * piece is a view of it, so whoever pushes does not change a piece while a chunk is in use; any other is a copy.
   */
  push(bytes: Uint8Array): Uint8Array[];
  /** The last chunk, or undefined when nothing is left (always so for empty content). Ends the chunker. */
  finish(): Uint8Array | undefined;
}

/**
 * A chunker for one content. Throws a RangeError for parameters that `checkChunking` refuses: whoever has them
 * from outside checks them first.
 */
export function createChunker(parameters: ChunkingParameters = defaultChunking): Chunker {
  const checked = checkChunking(parameters);
  if (!checked.ok) throw new RangeError(checked.error);
  return new FastCdcChunker(checked.value);
}

class FastCdcChunker implements Chunker {
  readonly #parameters: ChunkingParameters;
  readonly #maskBefore: number;
  readonly #maskAfter: number;
  /** The start of a chunk whose end is not known yet, gathered from several pieces; made when first needed. */
  #gathered: Uint8Array | undefined;
  #gatheredBytes = 0;
  #hash = 0;

  constructor(parameters: ChunkingParameters) {
    this.#parameters = parameters;
    const averageBits = Math.log2(parameters.average);
    this.#maskBefore = uppermostBits(averageBits + normalisationBits);
    this.#maskAfter = uppermostBits(averageBits - normalisationBits);
  }

  push(bytes: Uint8Array): Uint8Array[] {
    const chunks: Uint8Array[] = [];
    let start = 0;
    while (start < bytes.length) {
      const end = this.#findCut(bytes, start);
      if (end === undefined) {
        this.#gather(bytes.subarray(start));
        break;
      }
      chunks.push(this.#complete(bytes.subarray(start, end)));
      start = end;
    }
    return chunks;
  }

  finish(): Uint8Array | undefined {
    return this.#gatheredBytes === 0 ? undefined : this.#complete(new Uint8Array(0));
  }

  /** Where in `bytes` the current chunk ends, when what is gathered goes on at `start`; undefined when not in it. */
  #findCut(bytes: Uint8Array, start: number): number | undefined {
    const { min, average, max } = this.#parameters;
    const origin = start - this.#gatheredBytes;
    const limit = Math.min(bytes.length, origin + max);
    const normal = Math.min(limit, origin + average);
    let position = Math.max(start, origin + min);
    if (position < normal) {
      const cut = this.#scan(bytes, position, normal, this.#maskBefore);
      if (cut !== undefined) return cut;
      position = normal;
    }
    if (position < limit) {
      const cut = this.#scan(bytes, position, limit, this.#maskAfter);
      if (cut !== undefined) return cut;
    }
    return limit === origin + max ? limit : undefined;
  }

  // One plain loop on purpose: measured in V8, hashing two bytes a step or two or four ranges side by side is slower.
  #scan(bytes: Uint8Array, from: number, to: number, mask: number): number | undefined {
    let hash = this.#hash;
    for (let index = from; index < to; index++) {
      hash = ((hash << 1) + (gear[bytes[index] as number] as number)) | 0;
      if ((hash & mask) === 0) return index + 1;
    }
    this.#hash = hash;
    return undefined;
  }

  #gather(bytes: Uint8Array): void {
    this.#gathered ??= new Uint8Array(this.#parameters.max);
    this.#gathered.set(bytes, this.#gatheredBytes);
    this.#gatheredBytes += bytes.length;
  }

  #complete(tail: Uint8Array): Uint8Array {
    this.#hash = 0;
    if (this.#gathered === undefined || this.#gatheredBytes === 0) return tail;
    this.#gather(tail);
    const chunk = this.#gathered.slice(0, this.#gatheredBytes);
    this.#gatheredBytes = 0;
    return chunk;
  }
}
