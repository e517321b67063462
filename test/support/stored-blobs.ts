import { toBase32 } from '../../crdt/digest.ts';
import type { BlobHash } from '../../crdt/ids.ts';
import { blobKey, hashedRange } from '../../src/node/content/content-keys.ts';
import type { ContentNode } from './content-mesh.ts';

const smallKeyBytes = blobKey('a'.repeat(52) as BlobHash).length;

/** Every chunk and manifest that a node has stored, large ones and small ones. */
export async function storedBlobs(node: Pick<ContentNode, 'kv' | 'blobs'>): Promise<Map<BlobHash, Uint8Array>> {
  const stored = new Map<BlobHash, Uint8Array>();
  for (const [key, value] of node.kv.range(hashedRange('blob'))) {
    if (key.length === smallKeyBytes) stored.set(toBase32(key.subarray(1)) as BlobHash, value);
  }
  for (const hash of node.blobs.hashes()) stored.set(hash, node.blobs.peek(hash) as Uint8Array);
  return stored;
}
