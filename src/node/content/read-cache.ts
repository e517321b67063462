import type { BlobHash } from '../../../crdt/ids.ts';

/** Memory that blobs read from holders and not kept here may take. */
const cachedBytesMax = 16 * 1024 * 1024;

/**
 * Verified blobs of contents that this node only reads: several ranges of one chunk, and the manifests of a content
 * that is read again, cost one transfer. What was used longest ago makes room.
 */
export class ReadCache {
  readonly #bytesMax: number;
  readonly #blobs = new Map<BlobHash, Uint8Array>();
  #bytes = 0;

  constructor(bytesMax = cachedBytesMax) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(hash: BlobHash): Uint8Array | undefined {
    const blob = this.#blobs.get(hash);
    if (blob === undefined) return undefined;
    this.#blobs.delete(hash);
    this.#blobs.set(hash, blob);
    return blob;
  }

  /** Nobody changes the bytes afterwards. */
  add(hash: BlobHash, blob: Uint8Array): void {
    // The whole buffer is held, of which a blob may be but a view.
    const bytes = blob.buffer.byteLength;
    if (this.#blobs.has(hash) || bytes > this.#bytesMax / 2) return;
    this.#blobs.set(hash, blob);
    this.#bytes += bytes;
    for (const [oldest, { buffer }] of this.#blobs) {
      if (this.#bytes <= this.#bytesMax) return;
      this.#blobs.delete(oldest);
      this.#bytes -= buffer.byteLength;
    }
  }
}
