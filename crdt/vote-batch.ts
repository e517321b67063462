import { encodeCanonical } from './canonical-json.ts';
import { blake3, toBase32 } from './digest.ts';
import {
  appendLeaf,
  emptyPeaks,
  inclusionProof,
  leafHash,
  type MerklePeaks,
  rootFromInclusion,
  rootOf,
} from './merkle-log.ts';

/** Statements that one signature can stand for. */
export const batchSizeMax = 512;
/** Hashes from one of so many leaves to the root. */
export const batchPathMax = 9;

/** Where a statement stands among those that were signed together. */
export interface BatchPlace {
  /** From 0. */
  readonly index: number;
  /** Statements in the batch, from 2 to 512: one alone is signed itself. */
  readonly size: number;
  /** From the statement upwards: 32 bytes each. */
  readonly path: readonly Uint8Array[];
}

/** Statements that are signed together, as the Merkle tree (RFC 6962) of their digests in order. */
export class VoteBatch {
  readonly #levels: Uint8Array[][] = [];
  readonly #size: number;
  /** What is signed for all of them. */
  readonly digest: Uint8Array;

  /** @param digests of the statements: 2 to 512 of 32 bytes each */
  constructor(digests: readonly Uint8Array[]) {
    if (digests.length < 2 || digests.length > batchSizeMax) {
      throw new RangeError(`a batch has 2 to ${batchSizeMax} statements, not ${digests.length}`);
    }
    let peaks: MerklePeaks = emptyPeaks;
    for (const digest of digests) {
      const appended = appendLeaf(peaks, leafHash(digest));
      for (const { level, hash } of appended.nodes) {
        this.#levels[level] ??= [];
        this.#levels[level].push(hash);
      }
      peaks = appended.peaks;
    }
    this.#size = digests.length;
    this.digest = batchDigest(rootOf(peaks), digests.length);
  }

  /** The place of one of the statements. Throws a RangeError for an index outside. */
  place(index: number): BatchPlace {
    const read = (level: number, at: number): Uint8Array => this.#levels[level]?.[at] as Uint8Array;
    return { index, size: this.#size, path: inclusionProof(index, this.#size, read) };
  }
}

/** What was signed for all statements of the batch, from the digest of one; undefined when no tree has such a place. Never throws. */
export function digestOfPlace(statement: Uint8Array, { index, size, path }: BatchPlace): Uint8Array | undefined {
  const root = rootFromInclusion({ leaf: leafHash(statement), index, size }, path);
  return root && batchDigest(root, size);
}

/** The size is part of it: paths of trees of other sizes may lead to the same root. */
function batchDigest(root: Uint8Array, size: number): Uint8Array {
  return blake3(Buffer.from(encodeCanonical({ root: toBase32(root), size, v: 1 }), 'utf8'));
}
