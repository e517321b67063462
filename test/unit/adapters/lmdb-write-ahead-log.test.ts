import { constants } from 'node:fs';
import { cp, mkdir, mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { logPageBytes } from '../../../src/adapters/lmdb/log-record.ts';
import type { Row } from '../../../src/adapters/lmdb/pending-rows.ts';
import { type LogFileHandle, WriteAheadLog } from '../../../src/adapters/lmdb/write-ahead-log.ts';
import { systemError } from '../../support/small-file-system.ts';

let directory: string;
const opened: WriteAheadLog[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'anabranch-wal-'));
});
afterEach(async () => {
  for (const log of opened.splice(0)) await log.close({ remove: false });
  await rm(directory, { recursive: true });
});

const row = (text: string, length = 10): Row => [text, Buffer.alloc(length, text)];
const namesOf = (generations: readonly (readonly Row[])[]): string[][] =>
  generations.map((rows) => rows.map(([text]) => text));

interface Opening {
  readonly at?: string;
  readonly transactions?: number;
  readonly openFile?: (path: string, flags: number) => Promise<LogFileHandle>;
}

const openLog = async ({ at = directory, transactions = 0, openFile }: Opening = {}) => {
  const result = await WriteAheadLog.open(at, transactions, openFile);
  opened.push(result.log);
  return { log: result.log, found: namesOf(result.generations) };
};

const copyFiles = async (from: string, to: string): Promise<void> => {
  await rm(to, { recursive: true, force: true });
  await mkdir(to);
  for (const name of ['wal.0', 'wal.1']) await cp(join(from, name), join(to, name));
};

/** What a process finds that comes after a crash at this moment. */
const afterCrash = async (damage: (path: string) => Promise<void> = async () => {}, transactions = 0) => {
  const at = join(directory, 'crashed');
  await copyFiles(directory, at);
  await damage(at);
  return openLog({ at, transactions });
};

const damagedAt =
  (name: string, position: number, bytes: Uint8Array) =>
  async (path: string): Promise<void> => {
    const file = await open(join(path, name), 'r+');
    await file.write(bytes, 0, bytes.length, position);
    await file.close();
  };

describe('a write-ahead log', () => {
  test('finds after a crash what was appended, in that order', async () => {
    const { log, found } = await openLog();
    expect(found).toEqual([]);
    await log.append(new Map([row('a'), row('b')]));
    await log.append(new Map([row('a', 20_000)]));
    await log.append(new Map([['b', null]]));
    expect((await afterCrash()).found).toEqual([['a', 'b', 'a', 'b']]);
  });

  test('goes on where it ended, crash after crash', async () => {
    let at = directory;
    const expected: string[] = [];
    for (let round = 0; round < 5; round += 1) {
      const { log, found } = await openLog({ at });
      expect(found.flat()).toEqual(expected);
      await log.append(new Map([row(`key ${round}`, 5_000)]));
      expected.push(`key ${round}`);
      const next = join(directory, `next ${round}`);
      await copyFiles(at, next);
      at = next;
    }
  });

  test('holds two generations, and a third takes the place of the first', async () => {
    const { log } = await openLog();
    for (let index = 0; index < 3; index += 1) await log.append(new Map([row(`first ${index}`)]));
    log.rotate(5);
    expect((await afterCrash(undefined, 5)).found).toEqual([['first 0', 'first 1', 'first 2']]);
    await log.append(new Map([row('second')]));
    expect((await afterCrash(undefined, 5)).found).toEqual([['first 0', 'first 1', 'first 2'], ['second']]);
    log.rotate(9);
    await log.append(new Map([row('third')]));
    expect((await afterCrash(undefined, 9)).found).toEqual([['second'], ['third']]);
  });

  test('forgets all when it is cleared, and leaves no files when it is closed for good', async () => {
    const { log } = await openLog();
    await log.append(new Map([row('a', 100_000)]));
    log.rotate(1);
    await log.append(new Map([row('b')]));
    await log.clear(2);
    expect((await stat(join(directory, 'wal.0'))).size).toBe(0);
    expect((await afterCrash(undefined, 2)).found).toEqual([]);
    await log.append(new Map([row('c')]));
    expect((await afterCrash(undefined, 2)).found).toEqual([['c']]);
    opened.splice(opened.indexOf(log), 1);
    await log.close({ remove: true });
    await expect(stat(join(directory, 'wal.0'))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(stat(join(directory, 'wal.1'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('cuts a long file back when it is used again', async () => {
    const { log } = await openLog();
    await log.append(new Map([row('long', 40 * 2 ** 20)]));
    for (const name of ['b', 'c']) {
      log.rotate(0);
      await log.append(new Map([row(name)]));
    }
    expect((await stat(join(directory, 'wal.0'))).size).toBe(16 * 2 ** 20);
    expect((await afterCrash()).found).toEqual([['b'], ['c']]);
  });
});

describe('a write-ahead log that is damaged', () => {
  const fill = async (): Promise<void> => {
    const { log } = await openLog();
    for (const name of ['a', 'b', 'c']) await log.append(new Map([row(name, 6_000)]));
  };
  /** The first record has no rows; the others take two pages each. */
  const startOf = (record: number): number => (record === 0 ? 0 : (2 * record - 1) * logPageBytes);

  test.each([0, 1, 2])('in record %i is corrupt, since acknowledged rows follow', async (record) => {
    await fill();
    for (const offset of [0, 5, 36, ...(record === 0 ? [] : [50, 4_096, 5_000])]) {
      const crashed = afterCrash(damagedAt('wal.0', startOf(record) + offset, Uint8Array.of(0x5b)));
      await expect(crashed).rejects.toMatchObject({ name: 'MeshError', code: 'corrupt' });
    }
  });

  test('in its first record alone is corrupt, be it zeroes', async () => {
    await fill();
    const crashed = afterCrash(damagedAt('wal.0', 0, new Uint8Array(logPageBytes)));
    await expect(crashed).rejects.toMatchObject({ code: 'corrupt' });
  });

  test.each([0, 5, 36, 50, 4_096, 5_000])('in its last record, at byte %i, was in the midst of it', async (offset) => {
    await fill();
    const { log, found } = await afterCrash(damagedAt('wal.0', startOf(3) + offset, Uint8Array.of(0x5b)));
    expect(found).toEqual([['a', 'b']]);
    await log.append(new Map([row('d')]));
    const again = join(directory, 'again');
    await copyFiles(join(directory, 'crashed'), again);
    expect((await openLog({ at: again })).found).toEqual([['a', 'b', 'd']]);
  });

  test('takes nothing for a record that is part of a row', async () => {
    const { log } = await openLog();
    await log.append(new Map([row('a')]));
    const record = (await readFile(join(directory, 'wal.0'))).subarray(logPageBytes, 2 * logPageBytes);
    // A record of this very log, of a later index, as who knows the format but not the nonce might make it.
    record.writeUInt32LE(9, 32);
    record.writeBigUInt64LE(123n, 24);
    await log.append(new Map([['forged', Buffer.concat([Buffer.alloc(4_044), record])]]));
    const { found } = await afterCrash(damagedAt('wal.0', 2 * logPageBytes + 8, Uint8Array.of(0x5b)));
    expect(found).toEqual([['a']]);
  });

  test('says so when the database beside it is older', async () => {
    const { log } = await openLog({ transactions: 12 });
    await log.append(new Map([row('a')]));
    await expect(afterCrash(undefined, 11)).rejects.toMatchObject({ code: 'corrupt', message: /newer data.mdb/ });
    expect((await afterCrash(undefined, 13)).found).toEqual([['a']]);
  });

  test('says so when its files were exchanged', async () => {
    const { log } = await openLog();
    await log.append(new Map([row('a')]));
    const crashed = afterCrash(async (path) => {
      await cp(join(path, 'wal.0'), join(path, 'wal.1'));
      await writeFile(join(path, 'wal.0'), '');
    });
    await expect(crashed).rejects.toMatchObject({ code: 'corrupt' });
  });
});

describe('a write-ahead log on a disk that fails', () => {
  /** Files whose next writes fail as the test has it. */
  const failing = (failNext: (length: number) => string | undefined) => async (path: string, flags: number) => {
    const handle = await open(path, flags, 0o600);
    const write = handle.write.bind(handle) as LogFileHandle['write'];
    const failingWrite = async (bytes: Uint8Array, offset: number, length: number, position: number) => {
      const code = failNext(length);
      if (code !== undefined) throw systemError(code);
      // A piece at a time, as a system may.
      return write(bytes, offset, Math.min(length, 300_000), position);
    };
    return Object.assign(handle, { write: failingWrite as unknown as typeof handle.write }) as LogFileHandle;
  };

  test('refuses what has no room, and goes on when there is room', async () => {
    let isFull = false;
    const openFile = failing(() => (isFull ? 'ENOSPC' : undefined));
    const { log } = await openLog({ openFile });
    await log.append(new Map([row('a', 900_000)]));
    isFull = true;
    await expect(log.append(new Map([row('b', 900_000)]))).rejects.toMatchObject({ code: 'disk_full' });
    expect(log.isBroken).toBe(false);
    isFull = false;
    await log.append(new Map([row('c', 900_000)]));
    expect((await afterCrash()).found).toEqual([['a', 'c']]);
  });

  test('grows by less where there is no room for much', async () => {
    const openFile = failing((length) => (length > 20_000 ? 'ENOSPC' : undefined));
    const { log } = await openLog({ openFile });
    for (const name of ['a', 'b', 'c']) await log.append(new Map([row(name, 9_000)]));
    expect((await afterCrash()).found).toEqual([['a', 'b', 'c']]);
    expect((await stat(join(directory, 'wal.0'))).size).toBe(10 * logPageBytes);
  });

  test.each([
    [0, false],
    [1, false],
    [2, false],
    [0, true],
    [1, true],
  ])(
    'keeps the newest rows as long as any while it is cleared, after %i generations, the next begun: %s',
    async (number, isRotated) => {
      let truncations = 0;
      const openFile = async (path: string, flags: number) => {
        const handle = await open(path, flags, 0o600);
        const truncate = handle.truncate.bind(handle);
        const failingSecond = async (length: number) => {
          truncations += 1;
          if (truncations === 2) throw systemError('EIO');
          return truncate(length);
        };
        return Object.assign(handle, { truncate: failingSecond });
      };
      const { log } = await openLog({ openFile });
      for (let index = 0; index <= number + 1; index += 1) {
        if (index > 0) log.rotate(0);
        await log.append(new Map([row(`of ${index}`)]));
      }
      if (isRotated) log.rotate(0);
      await expect(log.clear(0)).rejects.toMatchObject({ code: 'io_error' });
      expect(log.isBroken).toBe(true);
      expect((await afterCrash()).found).toEqual([[`of ${number + 1}`]]);
    },
  );

  test('removes the file with the older rows first at its end', async () => {
    const { log } = await openLog();
    opened.pop();
    await log.append(new Map([row('old')]));
    log.rotate(0);
    await log.append(new Map([row('new')]));
    log.rotate(0);
    await rm(join(directory, 'wal.1'));
    await mkdir(join(directory, 'wal.1'));
    await expect(log.close({ remove: true })).rejects.toMatchObject({ name: 'MeshError', code: 'io_error' });
    await expect(stat(join(directory, 'wal.0'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test.runIf(constants.O_DSYNC !== undefined)(
    'has each write and each truncation on disk before it goes on',
    async () => {
      const calls: string[] = [];
      const openFile = async (path: string, flags: number) => {
        expect(flags & constants.O_DSYNC).toBe(constants.O_DSYNC);
        const handle = await open(path, flags, 0o600);
        const observed = <Name extends 'truncate' | 'datasync'>(name: Name) => {
          const call = handle[name].bind(handle) as (length?: number) => Promise<void>;
          return async (length?: number) => {
            await call(length);
            calls.push(`${name} ${basename(path)}`);
          };
        };
        return Object.assign(handle, { truncate: observed('truncate'), datasync: observed('datasync') });
      };
      const { log } = await openLog({ openFile });
      await log.append(new Map([row('old')]));
      log.rotate(0);
      await log.append(new Map([row('new')]));
      expect(calls).toEqual([]);
      await log.clear(0);
      expect(calls).toEqual(['truncate wal.0', 'datasync wal.0', 'truncate wal.1', 'datasync wal.1']);
    },
  );

  test('has a generation whole, or not at all, when it is to be cut back and taken over', async () => {
    let code: string | undefined;
    const { log } = await openLog({ openFile: failing(() => code) });
    await log.append(new Map([row('first')]));
    await log.append(new Map([row('long', 20 * 2 ** 20)]));
    log.rotate(0);
    await log.append(new Map([row('second')]));
    log.rotate(0);
    code = 'EIO';
    await expect(log.append(new Map([row('third')]))).rejects.toMatchObject({ code: 'io_error' });
    expect((await afterCrash()).found).toEqual([['first', 'long'], ['second']]);
  });

  test('gives back what it took of the last room and could not use', async () => {
    let left = 500_000;
    const openFile = async (path: string, flags: number) => {
      const handle = await open(path, flags, 0o600);
      const write = handle.write.bind(handle) as LogFileHandle['write'];
      const limited = async (bytes: Uint8Array, offset: number, length: number, position: number) => {
        if (left === 0) throw systemError('ENOSPC');
        const taken = Math.min(left, length);
        left -= taken;
        return write(bytes, offset, taken, position);
      };
      return Object.assign(handle, { write: limited as unknown as typeof handle.write }) as LogFileHandle;
    };
    const { log } = await openLog({ openFile });
    await expect(log.append(new Map([row('a', 20_000)]))).rejects.toMatchObject({ code: 'disk_full' });
    expect(log.isBroken).toBe(false);
    expect((await stat(join(directory, 'wal.0'))).size).toBe(0);
  });

  test('is broken once a write over what is there fails, until it is cleared', async () => {
    let code: string | undefined;
    const { log } = await openLog({ openFile: failing(() => code) });
    await log.append(new Map([row('a')]));
    code = 'EIO';
    await expect(log.append(new Map([row('b')]))).rejects.toMatchObject({ code: 'io_error' });
    expect(log.isBroken).toBe(true);
    code = undefined;
    await log.clear(3);
    expect(log.isBroken).toBe(false);
    await log.append(new Map([row('c')]));
    expect((await afterCrash(undefined, 3)).found).toEqual([['c']]);
  });
});
