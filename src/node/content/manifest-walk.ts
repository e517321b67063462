import type { BlobHash } from '../../../crdt/ids.ts';
import {
  checkPart,
  chunksInRange,
  decodeManifest,
  type Manifest,
  type ManifestEntry,
  manifestBytesMax,
  type TreeManifest,
} from '../../../crdt/manifest.ts';
import { MeshError } from '../../ports/mesh-error.ts';

/** Bytes `start` to `end` (exclusive) of a content. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** A chunk of a content, in the order of the content, and the part of it that was asked for. */
export interface ChunkPart {
  readonly hash: BlobHash;
  /** Bytes of the whole chunk. */
  readonly size: number;
  readonly from: number;
  readonly to: number;
}

/** Brings a manifest's verified bytes. `sizeBytes` is a guess of their number. */
export type LoadManifest = (hash: BlobHash, sizeBytes: number) => Promise<Uint8Array>;

/** Is told of each manifest of a content before anything it lists is looked at. */
export type OpenManifest = (hash: BlobHash, manifest: Manifest) => Promise<void>;

const manifestBytesBase = 256;
const entryBytes = 72;
/** Chunks of the default profile have at least 128 KiB. */
const chunkBytesMin = 128 * 1024;

/** About how long the manifest of so many bytes of content is, when it was cut with the default profile. */
export function manifestBytesGuess(contentBytes: number): number {
  return Math.min(manifestBytesBase + entryBytes * Math.ceil(contentBytes / chunkBytesMin), manifestBytesMax);
}

/** Reads and checks a content's root manifest. Throws `MeshError` `corrupt` when whoever wrote it made it up. */
export async function loadRoot(hash: BlobHash, sizeBytes: number, load: LoadManifest): Promise<Manifest> {
  return decodeOrThrow(hash, await load(hash, manifestBytesGuess(sizeBytes)));
}

/**
 * The chunks of a content that lie in the range, one by one; holds one manifest a level. Throws what `load` and `open`
 * throw, and `MeshError` `corrupt` when a manifest does not fit the one that names it.
 */
export async function* walkChunks(
  manifest: Manifest,
  load: LoadManifest,
  range: ByteRange,
  open: OpenManifest = async () => undefined,
): AsyncGenerator<ChunkPart> {
  if (manifest.kind === 'leaf') {
    yield* chunksInRange(manifest.chunks, range.start, range.end);
    return;
  }
  let offset = 0;
  for (const part of manifest.parts) {
    const start = Math.max(0, range.start - offset);
    const end = Math.min(part.size, range.end - offset);
    offset += part.size;
    if (start >= end) continue;
    const below = await loadPart(manifest, part, load);
    await open(part.hash, below);
    yield* walkChunks(below, load, { start, end }, open);
  }
}

async function loadPart(tree: TreeManifest, part: ManifestEntry, load: LoadManifest): Promise<Manifest> {
  const manifest = decodeOrThrow(part.hash, await load(part.hash, manifestBytesGuess(part.size)));
  const fault = checkPart(tree, part, manifest);
  if (fault !== undefined) throw unusable(part.hash, fault);
  return manifest;
}

function decodeOrThrow(hash: BlobHash, bytes: Uint8Array): Manifest {
  const manifest = decodeManifest(bytes);
  if (!manifest.ok) throw unusable(hash, manifest.error);
  return manifest.value;
}

function unusable(manifest: BlobHash, reason: string): MeshError {
  return new MeshError('corrupt', `the content's manifest cannot be used: ${reason}`, { detail: { manifest } });
}
