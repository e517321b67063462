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

it('a database finds a key that was absent once it is written, whenever it was looked for', async () => {
  let reads = 0;
  let failure: Error | undefined;
  let duringWrite = (): void => undefined;
  const environment = await openDatabase(directory);
  const counted = intercepted(environment, {
    getBinaryFast: (stored) => {
      reads += 1;
      return environment.getBinaryFast(stored);
    },
    batch: async (action) => {
      if (failure !== undefined) throw failure;
      const written = environment.batch(action);
      duringWrite();
      const result = await written;
      duringWrite();
      return result;
    },
  });
  const database = new Database({ database: counted, open: async () => counted }, directory);
  const look = (text: string) => database.lookup(text, Buffer.from(text));
  const write = (text: string) =>
    database.write({ rows: [[text, Buffer.from(text)]], size: 1, bytes: 2 * text.length });
  for (let round = 0; round < 5; round += 1) expect(look('a')).toBeUndefined();
  expect(reads).toBe(1);
  duringWrite = () => {
    look('a');
    look('b');
  };
  await write('a');
  expect(look('a')).toEqual(Uint8Array.of(97));
  expect(look('b')).toBeUndefined();
  duringWrite = () => undefined;
  failure = new Error('no');
  await expect(write('b')).rejects.toMatchObject({ code: 'io_error' });
  failure = undefined;
  await write('b');
  expect(look('b')).toEqual(Uint8Array.of(98));
  expect(look('c')).toBeUndefined();
  await database.close();
  expect(() => look('c')).toThrow(expect.objectContaining({ code: 'io_error' }));
});
