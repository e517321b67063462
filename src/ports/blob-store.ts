import type { BlobHash } from '../../crdt/ids.ts';

/** What is known of a blob's use. */
export interface PutOptions {
  /** It is not expected to be read soon: the store need not keep it in the memory of the machine. */
  readonly isCold?: boolean;
}

/** How a blob is to be read. */
export interface GetOptions {
  /** Makes the memory, of exactly so many bytes, that the blob is read into; fresh memory when absent. */
  into?(length: number): Uint8Array<ArrayBuffer>;
}

/** Content-addressed blobs: one file each in production, a map in the simulator. */
export interface BlobStore {
  /** Bytes stored under that name (which are not looked at), or undefined when there are none. */
  sizeOf(hash: BlobHash): Promise<number | undefined>;
  /**
   * Stores bytes under the hash the caller has computed; storing what is there already changes nothing.
   * A reader sees all of it or none. Durable only after a `flush` that was called after it resolved.
   * Rejects with `MeshError` `disk_full` or `io_error`; nothing half-written remains.
   */
  put(hash: BlobHash, bytes: Uint8Array, options?: PutOptions): Promise<void>;
  /** Makes every finished `put` and `delete` survive power loss. */
  flush(): Promise<void>;
  /** The bytes as they are on disk, unverified, or undefined when absent. The caller verifies. */
  get(hash: BlobHash, options?: GetOptions): Promise<Uint8Array | undefined>;
  /** Puts a blob whose bytes no longer match its name aside for inspection; it reads as absent afterwards. */
  quarantine(hash: BlobHash): Promise<void>;
  delete(hash: BlobHash): Promise<void>;
  /**
   * The stored blobs in ascending order of their names: those after `after`, all of them when it is absent. What comes
   * or goes meanwhile may show or not.
   */
  list(after?: BlobHash): AsyncIterable<{ readonly hash: BlobHash; readonly sizeBytes: number }>;
  /** Room on the device. */
  space(): Promise<{ readonly capacityBytes: number; readonly freeBytes: number }>;
  /** Removes what an interrupted `put` left behind. Called once, before anything else. */
  recover(): Promise<void>;
}
