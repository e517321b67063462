import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Database, type LmdbDatabase, openDatabase } from '../../../src/adapters/lmdb/database.ts';
import { intercepted } from '../../support/small-database.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'anabranch-database-'));
});
afterEach(() => rm(directory, { recursive: true }));

it('a database tells how many transactions it had, and takes writes, after it could not be opened for a while', async () => {
  let failure: Error | undefined;
  const openWorking = async (): Promise<LmdbDatabase> => {
    if (failure !== undefined) throw failure;
    const environment = await openDatabase(directory);
    return intercepted(environment, {
      getBinaryFast: (stored) => {
        if (failure !== undefined) throw failure;
        return environment.getBinaryFast(stored);
      },
    });
  };
  const database = new Database({ database: await openWorking(), open: openWorking }, directory);
  const batch = { rows: [['a', Uint8Array.of(49)]] as const, size: 1, bytes: 2 };
  const before = database.transactions();
  failure = new Error('MDB_PANIC: Update of meta page failed or environment had fatal error');
  await expect(database.write(batch)).rejects.toMatchObject({ code: 'io_error' });
  expect(database.transactions()).toBe(before);
  failure = undefined;
  await database.write(batch);
  expect(database.transactions()).toBeGreaterThan(before);
  await database.close();
});
