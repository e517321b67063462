import type { BlobHash } from '../../../crdt/ids.ts';

/**
 * Blobs that uploads under way count on, though nothing that is kept names them yet: nobody removes them meanwhile.
 * An upload pins at most the chunks of one manifest at a time and the manifests it has made, so this is bounded.
 */
export class Pins {
  readonly #counts = new Map<BlobHash, number>();
  #onRelease: () => void = () => undefined;

  /** Is told whenever something was released. */
  onRelease(listener: () => void): void {
    this.#onRelease = listener;
  }

  has(hash: BlobHash): boolean {
    return this.#counts.has(hash);
  }

  get size(): number {
    return this.#counts.size;
  }

  /** Takes effect before anything else is awaited, so what was there before the call stays. */
  pin(hash: BlobHash): void {
    this.#counts.set(hash, (this.#counts.get(hash) ?? 0) + 1);
  }

  /** Undoes one `pin` of each. */
  release(hashes: Iterable<BlobHash>): void {
    for (const hash of hashes) {
      const count = this.#counts.get(hash) ?? 0;
      if (count > 1) this.#counts.set(hash, count - 1);
      else this.#counts.delete(hash);
    }
    this.#onRelease();
  }
}
