import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { withBareLmdb } from '../support/bare-lmdb.ts';

/** Bytes of the rows one document with its content comes to: record, change, object, content, event, and the small ones. */
const rowBytes: readonly number[] = [700, 900, 350, 1_000, 250, 250, 130, 100, 64, 32, 32, 32];
const documentsPerTransaction = 64;

/** Documents a second whose rows are put into LMDB, at random keys as in a node, in flushed transactions. */
export function flushedRowsPerSecond(documents: number): Promise<number> {
  const rows = function* (count: number): Generator<[Uint8Array, Uint8Array]> {
    for (let document = 0; document < count; document += 1) {
      for (const bytes of rowBytes) yield [randomBytes(33), randomBytes(bytes)];
    }
  };
  return withBareLmdb(async (commit) => {
    const startMs = performance.now();
    for (let done = 0; done < documents; done += documentsPerTransaction) {
      await commit(() => rows(Math.min(documentsPerTransaction, documents - done)));
    }
    return documents / ((performance.now() - startMs) / 1_000);
  });
}

/** The longest stall, in milliseconds, of a process that works in turns of 10 ms: what is more, others took. */
export async function stallOfBusyProcessMs(): Promise<number> {
  const child = fork(new URL('./busy.ts', import.meta.url));
  const [stallMs] = (await once(child, 'message')) as [number];
  return stallMs;
}
