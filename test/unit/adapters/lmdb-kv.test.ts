import { cp, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Database, type LmdbDatabase, openDatabase } from '../../../src/adapters/lmdb/database.ts';
import { LmdbKv, type LmdbKvOptions, openLmdbKv } from '../../../src/adapters/lmdb/kv.ts';
import type { Kv, KvRange } from '../../../src/ports/kv.ts';
import type { MeshError } from '../../../src/ports/mesh-error.ts';
import { openCrashingDatabase } from '../../support/crashing-database.ts';
import { key, keysOf, put } from '../../support/named-rows.ts';
import { commitFailure, intercepted, openSmallDatabase } from '../../support/small-database.ts';

let directory: string;
let data: string;
const opened: { close(): Promise<void> }[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'anabranch-lmdb-'));
  data = join(directory, 'data');
});

afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
  await rm(directory, { recursive: true });
});

const open = async (): Promise<Kv> => {
  const kv = await openLmdbKv(data);
  opened.push(kv);
  return kv;
};

/** A store whose database answers some calls as the test has it, also after it was opened anew. */
const openWith = async (
  calls: (database: LmdbDatabase) => Partial<LmdbDatabase>,
  options: LmdbKvOptions = {},
): Promise<Kv> => {
  const openIntercepted = async (): Promise<LmdbDatabase> => {
    const database = await openDatabase(data);
    return intercepted(database, calls(database));
  };
  const database = new Database({ database: await openIntercepted(), open: openIntercepted }, data);
  const kv = await LmdbKv.over(database, data, options);
  opened.push(kv);
  return kv;
};

/** What a process finds that comes after a crash at this moment. */
const afterCrash = async (): Promise<string[]> => {
  const copy = join(directory, 'crashed');
  await rm(copy, { recursive: true, force: true });
  await cp(data, copy, { recursive: true });
  const kv = await openLmdbKv(copy);
  const found = keysOf(kv);
  await kv.close();
  return found;
};

describe('closing the LMDB store', () => {
  /** The exceptions that nobody caught while it closed. */
  const uncaughtDuring = async (act: () => Promise<void>): Promise<unknown[]> => {
    const uncaught: unknown[] = [];
    const note = (error: unknown): void => void uncaught.push(error);
    const others = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException').on('uncaughtException', note);
    try {
      await act();
      await new Promise((resolve) => setTimeout(resolve, 20));
    } finally {
      process.off('uncaughtException', note);
      for (const other of others) process.on('uncaughtException', other);
    }
    return uncaught;
  };

  it('refuses a read that comes while it closes', async () => {
    const kv = await openLmdbKv(data);
    await put(kv, 'a');
    const uncaught = await uncaughtDuring(async () => {
      const closing = kv.close();
      await null;
      await null;
      expect(() => kv.get(key('a'))).toThrow(expect.objectContaining({ code: 'shutting_down' }));
      expect(() => keysOf(kv)).toThrow(expect.objectContaining({ code: 'shutting_down' }));
      await closing;
    });
    expect(uncaught).toEqual([]);
  });

  it.each(['at once', 'after a write'])('ends a range that is half read, %s', async (when) => {
    const kv = await openLmdbKv(data);
    for (const name of ['a', 'b', 'c']) await put(kv, name);
    const entries = kv.range({ start: key(' '), end: key('~') })[Symbol.iterator]();
    expect(entries.next().done).toBe(false);
    const uncaught = await uncaughtDuring(async () => {
      if (when === 'after a write') await put(kv, 'd');
      await kv.close();
      expect(() => entries.next()).toThrow(expect.objectContaining({ code: 'shutting_down' }));
      entries.return?.();
    });
    expect(uncaught).toEqual([]);
  });
});

it('says so when the log cannot be removed at the end, and leaves nothing open', async () => {
  let closed = 0;
  const kv = await openWith((database) => ({
    close: () => {
      closed += 1;
      return database.close();
    },
  }));
  opened.pop();
  await put(kv, 'a');
  await rm(join(data, 'wal.1'));
  await mkdir(join(data, 'wal.1'));
  await expect(kv.close()).rejects.toMatchObject({ name: 'MeshError', code: 'io_error' });
  expect(closed).toBe(1);
});

describe('a full disk under the LMDB store', () => {
  // lmdb itself prints every failed write.
  beforeEach(() => {
    vi.spyOn(console, 'error').mockImplementation(() => {});
  });

  it('refuses what has no room, keeps what it had, and takes writes again when there is room', async () => {
    const small = await openSmallDatabase(directory, 8 * 2 ** 20);
    opened.push(small);
    const { kv } = small;
    const stored: string[] = [];
    let refusal: unknown;
    for (let index = 10; index < 60 && refusal === undefined; index++) {
      await put(kv, `key ${index}`, 200_000).then(
        () => stored.push(`key ${index}`),
        (error) => {
          refusal = error;
        },
      );
    }
    expect(refusal).toMatchObject({ name: 'MeshError', code: 'disk_full' });
    expect(stored.length).toBeGreaterThan(10);
    expect(keysOf(kv)).toEqual(stored);
    const two = [put(kv, 'together 1', 300_000), put(kv, 'together 2', 300_000)];
    const outcomes = await Promise.allSettled(two);
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['rejected', 'rejected']);
    expect(keysOf(kv)).toEqual(stored);
    await small.enlarge();
    await put(kv, 'later', 300_000);
    expect(keysOf(kv)).toEqual([...stored, 'later']);
    expect(kv.get(key('key 10'))).toEqual(new Uint8Array(200_000).fill(7));
  });

  it.each([1_000_000, 700_000, 320_000])('takes deletions however a row of %i bytes meets its end', async (length) => {
    const small = await openSmallDatabase(directory, 2 * 2 ** 20, { restMs: 5 });
    opened.push(small);
    const { kv } = small;
    const few = Array.from({ length: 20 }, (_, index) => `few ${index}`);
    for (const name of few) await put(kv, name, 1_000);
    const stored: string[] = [];
    for (let index = 0; index < 8; index += 1) {
      await put(kv, `long ${index}`, length).then(
        () => stored.push(`long ${index}`),
        (error) => expect(error).toMatchObject({ code: 'disk_full' }),
      );
      // Rows go on to LMDB, or fail to.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    for (const name of [...few, ...stored]) await kv.transact((transaction) => transaction.delete(key(name)));
    await put(kv, 'again');
    expect(keysOf(kv)).toEqual(['again']);
  });

  it('gives the room of the log to LMDB before it refuses a row', async () => {
    const small = await openSmallDatabase(directory, 16 * 2 ** 20, { restMs: 5 });
    opened.push(small);
    let count = 0;
    const fill = async (): Promise<void> => {
      for (; count < 100; count += 1) await put(small.kv, `key ${count}`, 300_000);
    };
    await expect(fill()).rejects.toMatchObject({ code: 'disk_full' });
    expect(count).toBeGreaterThan(45);
  });
});

describe('rows on their way to LMDB', () => {
  /** The keys of each LMDB transaction. */
  const written: string[][] = [];
  let failure: Error | undefined;
  let faults: MeshError[];
  beforeEach(() => {
    written.length = 0;
    [failure, faults] = [undefined, []];
  });
  const openObserved = (options: LmdbKvOptions = {}): Promise<Kv> =>
    openWith(
      (database) => ({
        batch: async (write) => {
          if (failure !== undefined) throw commitFailure(failure);
          written.push([]);
          return database.batch(write as () => void);
        },
        put: (stored, value) => {
          written.at(-1)?.push(Buffer.from(stored).toString());
          return database.put(stored, value);
        },
      }),
      { restMs: 100_000, onFault: (fault) => faults.push(fault), ...options },
    );
  const putAll = (kv: Kv, names: readonly string[]) => Promise.all(names.map((name) => put(kv, name)));

  it('are in the log alone at first, and all in LMDB once it is closed', async () => {
    const kv = await openObserved();
    await putAll(kv, ['b', 'c', 'a']);
    await put(kv, 'c');
    await kv.transact((transaction) => transaction.delete(key('b')));
    expect(written).toEqual([]);
    expect(keysOf(kv)).toEqual(['a', 'c']);
    expect(await afterCrash()).toEqual(['a', 'c']);
    await kv.close();
    expect(written).toEqual([['a', 'c']]);
    expect(await readdir(data)).toEqual(['data.mdb', 'lock.mdb']);
    expect(keysOf(await open())).toEqual(['a', 'c']);
  });

  it('go there in the order of their keys, so many a transaction, once they are many', async () => {
    const kv = await openObserved({ fullRows: 6, transactionRows: 4 });
    await putAll(kv, ['e', 'c', 'a', 'f', 'd', 'b']);
    await vi.waitFor(() => expect(written.flat()).toHaveLength(6));
    expect(written).toEqual([
      ['a', 'b', 'c', 'd'],
      ['e', 'f'],
    ]);
    expect(keysOf(kv)).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
    expect(await afterCrash()).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  });

  it('go there after a while, be they few', async () => {
    const kv = await openObserved({ restMs: 20 });
    for (const name of ['a', 'b']) await put(kv, name);
    await vi.waitFor(() => expect(written.flat()).toEqual(['a', 'b']));
    await put(kv, 'c');
    await vi.waitFor(() => expect(written.flat()).toEqual(['a', 'b', 'c']));
  });

  it('go there as well when one of them is written so often that the log is long', async () => {
    const kv = await openObserved({ fullLogBytes: 32 * 4_096 });
    for (let index = 0; index < 40; index += 1) await put(kv, 'a');
    await vi.waitFor(() => expect(written).toEqual([['a']]));
    expect(keysOf(kv)).toEqual(['a']);
  });

  it('are read as they were written last while those of before go there', async () => {
    let goOn: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    let isHeld = false;
    const kv = await openWith(
      (database) => ({
        batch: async (write) => {
          isHeld = true;
          await held;
          return database.batch(write as () => void);
        },
      }),
      { restMs: 100_000, fullRows: 4 },
    );
    const write = (name: string, value: number) => kv.transact((it) => it.put(key(name), new Uint8Array([value])));
    for (const name of ['a', 'c', 'e', 'g']) await write(name, 1);
    await vi.waitFor(() => expect(isHeld).toBe(true));
    await write('c', 2);
    await write('d', 2);
    await kv.transact((transaction) => transaction.delete(key('e')));
    const values = (range: Partial<KvRange> = {}) =>
      [...kv.range({ start: key(' '), end: key('~'), ...range })].map(
        ([name, value]) => `${Buffer.from(name)}${value}`,
      );
    const check = (): void => {
      expect(['a', 'c', 'd', 'e', 'g'].map((name) => kv.get(key(name))?.[0])).toEqual([1, 2, 2, undefined, 1]);
      expect(values()).toEqual(['a1', 'c2', 'd2', 'g1']);
      expect(values({ reverse: true })).toEqual(['g1', 'd2', 'c2', 'a1']);
      expect(values({ reverse: true, limit: 3 })).toEqual(['g1', 'd2', 'c2']);
      expect(values({ limit: 3 })).toEqual(['a1', 'c2', 'd2']);
    };
    check();
    goOn();
    await kv.flush();
    check();
    await kv.close();
    const again = await open();
    expect([...again.range({ start: key(' '), end: key('~') })].map(([, value]) => value[0])).toEqual([1, 2, 2, 1]);
  });

  it('outlive a crash, however far they are', async () => {
    const { kv, crash } = await openCrashingDatabase(data, { fullRows: 20, transactionRows: 7 });
    opened.push(kv);
    const names: string[] = [];
    for (let round = 0; round < 12; round += 1) {
      const more = Array.from(
        { length: 15 },
        (_, index) => `key ${String((index * 7) % 15).padStart(2, '0')} ${round}`,
      );
      await putAll(kv, more);
      names.push(...more);
      const gone = names.shift() as string;
      await kv.transact((transaction) => transaction.delete(key(gone)));
      const copy = join(directory, `crash ${round}`);
      await crash(copy);
      const again = await openLmdbKv(copy);
      expect(keysOf(again)).toEqual(names.toSorted());
      await again.close();
    }
  });

  it('stay in the log while LMDB fails, which is told, and go there when it works', async () => {
    const kv = await openObserved({ restMs: 1 });
    failure = Object.assign(new Error('Input/output error'), { code: 5 });
    await put(kv, 'a');
    await vi.waitFor(() => expect(faults.length).toBeGreaterThan(0));
    expect(faults[0]).toMatchObject({ code: 'io_error', cause: failure });
    await put(kv, 'b');
    expect(keysOf(kv)).toEqual(['a', 'b']);
    expect(await afterCrash()).toEqual(['a', 'b']);
    failure = undefined;
    await vi.waitFor(() => expect(written.flat().toSorted()).toEqual(['a', 'b']), { timeout: 10_000 });
  });

  it('are refused when too many wait already, and what LMDB said is told', async () => {
    const kv = await openObserved({ fullRows: 2 });
    failure = Object.assign(new Error('MDB_MAP_FULL: Environment mapsize limit reached'), { code: -30792 });
    const outcomes: string[] = [];
    for (let index = 0; index < 12; index += 1) {
      const outcome = await put(kv, `key ${index}`).then(
        () => 'written',
        (error: MeshError) => error.code,
      );
      outcomes.push(outcome);
    }
    expect(outcomes).toEqual([...Array(10).fill('written'), ...Array(2).fill('disk_full')]);
    expect(keysOf(kv)).toHaveLength(10);
    failure = undefined;
    await put(kv, 'more');
    expect(keysOf(kv)).toHaveLength(11);
  });

  it('stay in the log when LMDB fails until the end, and the next start finds them', async () => {
    const kv = await openObserved();
    await putAll(kv, ['a', 'b']);
    failure = new Error('Input/output error');
    await kv.close();
    expect(await readdir(data)).toContain('wal.0');
    failure = undefined;
    const again = await open();
    expect(keysOf(again)).toEqual(['a', 'b']);
    await again.close();
    expect(await readdir(data)).not.toContain('wal.0');
  });

  it('are not told to be where they are not: a log that is newer than the database is refused', async () => {
    const kv = await openObserved({ restMs: 1 });
    const old = join(directory, 'old');
    await cp(data, old, { recursive: true });
    for (const name of ['a', 'b', 'c']) {
      await put(kv, name);
      await vi.waitFor(() => expect(written.flat()).toContain(name));
    }
    await put(kv, 'd');
    for (const name of ['wal.0', 'wal.1']) await cp(join(data, name), join(old, name));
    await expect(openLmdbKv(old)).rejects.toMatchObject({ code: 'corrupt' });
  });
});

describe('an LMDB environment that has failed for good', () => {
  it('is opened anew, so that reads and writes go on', async () => {
    let environments = 0;
    // The first one fails while it writes its meta page, and answers nothing from then on.
    let panicked = false;
    const kv = await openWith(
      (database) => {
        const failing = environments++ === 0;
        const answer = <T>(call: () => T): T => {
          if (failing && panicked)
            throw new Error('MDB_PANIC: Update of meta page failed or environment had fatal error');
          return call();
        };
        return {
          getBinaryFast: (stored) => answer(() => database.getBinaryFast(stored)),
          batch: async (write) => {
            if (!failing) return database.batch(write as () => void);
            panicked = true;
            throw commitFailure(Object.assign(new Error('Input/output error'), { code: 5 }));
          },
        };
      },
      { restMs: 1 },
    );
    await put(kv, 'a');
    await vi.waitFor(() => expect(environments).toBe(2));
    expect(keysOf(kv)).toEqual(['a']);
    await put(kv, 'c');
    await kv.close();
    expect(keysOf(await open())).toEqual(['a', 'c']);
  });

  it('says so while it cannot be opened, keeps what is in the log, and recovers when it can', async () => {
    let failure: Error | undefined;
    const openWorking = async (): Promise<LmdbDatabase> => {
      if (failure !== undefined) throw failure;
      const database = await openDatabase(data);
      return intercepted(database, {
        getBinaryFast: (stored) => {
          if (failure !== undefined) throw failure;
          return database.getBinaryFast(stored);
        },
        batch: async (write) => {
          if (failure !== undefined) throw commitFailure(failure);
          return database.batch(write as () => void);
        },
      });
    };
    const faults: MeshError[] = [];
    const database = new Database({ database: await openWorking(), open: openWorking }, data);
    const kv = await LmdbKv.over(database, data, { restMs: 1, onFault: (fault) => faults.push(fault) });
    opened.push(kv);
    await put(kv, 'a');
    failure = new Error('Input/output error');
    await put(kv, 'b');
    await vi.waitFor(() => expect(faults.at(-1)).toMatchObject({ code: 'io_error' }), { timeout: 5_000 });
    expect(() => kv.get(key('z'))).toThrow(expect.objectContaining({ code: 'io_error' }));
    failure = undefined;
    await put(kv, 'd');
    await vi.waitFor(() => expect(keysOf(kv)).toEqual(['a', 'b', 'd']), { timeout: 5_000 });
  });
});
