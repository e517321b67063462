import type { BlobHash } from '../../../crdt/ids.ts';
import type { KvReader } from '../../ports/kv.ts';
import { hashedRange, hashOfKey, isCompleteKey } from './content-keys.ts';
import type { PullJobs } from './pull-jobs.ts';

/** A content that is here whole. */
export interface HeldContent {
  readonly manifest: BlobHash;
  readonly sizeBytes: number;
}

/**
 * The contents that are here whole, in the order of their manifests' hashes, after one of them. It goes past every
 * small blob on its way: for the one time when a directory gets its inventory.
 */
export function heldAfter(
  jobs: Pick<PullJobs, 'completeSize'>,
  reader: KvReader,
  after: BlobHash | undefined,
  limit: number,
): HeldContent[] {
  const held: HeldContent[] = [];
  for (const [key] of reader.range(hashedRange('blob', after))) {
    if (!isCompleteKey(key)) continue;
    const manifest = hashOfKey(key);
    held.push({ manifest, sizeBytes: jobs.completeSize(reader, manifest) ?? 0 });
    if (held.length === limit) break;
  }
  return held;
}
