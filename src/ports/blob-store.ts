import type { BlobHash } from '../../crdt/ids.ts';

/** Content-addressed blobs: one file each in production, a map in the simulator. */
export interface BlobStore {
  /** True when a blob of that name is stored (its bytes are not checked). */
  has(hash: BlobHash): Promise<boolean>;
  /**
   * Stores bytes under the hash the caller has computed; storing what is there already changes nothing.
   * A reader sees all of it or none. Durable only after a `flush` that was called after it resolved.
   * Rejects with `MeshError` `disk_full` or `io_error`; nothing half-written remains.
   */
  put(hash: BlobHash, bytes: Uint8Array): Promise<void>;
  /** Makes every finished `put` and `delete` survive power loss. */
  flush(): Promise<void>;
  /** The bytes as they are on disk, unverified, or undefined when absent. The caller verifies. */
  get(hash: BlobHash): Promise<Uint8Array | undefined>;
  /** Puts a blob whose bytes no longer match its name aside for inspection; it reads as absent afterwards. */
  quarantine(hash: BlobHash): Promise<void>;
  delete(hash: BlobHash): Promise<void>;
  /** Every stored blob, in no particular order. */
  list(): AsyncIterable<{ readonly hash: BlobHash; readonly sizeBytes: number }>;
  /** Room on the device. */
  space(): Promise<{ readonly capacityBytes: number; readonly freeBytes: number }>;
  /** Removes what an interrupted `put` left behind. Called once, before anything else. */
  recover(): Promise<void>;
}
