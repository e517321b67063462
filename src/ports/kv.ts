/** An ordered byte-string store with atomic, durable transactions: LMDB in production, a map in the simulator. */

/** Keys are 1 to `kvKeyBytesMax` bytes, ordered as unsigned bytes. */
export type KvKey = Uint8Array;

/** The longest key every adapter takes, from LMDB's default page size. */
export const kvKeyBytesMax = 1_978;

export interface KvRange {
  /** First key, inclusive. */
  readonly start: KvKey;
  /** Key after the last one, exclusive. */
  readonly end: KvKey;
  /** At most so many entries; all of them when absent. */
  readonly limit?: number;
  /** Greatest key first when true. `start` and `end` keep their meaning. */
  readonly reverse?: boolean;
}

export interface KvReader {
  /** The value, or undefined. The caller must not change the bytes, and owns them as long as it likes. */
  get(key: KvKey): Uint8Array | undefined;
  /** Entries in key order from one consistent view; it must be consumed without awaiting in between. */
  range(range: KvRange): Iterable<readonly [KvKey, Uint8Array]>;
}

export interface KvTransaction extends KvReader {
  put(key: KvKey, value: Uint8Array): void;
  delete(key: KvKey): void;
}

export interface Kv extends KvReader {
  /**
   * Runs `change` as one atomic transaction, one at a time, and resolves with its result once the
   * transaction is flushed: from then on it survives power loss. `change` is synchronous and reads
   * its own writes; when it throws, nothing is written and the promise rejects with what it threw.
   * It may see writes of earlier transactions that are not flushed yet, and is never on disk without them.
   * Rejects with `MeshError` `disk_full` or `io_error` when the store cannot keep it.
   */
  transact<T>(change: (transaction: KvTransaction) => T): Promise<T>;
  /** Resolves when everything committed so far is on disk. */
  flush(): Promise<void>;
  /** Names the data files as they are on this machine, so that a copied or restored directory is noticed. */
  identity(): string;
  close(): Promise<void>;
}
