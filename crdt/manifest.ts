import { decodeCanonical, encodeCanonical } from './canonical-json.ts';
import { type ChunkingParameters, checkChunking } from './chunking.ts';
import { blobHashOf, isHash } from './digest.ts';
import { type BlobHash, err, ok, type Result } from './ids.ts';
import { decodeUtf8 } from './utf8.ts';

/**
 * The list of a content's chunks, itself content-addressed: format 1, canonical JSON (RFC 8785).
 *
 *     leaf  {"chunking":{…},"chunks":[[hash,size],…],"kind":"leaf","size":…,"v":1}
 *     tree  {"height":…,"kind":"tree","parts":[[manifest hash,size],…],"size":…,"v":1}
 *
 * A leaf lists at most 4,096 chunks. Longer content has a tree over full leaves (the last one holds the rest),
 * longer still a tree over full trees: so the same chunks always have the same manifest, and content that grew
 * at its end shares all but the last leaf. `height` is 1 over leaves and one more a level; all sizes are bytes
 * of content.
 */

/** The most chunks of a leaf and parts of a tree. */
export const manifestEntriesMax = 4_096;

/** A bound on a manifest's text: 4,096 entries of 52 characters of hash, 16 digits and 6 of JSON, and the rest. */
export const manifestBytesMax = 320 * 1024;

/**
 * The greatest height of a tree. Chunks have at least 64 bytes, so a tree of height 3 is not full before 2^54
 * bytes, beyond what a size can say: no content needs more, and a walk down is bounded whatever a peer sends.
 */
const manifestHeightMax = 3;

const encoder = new TextEncoder();

/** A chunk, or a part's manifest, and the bytes of content it stands for: at least one. */
export interface ManifestEntry {
  readonly hash: BlobHash;
  readonly size: number;
}

/** The chunks of a content, or of one part of it, in order. Only empty content has none. */
interface LeafManifest {
  readonly kind: 'leaf';
  readonly size: number;
  readonly chunking: ChunkingParameters;
  readonly chunks: readonly ManifestEntry[];
}

/** Manifests of the height below, in order. The last tree of a level may have a single part; a root never has. */
export interface TreeManifest {
  readonly kind: 'tree';
  readonly size: number;
  readonly height: number;
  readonly parts: readonly ManifestEntry[];
}

export type Manifest = LeafManifest | TreeManifest;

/** A manifest's text under its own hash, ready to be stored. */
export interface ManifestBlob {
  readonly hash: BlobHash;
  readonly bytes: Uint8Array;
}

/** Builds a content's manifests while its chunks come in; holds at most one unfinished manifest a height. */
export interface ManifestBuilder {
  /**
   * Takes the next chunk and returns the manifests that are complete with it (mostly none): store them.
   * Throws a RangeError when the content grows past 2^53 − 1 bytes.
   */
  add(chunk: ManifestEntry): ManifestBlob[];
  /** The remaining manifests, the root last. Ends the builder. */
  finish(): { readonly root: BlobHash; readonly size: number; readonly blobs: ManifestBlob[] };
}

/** A builder for one content. `entriesMax` is part of the format; a test passes fewer to reach deep trees. */
export function createManifestBuilder(
  chunking: ChunkingParameters,
  entriesMax: number = manifestEntriesMax,
): ManifestBuilder {
  return new LevelledBuilder(chunking, entriesMax);
}

/** All manifests of a content whose chunks are known, the root last. Throws as `ManifestBuilder.add` does. */
export function buildManifest(
  chunks: Iterable<ManifestEntry>,
  chunking: ChunkingParameters,
): { readonly root: BlobHash; readonly size: number; readonly blobs: ManifestBlob[] } {
  const builder = createManifestBuilder(chunking);
  const blobs: ManifestBlob[] = [];
  for (const chunk of chunks) blobs.push(...builder.add(chunk));
  const rest = builder.finish();
  return { ...rest, blobs: [...blobs, ...rest.blobs] };
}

class LevelledBuilder implements ManifestBuilder {
  readonly #chunking: ChunkingParameters;
  readonly #entriesMax: number;
  /** Unfinished entries by height: chunks at 0, leaves at 1, trees above. */
  readonly #levels: ManifestEntry[][] = [[]];
  #size = 0;

  constructor(chunking: ChunkingParameters, entriesMax: number) {
    this.#chunking = chunking;
    this.#entriesMax = entriesMax;
  }

  add(chunk: ManifestEntry): ManifestBlob[] {
    this.#size += chunk.size;
    if (!Number.isSafeInteger(this.#size)) throw new RangeError('the content is longer than a size can say');
    const blobs: ManifestBlob[] = [];
    this.#append(0, chunk, blobs);
    return blobs;
  }

  finish(): { readonly root: BlobHash; readonly size: number; readonly blobs: ManifestBlob[] } {
    const blobs: ManifestBlob[] = [];
    for (let height = 0; height < this.#levels.length - 1; height++) this.#close(height, blobs);
    const root = this.#encode(this.#levels.length - 1);
    return { root: root.hash, size: this.#size, blobs: [...blobs, root] };
  }

  // A full level is closed only when one more entry comes, so content that just fills a leaf has no tree above it.
  #append(height: number, entry: ManifestEntry, blobs: ManifestBlob[]): void {
    if (this.#level(height).length === this.#entriesMax) this.#close(height, blobs);
    this.#level(height).push(entry);
  }

  #close(height: number, blobs: ManifestBlob[]): void {
    const blob = this.#encode(height);
    blobs.push(blob);
    this.#append(height + 1, { hash: blob.hash, size: sizeOf(this.#level(height)) }, blobs);
    this.#levels[height] = [];
  }

  #level(height: number): ManifestEntry[] {
    this.#levels[height] ??= [];
    return this.#levels[height] as ManifestEntry[];
  }

  #encode(height: number): ManifestBlob {
    const entries = this.#level(height);
    const size = sizeOf(entries);
    const pairs = entries.map((entry) => [entry.hash, entry.size]);
    const text = encodeCanonical(
      height === 0
        ? { chunking: this.#chunking, chunks: pairs, kind: 'leaf', size, v: 1 }
        : { height, kind: 'tree', parts: pairs, size, v: 1 },
    );
    const bytes = encoder.encode(text);
    return { hash: blobHashOf(bytes), bytes };
  }
}

function sizeOf(entries: readonly ManifestEntry[]): number {
  return entries.reduce((total, entry) => total + entry.size, 0);
}

/**
 * Reads a manifest's bytes, which a peer or a disk may have made up. The hash is for the caller to check.
 *
 * @returns the manifest, or a sentence saying what is wrong; never throws
 */
export function decodeManifest(bytes: Uint8Array): Result<Manifest, string> {
  if (bytes.length > manifestBytesMax) return err(`the manifest is longer than ${manifestBytesMax} bytes`);
  const text = decodeUtf8(bytes);
  if (text === undefined) return err('the manifest is not UTF-8');
  const decoded = decodeCanonical(text, manifestBytesMax);
  if (!decoded.ok) return decoded;
  const { value } = decoded;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return err('the manifest is not an object');
  const fields = value as Readonly<Record<string, unknown>>;
  if (fields.v !== 1) return err('the manifest has a version that is not known');
  if (fields.kind === 'leaf') return decodeLeaf(fields);
  if (fields.kind === 'tree') return decodeTree(fields);
  return err('the manifest is of a kind that is not known');
}

function decodeLeaf(fields: Readonly<Record<string, unknown>>): Result<LeafManifest, string> {
  const { v: _version, kind: _kind, chunking, size, chunks, ...rest } = fields;
  if (Object.keys(rest).length > 0) return err('the manifest has a field that is not known');
  const parameters = checkChunking(chunking);
  if (!parameters.ok) return parameters;
  const entries = decodeEntries(chunks, size);
  if (!entries.ok) return entries;
  const { min, max } = parameters.value;
  const last = entries.value.length - 1;
  for (const [index, entry] of entries.value.entries()) {
    if (entry.size > max || (entry.size < min && index < last)) return err(`chunk ${index} has a size out of bounds`);
  }
  return ok({ kind: 'leaf', size: size as number, chunking: parameters.value, chunks: entries.value });
}

function decodeTree(fields: Readonly<Record<string, unknown>>): Result<TreeManifest, string> {
  const { v: _version, kind: _kind, height, size, parts, ...rest } = fields;
  if (Object.keys(rest).length > 0) return err('the manifest has a field that is not known');
  if (!Number.isSafeInteger(height)) return err('the height is not an integer');
  const levels = height as number;
  if (levels < 1 || levels > manifestHeightMax) return err(`the height is not from 1 to ${manifestHeightMax}`);
  const entries = decodeEntries(parts, size);
  if (!entries.ok) return entries;
  if (entries.value.length === 0) return err('a tree without parts is none');
  return ok({ kind: 'tree', size: size as number, height: levels, parts: entries.value });
}

function decodeEntries(pairs: unknown, size: unknown): Result<readonly ManifestEntry[], string> {
  if (!Array.isArray(pairs)) return err('the manifest has no list of entries');
  if (pairs.length > manifestEntriesMax) return err(`the manifest has more than ${manifestEntriesMax} entries`);
  const entries: ManifestEntry[] = [];
  let total = 0;
  for (const [index, pair] of pairs.entries()) {
    if (!Array.isArray(pair) || pair.length !== 2) return err(`entry ${index} is not a hash and a size`);
    const [hash, entrySize] = pair as [unknown, unknown];
    if (typeof hash !== 'string' || !isHash(hash)) return err(`entry ${index} has no hash`);
    if (!Number.isSafeInteger(entrySize) || (entrySize as number) < 1) return err(`entry ${index} has no size`);
    total += entrySize as number;
    entries.push({ hash: hash as BlobHash, size: entrySize as number });
  }
  // A sum past 2^53 is no longer exact, but it is no safe integer either, so it cannot equal a size that is one.
  if (!Number.isSafeInteger(size) || size !== total) return err('the size is not the sum of the entries');
  return ok(entries);
}

/**
 * Checks a manifest that was fetched for a part of another: it stands for as many bytes as the tree says and is
 * one level lower. A walk that checks every step ends after at most `manifestHeightMax` of them.
 *
 * @returns a sentence saying what is wrong, or undefined
 */
export function checkPart(tree: TreeManifest, part: ManifestEntry, manifest: Manifest): string | undefined {
  if (manifest.size !== part.size) return 'a part of the manifest has another size than the tree says';
  const height = manifest.kind === 'tree' ? manifest.height : 0;
  if (height !== tree.height - 1) return 'a part of the manifest has another height than the tree says';
  return undefined;
}

/** A chunk or part that a range of content touches. */
export interface RangeEntry extends ManifestEntry {
  /** Its place in the list. */
  readonly index: number;
  /** The bytes of it that lie in the range: `from` inclusive, `to` exclusive, counted from its own start. */
  readonly from: number;
  readonly to: number;
}

/**
 * The entries that bytes `start` to `end` (exclusive) of the listed content lie in, in order; none for an empty
 * range. `start` and `end` are counted from the list's start and may reach past its end.
 */
export function chunksInRange(entries: readonly ManifestEntry[], start: number, end: number): RangeEntry[] {
  const found: RangeEntry[] = [];
  let offset = 0;
  for (const [index, { hash, size }] of entries.entries()) {
    if (offset >= end) break;
    const from = Math.max(0, start - offset);
    const to = Math.min(size, end - offset);
    if (from < to) found.push({ hash, size, index, from, to });
    offset += size;
  }
  return found;
}
