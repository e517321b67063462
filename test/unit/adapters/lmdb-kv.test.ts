import { cp, mkdir, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type LmdbDatabase, LmdbKv, openDatabase, openLmdbKv } from '../../../src/adapters/lmdb/kv.ts';
import type { Kv, KvReader } from '../../../src/ports/kv.ts';
import { commitFailure, intercepted, openSmallDatabase } from '../../support/small-database.ts';

const key = (text: string): Uint8Array => new TextEncoder().encode(text);
const keysOf = (kv: KvReader): string[] =>
  [...kv.range({ start: key(' '), end: key('~') })].map(([each]) => new TextDecoder().decode(each));
const put = (kv: Kv, name: string, length = 10): Promise<void> =>
  kv.transact((transaction) => transaction.put(key(name), new Uint8Array(length).fill(7)));

let directory: string;
let data: string;
const file = (): string => join(data, 'data.mdb');
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
const openWith = async (calls: (database: LmdbDatabase) => Partial<LmdbDatabase>): Promise<Kv> => {
  const openIntercepted = async (): Promise<LmdbDatabase> => {
    const database = await openDatabase(data);
    return intercepted(database, calls(database));
  };
  const database = await openIntercepted();
  const kv = new LmdbKv({ database, openDatabase: openIntercepted }, { path: data, identity: 'x' });
  opened.push(kv);
  return kv;
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

describe('opening the LMDB store', () => {
  it('names the file, so that a copy of the directory is noticed', async () => {
    const kv = await open();
    await put(kv, 'a');
    const identity = kv.identity();
    await kv.close();
    await cp(data, join(directory, 'copy'), { recursive: true });
    const copy = await openLmdbKv(join(directory, 'copy'));
    opened.push(copy);
    expect(keysOf(copy)).toEqual(['a']);
    expect(copy.identity()).not.toBe(identity);
    expect((await open()).identity()).toBe(identity);
  });

  const filled = async (): Promise<Buffer> => {
    const kv = await openLmdbKv(data);
    for (let round = 0; round < 5; round++) {
      await Promise.all(Array.from({ length: 20 }, (_, index) => put(kv, `key ${round} ${index}`, 1_000)));
    }
    await kv.close();
    return readFile(file());
  };

  const pageBytes = (whole: Buffer): number => whole.readUInt32LE(48);

  // In each of these cases LMDB itself would take the process down.
  it.each<[string, (whole: Buffer) => Uint8Array]>([
    ['is no database', () => Buffer.from('this is no database '.repeat(1_000))],
    ['is only a few bytes long', () => Buffer.from('abc')],
    ['has lost all but a piece of its first page', (whole) => whole.subarray(0, 1_000)],
    ['has lost all but its first page', (whole) => whole.subarray(0, pageBytes(whole))],
    ['has lost all but its first two pages', (whole) => whole.subarray(0, 2 * pageBytes(whole))],
    ['has lost its second half', (whole) => whole.subarray(0, whole.length / 2)],
    ['has zeroes for its second half', (whole) => whole.fill(0, whole.length / 2)],
    ['has zeroes for its first page', (whole) => whole.fill(0, 0, pageBytes(whole))],
    ['has zeroes for its second page', (whole) => whole.fill(0, pageBytes(whole), 2 * pageBytes(whole))],
    ['is all zeroes', (whole) => whole.fill(0)],
    ['has rotted where its first page begins', (whole) => whole.fill(0x55, 24, 28)],
    ['has rotted in its second page', (whole) => whole.fill(0x55, pageBytes(whole), 2 * pageBytes(whole))],
  ])('says that a file is corrupt which %s, however often it is asked', async (_, damage) => {
    await writeFile(file(), damage(await filled()));
    for (let time = 0; time < 2; time++) {
      await expect(openLmdbKv(data)).rejects.toMatchObject({ name: 'MeshError', code: 'corrupt' });
    }
  });

  it('makes do with a file whose last pages are missing but not in use', async () => {
    const kv = await openLmdbKv(data);
    for (let index = 0; index < 10; index++) await put(kv, `key ${index}`);
    await put(kv, 'large', 1_000_000);
    await kv.transact((transaction) => transaction.delete(key('large')));
    for (let index = 10; index < 20; index++) await put(kv, `key ${index}`);
    await kv.close();
    await truncate(file(), (await stat(file())).size - 400_000);
    const again = await open();
    expect(keysOf(again)).toHaveLength(20);
    await put(again, 'large', 2_000_000);
    expect(keysOf(again)).toHaveLength(21);
  });

  it.each([0, 8_192])('starts anew on %i zero bytes, which a power loss leaves of a start', async (length) => {
    await mkdir(data);
    await writeFile(file(), new Uint8Array(length));
    const kv = await open();
    await put(kv, 'a');
    expect(keysOf(kv)).toEqual(['a']);
  });

  it('starts anew where a power loss came between its first two pages', async () => {
    await (await openLmdbKv(data)).close();
    const whole = await readFile(file());
    await writeFile(file(), whole.fill(0, pageBytes(whole)));
    const kv = await open();
    await put(kv, 'a');
    expect(keysOf(kv)).toEqual(['a']);
  });

  it.each([
    ['a file where its directory should be', () => writeFile(data, '')],
    ['a directory where its file should be', () => mkdir(file(), { recursive: true })],
    ['a directory where its lock should be', () => mkdir(join(data, 'lock.mdb'), { recursive: true })],
  ])('says that %s is an input/output error', async (_, obstruct) => {
    await obstruct();
    await expect(openLmdbKv(data)).rejects.toMatchObject({ name: 'MeshError', code: 'io_error' });
  });

  it('grows past the map it was opened with', async () => {
    const kv = await openLmdbKv(data, { mapBytes: 2 ** 20 });
    opened.push(kv);
    for (let index = 0; index < 20; index++) await put(kv, `key ${index}`, 500_000);
    expect(keysOf(kv)).toHaveLength(20);
    expect(kv.get(key('key 0'))).toHaveLength(500_000);
  });
});

describe('batches of the LMDB store', () => {
  const counted = async (): Promise<{ kv: Kv; batches: number[] }> => {
    const batches: number[] = [];
    const kv = await openWith((database) => ({
      batch: (write) => {
        batches.push(0);
        return database.batch(write as () => void);
      },
      put: (stored, value) => {
        batches[batches.length - 1] = (batches.at(-1) ?? 0) + 1;
        return database.put(stored, value);
      },
    }));
    return { kv, batches };
  };

  it('share one flush among the transactions that wait for it', async () => {
    const { kv, batches } = await counted();
    const first = put(kv, 'first');
    // The first batch is on its way when the others ask.
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([first, ...Array.from({ length: 100 }, (_, index) => put(kv, `key ${index}`))]);
    expect(batches).toEqual([1, 100]);
  });

  it('hold at most so many transactions', async () => {
    const { kv, batches } = await counted();
    await Promise.all(Array.from({ length: 2_500 }, (_, index) => put(kv, `key ${index}`)));
    expect(batches).toEqual([8, 1_000, 1_000, 492]);
  });

  it('are closed once they hold many bytes', async () => {
    const { kv, batches } = await counted();
    await Promise.all(Array.from({ length: 40 }, (_, index) => put(kv, `key ${index}`, 1_000_000)));
    expect(batches).toEqual([8, 17, 15]);
  });

  it('write a key once that several of their transactions write', async () => {
    const { kv, batches } = await counted();
    await Promise.all(Array.from({ length: 100 }, () => put(kv, 'the same')));
    expect(batches).toEqual([1, 1]);
  });

  it('are not made for transactions that only read, or that throw', async () => {
    const { kv, batches } = await counted();
    await kv.transact((transaction) => transaction.get(key('a')));
    const thrown = kv.transact((transaction) => {
      transaction.put(key('a'), key('a'));
      throw new Error('no');
    });
    await expect(thrown).rejects.toThrow('no');
    expect(batches).toEqual([]);
  });

  it('run while the one before is being written, on top of what it writes', async () => {
    const { kv, batches } = await counted();
    const first = put(kv, 'first');
    await new Promise((resolve) => setImmediate(resolve));
    const seen = kv.transact((transaction) => transaction.get(key('first'))?.length);
    const listed = kv.transact((transaction) => keysOf(transaction));
    const second = kv.transact((transaction) => transaction.delete(key('first')));
    await Promise.all([first, second]);
    expect(await seen).toBe(10);
    expect(await listed).toEqual(['first']);
    expect(batches.length).toBe(2);
    expect(keysOf(kv)).toEqual([]);
  });

  it('fail with the one before that they ran on top of, and the next begins anew', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => {});
    let failures = 1;
    const kv = await openWith((database) => ({
      batch: (write) =>
        failures-- > 0
          ? Promise.reject(commitFailure(new Error('the disk fails')))
          : database.batch(write as () => void),
    }));
    const first = put(kv, 'first');
    await null;
    await null;
    const onTop = kv.transact((transaction) =>
      transaction.put(key('copy'), transaction.get(key('first')) as Uint8Array),
    );
    await expect(first).rejects.toMatchObject({ code: 'io_error' });
    await expect(onTop).rejects.toMatchObject({ code: 'io_error' });
    await put(kv, 'next');
    expect(keysOf(kv)).toEqual(['next']);
  });

  it('do not queue without bound', async () => {
    const kv = await open();
    const asked = Array.from({ length: 100_001 }, () => kv.transact(() => 1));
    await expect(asked.pop()).rejects.toMatchObject({ code: 'io_error', message: expect.stringContaining('100000') });
    await Promise.all(asked);
  });
});

describe('a full disk under the LMDB store', () => {
  // lmdb itself prints every failed write.
  beforeEach(() => {
    vi.spyOn(console, 'error').mockImplementation(() => {});
  });

  it('refuses what has no room, keeps what it had, and takes writes again when there is room', async () => {
    const small = await openSmallDatabase(directory, 4 * 2 ** 20);
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

  it('is told from a disk that fails', async () => {
    let failure: Error | undefined;
    const kv = await openWith((database) => ({
      batch: async (write) => {
        if (failure !== undefined) throw commitFailure(failure);
        return database.batch(write as () => void);
      },
    }));
    await put(kv, 'a');
    failure = Object.assign(new Error('Input/output error'), { code: 5 });
    await expect(put(kv, 'b')).rejects.toMatchObject({ code: 'io_error', cause: failure });
    failure = Object.assign(new Error('MDB_MAP_FULL: Environment mapsize limit reached'), { code: -30792 });
    await expect(put(kv, 'c')).rejects.toMatchObject({ code: 'disk_full', cause: failure });
    failure = undefined;
    await put(kv, 'd');
    expect(keysOf(kv)).toEqual(['a', 'd']);
  });
});

describe('an LMDB environment that has failed for good', () => {
  it('is opened anew, so that reads and writes go on', async () => {
    let environments = 0;
    const kv = await openWith((database) => {
      // The first one fails while it writes its meta page, and answers nothing from then on.
      let panicked = false;
      const failing = environments++ === 0;
      const answer = <T>(call: () => T): T => {
        if (panicked) throw new Error('MDB_PANIC: Update of meta page failed or environment had fatal error');
        return call();
      };
      return {
        getBinaryFast: (stored) => answer(() => database.getBinaryFast(stored)),
        batch: async (write) => {
          if (!failing || keysOf(kv).length === 0) return answer(() => database.batch(write as () => void));
          panicked = true;
          throw commitFailure(Object.assign(new Error('Input/output error'), { code: 5 }));
        },
      };
    });
    await put(kv, 'a');
    await expect(put(kv, 'b')).rejects.toMatchObject({ code: 'io_error' });
    expect(environments).toBe(2);
    expect(keysOf(kv)).toEqual(['a']);
    await put(kv, 'c');
    expect(keysOf(kv)).toEqual(['a', 'c']);
  });

  it('says so while it cannot be opened, and recovers when it can', async () => {
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
    const kv = new LmdbKv({ database: await openWorking(), openDatabase: openWorking }, { path: data, identity: 'x' });
    opened.push(kv);
    await put(kv, 'a');
    failure = new Error('Input/output error');
    await expect(put(kv, 'b')).rejects.toMatchObject({ code: 'io_error' });
    expect(() => kv.get(key('a'))).toThrow(expect.objectContaining({ code: 'io_error' }));
    await expect(put(kv, 'c')).rejects.toMatchObject({ code: 'io_error' });
    failure = undefined;
    await put(kv, 'd');
    expect(keysOf(kv)).toEqual(['a', 'd']);
  });
});
