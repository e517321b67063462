import type { ChunkingParameters } from '../../../crdt/chunking.ts';
import { chunkingProfiles } from '../../../crdt/control/namespace-policy.ts';
import { blake3, toBase32, toHex } from '../../../crdt/digest.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import { buildManifest, type ManifestBlob, type ManifestEntry } from '../../../crdt/manifest.ts';
import type { Content } from '../../../crdt/version.ts';
import { smallBlobBytesMax } from './content-store.ts';

/** A content of one small chunk, which is known from the version alone: its `b3` is the chunk's hash. */
export interface SoleChunk {
  readonly chunk: BlobHash;
  readonly manifest: ManifestBlob;
}

/** Bytes with the hash that `hashed` took of them, so that it is taken once. */
export interface HashedBytes {
  readonly bytes: Uint8Array;
  /** In lowercase hex, as versions tell it of their contents. */
  readonly b3: string;
}

/** The usual way to cut first. */
const profiles: readonly ChunkingParameters[] = [
  chunkingProfiles.default,
  chunkingProfiles.small,
  chunkingProfiles.large,
];

export function hashed(bytes: Uint8Array): HashedBytes {
  return { bytes, b3: toHex(blake3(bytes)) };
}

/** The chunk a small content is, if it is one chunk at all: whether its manifest says so is not looked at. */
export function likelyChunkOf({ b3 }: Pick<Content, 'b3'>): BlobHash {
  return toBase32(Buffer.from(b3, 'hex')) as BlobHash;
}

/** The chunk and manifest of a content that is one small chunk; undefined when it is not known to be. */
export function soleChunkOf({ manifest, size, b3 }: Content): SoleChunk | undefined {
  if (size === 0 || size > smallBlobBytesMax) return undefined;
  const chunk = likelyChunkOf({ b3 });
  for (const chunking of profiles) {
    const built = soleManifest({ hash: chunk, size }, chunking);
    if (built.hash === manifest) return { chunk, manifest: built };
  }
  return undefined;
}

/** The bytes of a content that is one small chunk, among the blobs that were made of it. */
export function soleChunkIn(blobs: readonly ManifestBlob[], content: Content): Uint8Array | undefined {
  const chunk = likelyChunkOf(content);
  return blobs.find(({ hash }) => hash === chunk)?.bytes;
}

/** Manifest and chunk of a content of one small chunk, when the bytes are that chunk. */
export function smallBlobsOf(content: Content, { bytes, b3 }: HashedBytes): ManifestBlob[] | undefined {
  if (bytes.length !== content.size || b3 !== content.b3) return undefined;
  const sole = soleChunkOf(content);
  if (sole === undefined) return undefined;
  return [sole.manifest, { hash: sole.chunk, bytes }];
}

/** True for the leaf of a content of one chunk, cut in a way that has a name: `soleManifestsOf` its chunk finds it. */
export function isSoleLeaf(chunks: readonly ManifestEntry[], chunking: ChunkingParameters): boolean {
  return chunks.length === 1 && profiles.some((profile) => isSame(profile, chunking));
}

/** The manifests that a content of this one chunk may have, by the named ways to cut it. */
export function soleManifestsOf(chunk: BlobHash, sizeBytes: number): BlobHash[] {
  if (sizeBytes === 0) return [];
  const fitting = profiles.filter(({ max }) => sizeBytes <= max);
  return fitting.map((profile) => soleManifest({ hash: chunk, size: sizeBytes }, profile).hash);
}

function soleManifest(chunk: ManifestEntry, chunking: ChunkingParameters): ManifestBlob {
  const [built] = buildManifest([chunk], chunking).blobs;
  if (built === undefined) throw new Error('every content has a manifest');
  return built;
}

function isSame(left: ChunkingParameters, right: ChunkingParameters): boolean {
  return (
    left.algorithm === right.algorithm &&
    left.min === right.min &&
    left.average === right.average &&
    left.max === right.max
  );
}
