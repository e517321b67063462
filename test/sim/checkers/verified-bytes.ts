import { blake3, blobHashOf, toBase32, toHex } from '../../../crdt/digest.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import { blobKey } from '../../../src/node/content/content-keys.ts';
import type { CheckerFactory } from './checker.ts';

const anyHash = 'a'.repeat(52) as BlobHash;
const smallBlobKey = blobKey(anyHash);

/**
 * Invariant 6, for content: what is put under a hash has that hash, in the blob store and in the key-value store; and what
 * a client is given of a version is what its writer took the hash of, whether the node has it or passes it on.
 */
export const verifiedBytes: CheckerFactory = {
  name: 'verified-bytes',
  create: () => ({
    committed: ({ machine, store, keys }, violate) => {
      for (const key of keys) {
        // A longer key in the same room is the mark that a content is whole.
        if (key[0] !== smallBlobKey[0] || key.length !== smallBlobKey.length) continue;
        const bytes = store.get(key);
        const hash = toBase32(key.subarray(1));
        if (bytes !== undefined && blobHashOf(bytes) !== hash)
          violate(`${machine.name} stored unverified bytes as ${hash}`);
      }
    },
    stored: (machine, hash, bytes, violate) => {
      if (blobHashOf(bytes) !== hash) violate(`${machine.name} stored unverified bytes as ${hash}`);
    },
    served: (machine, { version }, bytes, violate) => {
      if (toHex(blake3(bytes)) !== version.record.content?.b3)
        violate(`${machine.name} served other bytes than version ${version.id} names`);
    },
  }),
};
