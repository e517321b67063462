import type { BlobHash } from '../../../crdt/ids.ts';
import type { Clock } from '../../ports/clock.ts';
import type { KvReader } from '../../ports/kv.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { ContentStore } from './content-store.ts';
import { loadRoot, walkChunks } from './manifest-walk.ts';
import type { PullJobs } from './pull-jobs.ts';

/** Chunks looked at in one stretch: small ones are looked up without waiting for anything. */
const chunksPerTurnMax = 64;

export interface WholeCheckDependencies {
  readonly kv: KvReader;
  readonly store: ContentStore;
  readonly jobs: PullJobs;
  readonly clock: Clock;
}

/** False when a content is called whole here and a blob of it is not here with its size. What the bytes are is not looked at. */
export async function isWhole(
  { kv, store, jobs, clock }: WholeCheckDependencies,
  manifest: BlobHash,
): Promise<boolean> {
  const size = jobs.completeSize(kv, manifest);
  // It was dropped or reopened since.
  if (size === undefined) return true;
  const load = async (hash: BlobHash): Promise<Uint8Array> => {
    const bytes = await store.read(hash);
    if (bytes === undefined) throw new Lacking();
    return bytes;
  };
  try {
    const root = await loadRoot(manifest, size, load);
    let looked = 0;
    for await (const chunk of walkChunks(root, load, { start: 0, end: root.size })) {
      if ((await store.sizeOf(chunk.hash)) !== chunk.size) return false;
      looked += 1;
      if (looked % chunksPerTurnMax === 0) await clock.sleep(0);
    }
    return true;
  } catch (error) {
    if (error instanceof Lacking || (error instanceof MeshError && error.code === 'corrupt')) return false;
    throw error;
  }
}

/** Thrown within the walk through a content when a manifest of it is not here. */
class Lacking extends Error {}
