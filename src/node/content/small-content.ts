import { defaultChunking } from '../../../crdt/chunking.ts';
import { blobHashOf, toBase32 } from '../../../crdt/digest.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import { buildManifest, type ManifestBlob } from '../../../crdt/manifest.ts';
import type { Content } from '../../../crdt/version.ts';
import { smallBlobBytesMax } from './content-store.ts';

/** A content of one small chunk, which is known from the version alone: its `b3` is the chunk's hash. */
export interface SoleChunk {
  readonly chunk: BlobHash;
  readonly manifest: ManifestBlob;
}

/** The chunk a small content is, if it is one chunk at all: whether its manifest says so is not looked at. */
export function likelyChunkOf({ b3 }: Pick<Content, 'b3'>): BlobHash {
  return toBase32(Buffer.from(b3, 'hex')) as BlobHash;
}

/** The chunk and manifest of a content that is one small chunk; undefined when it is not known to be. */
export function soleChunkOf({ manifest, size, b3 }: Content): SoleChunk | undefined {
  if (size === 0 || size > smallBlobBytesMax) return undefined;
  const chunk = likelyChunkOf({ b3 });
  const { root, blobs } = buildManifest([{ hash: chunk, size }], defaultChunking);
  const [built] = blobs;
  return root === manifest && built !== undefined ? { chunk, manifest: built } : undefined;
}

/** Manifest and chunk of a content of one small chunk, when the bytes are that chunk. */
export function smallBlobsOf(content: Content, bytes: Uint8Array): ManifestBlob[] | undefined {
  if (bytes.length !== content.size) return undefined;
  const sole = soleChunkOf(content);
  if (sole === undefined || blobHashOf(bytes) !== sole.chunk) return undefined;
  return [sole.manifest, { hash: sole.chunk, bytes }];
}
