import { cp, rm } from 'node:fs/promises';
import { Database, openDatabase } from '../../src/adapters/lmdb/database.ts';
import { LmdbKv, type LmdbKvOptions } from '../../src/adapters/lmdb/kv.ts';
import type { Kv } from '../../src/ports/kv.ts';
import { intercepted } from './small-database.ts';

export interface CrashingDatabase {
  readonly kv: Kv;
  /** Copies the directory as a crash at this moment would leave it: before a transaction of LMDB, or after it. */
  crash(to: string): Promise<void>;
}

export async function openCrashingDatabase(path: string, options: LmdbKvOptions = {}): Promise<CrashingDatabase> {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const done = last.then(act, act);
    last = done;
    return done;
  };
  const open = async () => {
    const database = await openDatabase(path);
    return intercepted(database, { batch: (write) => inTurn(() => database.batch(write as () => void)) });
  };
  const kv = await LmdbKv.over(new Database({ database: await open(), open }, path), path, options);
  return {
    kv,
    crash: (to) =>
      inTurn(async () => {
        await rm(to, { recursive: true, force: true });
        await cp(path, to, { recursive: true });
      }),
  };
}
