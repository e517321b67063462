import type { BlobStore } from '../../ports/blob-store.ts';
import type { Clock } from '../../ports/clock.ts';

/** How long what this node holds is taken for the same: counting it looks at every file. */
const countAgainMs = 300_000;

export interface Space {
  readonly capacityBytes: number;
  readonly freeBytes: number;
}

/**
 * How much this node can hold and how much of that is free: its disk, or, where it is to hold no more than so much,
 * that less the bytes of its blobs. Small contents, which are rows of the store, are not counted.
 */
export class NodeSpace {
  readonly #blobs: Pick<BlobStore, 'space' | 'list'>;
  readonly #clock: Clock;
  readonly #limitBytes: number | undefined;
  #held: { readonly bytes: number; readonly atMs: number } | undefined;

  constructor(
    dependencies: { readonly blobs: Pick<BlobStore, 'space' | 'list'>; readonly clock: Clock },
    options: { readonly capacityBytes?: number },
  ) {
    this.#blobs = dependencies.blobs;
    this.#clock = dependencies.clock;
    this.#limitBytes = options.capacityBytes;
  }

  /** Rejects with `MeshError` as the blob store does. */
  async measure(): Promise<Space> {
    const disk = await this.#blobs.space();
    const limitBytes = this.#limitBytes;
    if (limitBytes === undefined) return whole(disk);
    const heldBytes = await this.#heldBytes();
    return whole({
      capacityBytes: Math.min(disk.capacityBytes, limitBytes),
      freeBytes: Math.max(0, Math.min(disk.freeBytes, limitBytes - heldBytes)),
    });
  }

  async #heldBytes(): Promise<number> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#held === undefined || nowMs - this.#held.atMs >= countAgainMs) {
      let bytes = 0;
      for await (const { sizeBytes } of this.#blobs.list()) bytes += sizeBytes;
      this.#held = { bytes, atMs: nowMs };
    }
    return this.#held.bytes;
  }
}

function whole({ capacityBytes, freeBytes }: Space): Space {
  return { capacityBytes: Math.floor(capacityBytes), freeBytes: Math.floor(Math.min(freeBytes, capacityBytes)) };
}
