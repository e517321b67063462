import type { BlobHash } from '../../crdt/ids.ts';
import type { BlobStore } from '../../src/ports/blob-store.ts';

/** A blob store that shows each put to someone before it happens. */
export function watchedBlobs(store: BlobStore, onPut: (hash: BlobHash, bytes: Uint8Array) => void): BlobStore {
  return {
    sizeOf: (hash) => store.sizeOf(hash),
    put: (hash, bytes, options) => {
      onPut(hash, bytes);
      return store.put(hash, bytes, options);
    },
    flush: () => store.flush(),
    get: (hash, options) => store.get(hash, options),
    quarantine: (hash) => store.quarantine(hash),
    delete: (hash) => store.delete(hash),
    list: (after) => store.list(after),
    space: () => store.space(),
    recover: () => store.recover(),
  };
}
