import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDatabase } from '../../src/adapters/lmdb/database.ts';

/** Writes rows in one LMDB transaction and resolves when it is on disk. LMDB flushes together what comes together. */
export type CommitRows = (rows: () => Iterable<readonly [key: Uint8Array, value: Uint8Array]>) => Promise<void>;

/** LMDB by itself, with a node's settings and no log before it, in a directory that is removed afterwards. */
export async function withBareLmdb<T>(act: (commit: CommitRows) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), 'anabranch-bench-lmdb-'));
  try {
    const database = await openDatabase(dir);
    try {
      return await act(async (rows) => {
        await database.batch(() => {
          for (const [key, value] of rows()) database.put(key, value);
        });
      });
    } finally {
      await database.close();
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
