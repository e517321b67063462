import { pipe } from 'it-pipe';
import { type ChunkingParameters, createChunker } from '../../../crdt/chunking.ts';
import { type Blake3, blobHashOf, createBlake3, rawHash, toHex } from '../../../crdt/digest.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import {
  createManifestBuilder,
  decodeManifest,
  type ManifestBlob,
  type ManifestEntry,
} from '../../../crdt/manifest.ts';
import type { Content } from '../../../crdt/version.ts';
import type { ByteBudget } from './byte-budget.ts';
import { type ContentStore, smallBlobBytesMax } from './content-store.ts';
import { type Linkage, linkageOf, linkedPerTransactionMax } from './links.ts';
import type { Pins } from './pins.ts';
import { isSoleLeaf } from './small-content.ts';

/** Content that is stored but belongs to no version yet. */
export interface StagedContent {
  readonly content: Content;
  /** Its small blobs, which are written in the transaction that makes it somebody's. */
  readonly rows: readonly ManifestBlob[];
  /** What its root manifest lists, when that takes rows and few enough for the caller's transaction. */
  readonly linkage: Linkage | undefined;
  /** Manifests whose rows were written when they were made: those below the root, and a long root. */
  readonly parts: readonly BlobHash[];
  /**
   * Ends the hold on what was stored for it; to be called once, when the version was written or was not (`isKept`).
   * What nothing came to need is removed.
   */
  release(isKept: boolean): void;
}

export interface IngestDependencies {
  readonly store: Pick<ContentStore, 'putChecked' | 'flush'>;
  /** Bounds the bytes on their way to disk, shared by all that ingest. */
  readonly budget: ByteBudget;
  readonly pins: Pins;
  /** Notes what a manifest lists, durably; it is taken apart again unless the content is kept. */
  stage(linkage: Linkage): Promise<void>;
  /** Removes those of these blobs that nothing needs. */
  discard(hashes: readonly BlobHash[]): void;
}

type Source = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/**
 * Takes a body in: cuts it into chunks, names them, and stores several at a time while the next are cut.
 * Resolves once every large blob is durable. When the body throws or the signal is aborted, that error passes
 * through after the writes under way have settled; what was stored until then belongs to nothing.
 */
export async function ingest(
  body: Source,
  dependencies: IngestDependencies,
  chunking: ChunkingParameters,
  signal?: AbortSignal,
): Promise<StagedContent> {
  const writer = new StagingWriter(dependencies);
  const whole = new WholeHash();
  const manifests = createManifestBuilder(chunking);
  /** The first two, which tell whether there is more than one. */
  const first: ManifestEntry[] = [];
  let staged: StagedContent | undefined;
  try {
    await pipe(
      untilAborted(body, signal),
      (pieces) => cut(pieces, chunking),
      async (chunks) => {
        for await (const bytes of chunks) {
          const hash = blobHashOf(bytes);
          whole.add(bytes, hash);
          await writer.store({ hash, bytes });
          const entry = { hash, size: bytes.length };
          if (first.length < 2) first.push(entry);
          for (const blob of manifests.add(entry)) await writer.storePart(blob);
        }
      },
    );
    const { root, size, blobs } = manifests.finish();
    const last = blobs.at(-1) as ManifestBlob;
    for (const blob of blobs.slice(0, -1)) await writer.storePart(blob);
    const isPlain = first.length === 0 || isSoleLeaf(first, chunking);
    const listed = isPlain ? undefined : linkageIn(last);
    const isLong = (listed?.children.length ?? 0) > linkedPerTransactionMax;
    await (isLong ? writer.storePart(last) : writer.store(last));
    await writer.finish();
    staged = {
      content: { manifest: root, size, b3: whole.hex() },
      rows: writer.rows,
      linkage: isLong ? undefined : listed,
      parts: writer.parts,
      release: (isKept) => writer.release(isKept),
    };
    return staged;
  } finally {
    await writer.settled();
    if (staged === undefined) writer.release(false);
  }
}

/** The BLAKE3 of a content from its chunks: of one alone it is that chunk's, so small objects are hashed once. */
class WholeHash {
  #only: { readonly bytes: Uint8Array; readonly hash: BlobHash } | undefined;
  #hasher: Blake3 | undefined;

  /** The bytes must stay as they are until the next call. */
  add(bytes: Uint8Array, hash: BlobHash): void {
    if (this.#hasher === undefined && this.#only === undefined) {
      this.#only = { bytes, hash };
      return;
    }
    this.#hasher ??= createBlake3();
    if (this.#only !== undefined) this.#hasher.update(this.#only.bytes);
    this.#only = undefined;
    this.#hasher.update(bytes);
  }

  hex(): string {
    if (this.#only !== undefined) return toHex(rawHash(this.#only.hash));
    return toHex((this.#hasher ?? createBlake3()).digest());
  }
}

function linkageIn({ hash, bytes }: ManifestBlob): Linkage | undefined {
  const manifest = decodeManifest(bytes);
  if (!manifest.ok) throw new Error(`a manifest that was just made cannot be read: ${manifest.error}`);
  return linkageOf(hash, manifest.value);
}

/** Small blobs are kept for the caller's transaction up to this much of one content; further ones are stored at once. */
const rowBytesMax = 1024 * 1024;

/** Keeps several writes under way, within the shared budget. */
class StagingWriter {
  readonly rows: ManifestBlob[] = [];
  readonly parts: BlobHash[] = [];
  readonly #dependencies: IngestDependencies;
  /** Blobs that are stored and that no row names yet. */
  readonly #pinned: BlobHash[] = [];
  readonly #writing = new Set<Promise<void>>();
  #rowBytes = 0;
  #failure: { readonly error: unknown } | undefined;
  #hasLargeBlobs = false;

  constructor(dependencies: IngestDependencies) {
    this.#dependencies = dependencies;
  }

  /** Resolves when there was room to start the write. Throws what an earlier write failed with. */
  async store({ hash, bytes }: ManifestBlob): Promise<void> {
    const isSmall = bytes.length <= smallBlobBytesMax;
    if (isSmall && this.#rowBytes + bytes.length <= rowBytesMax) {
      // A view of a piece would keep the whole piece in memory.
      this.rows.push({ hash, bytes: Uint8Array.from(bytes) });
      this.#rowBytes += bytes.length;
      return;
    }
    this.#hasLargeBlobs ||= !isSmall;
    // Before the store is asked whether it is here: from now on nobody removes it.
    this.#dependencies.pins.pin(hash);
    this.#pinned.push(hash);
    const giveBack = await this.#dependencies.budget.take(bytes.length);
    this.#throwFailure(giveBack);
    const writing = this.#dependencies.store
      .putChecked(hash, bytes)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        giveBack();
        this.#writing.delete(writing);
      });
    this.#writing.add(writing);
  }

  /** Stores a manifest whose rows are written here. From then on they name what it lists, and only it is held. */
  async storePart(blob: ManifestBlob): Promise<void> {
    const { pins, stage } = this.#dependencies;
    const listed = linkageIn(blob);
    pins.pin(blob.hash);
    this.parts.push(blob.hash);
    if (listed !== undefined) {
      await this.settled();
      this.#throwFailure();
      await stage(listed);
      pins.release(this.#pinned.splice(0));
    }
    await this.store(blob);
  }

  release(isKept: boolean): void {
    const held = [...this.#pinned.splice(0), ...this.parts.splice(0)];
    if (held.length === 0) return;
    this.#dependencies.pins.release(held);
    if (!isKept) this.#dependencies.discard(held);
  }

  /** Waits for every write and makes them durable. */
  async finish(): Promise<void> {
    await this.settled();
    this.#throwFailure();
    if (this.#hasLargeBlobs) await this.#dependencies.store.flush();
  }

  async settled(): Promise<void> {
    await Promise.all(this.#writing);
  }

  #throwFailure(before?: () => void): void {
    if (this.#failure === undefined) return;
    before?.();
    throw this.#failure.error;
  }
}

/** Ends the body with the signal's reason, even while its next piece is awaited. */
async function* untilAborted(body: Source, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  if (signal === undefined) {
    yield* body;
    return;
  }
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  aborted.promise.catch(() => undefined);
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const pieces = Symbol.asyncIterator in body ? body[Symbol.asyncIterator]() : body[Symbol.iterator]();
  let ended = false;
  try {
    for (;;) {
      const next = await Promise.race([pieces.next(), aborted.promise]);
      ended = next.done === true;
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    // Not awaited: a body that hangs in its next piece would hang here too.
    if (!ended) Promise.resolve(pieces.return?.()).catch(() => undefined);
  }
}

/**
 * The chunks of a content. A body shorter than the smallest chunk is one chunk whatever it holds, and needs
 * no chunker, whose buffer is as large as the largest chunk.
 */
async function* cut(pieces: AsyncIterable<Uint8Array>, chunking: ChunkingParameters): AsyncGenerator<Uint8Array> {
  let head: Uint8Array[] = [];
  let headBytes = 0;
  let chunker: ReturnType<typeof createChunker> | undefined;
  for await (const piece of pieces) {
    if (chunker === undefined) {
      head.push(piece);
      headBytes += piece.length;
      if (headBytes < chunking.min) continue;
      chunker = createChunker(chunking);
      for (const early of head) yield* chunker.push(early);
      head = [];
    } else {
      yield* chunker.push(piece);
    }
  }
  if (chunker === undefined && headBytes > 0) yield head.length === 1 ? (head[0] as Uint8Array) : Buffer.concat(head);
  const last = chunker?.finish();
  if (last !== undefined) yield last;
}
