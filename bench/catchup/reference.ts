import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLmdbKv } from '../../src/adapters/lmdb/kv.ts';

/** Bytes of the rows one document with its content comes to: record, change, object, content, event, and the small ones. */
const rowBytes: readonly number[] = [700, 900, 350, 1_000, 250, 250, 130, 100, 64, 32, 32, 32];
const documentsPerTransaction = 64;

/** Documents a second whose rows are put into LMDB, at random keys as in a node, in flushed transactions. */
export async function flushedRowsPerSecond(documents: number): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), 'anabranch-bench-kv-'));
  try {
    const kv = await openLmdbKv(dir);
    const startMs = performance.now();
    for (let done = 0; done < documents; done += documentsPerTransaction) {
      const count = Math.min(documentsPerTransaction, documents - done);
      await kv.transact((transaction) => {
        for (let document = 0; document < count; document += 1) {
          for (const bytes of rowBytes) transaction.put(randomBytes(33), randomBytes(bytes));
        }
      });
    }
    const perSecond = documents / ((performance.now() - startMs) / 1_000);
    await kv.close();
    return perSecond;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** The longest stall, in milliseconds, of a process that works in turns of 10 ms: what is more, others took. */
export async function stallOfBusyProcessMs(): Promise<number> {
  const child = fork(new URL('./busy.ts', import.meta.url));
  const [stallMs] = (await once(child, 'message')) as [number];
  return stallMs;
}
