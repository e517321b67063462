import { cp, mkdir, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open as openUnused } from 'lmdb';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openLmdbKv } from '../../../src/adapters/lmdb/kv.ts';
import type { Kv } from '../../../src/ports/kv.ts';
import { key, keysOf, put } from '../../support/named-rows.ts';

let directory: string;
let data: string;
const file = (): string => join(data, 'data.mdb');
const opened: Kv[] = [];

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
    const opened = async (act: (kv: Kv) => Promise<unknown>): Promise<void> => {
      const kv = await openLmdbKv(data);
      await act(kv);
      await kv.close();
    };
    // So that there are free pages before the long value, for what comes after it.
    for (let index = 0; index < 5; index++) await opened((kv) => put(kv, `small ${index}`));
    await opened((kv) => put(kv, 'large', 1_000_000));
    await opened((kv) => kv.transact((transaction) => transaction.delete(key('large'))));
    await opened((kv) => Promise.all(Array.from({ length: 20 }, (_, index) => put(kv, `key ${index}`))));
    await truncate(file(), (await stat(file())).size - 400_000);
    const again = await open();
    expect(keysOf(again)).toHaveLength(25);
    await put(again, 'large', 2_000_000);
    expect(keysOf(again)).toHaveLength(26);
  });

  it.each([1, 100_000])(
    'says that a file is corrupt whose last value has lost %i bytes, however often it is asked',
    async (lost) => {
      for (const [name, length] of [
        ['a', 10],
        ['b', 1_000_000],
      ] as const) {
        const kv = await openLmdbKv(data);
        await put(kv, name, length);
        await kv.close();
      }
      await truncate(file(), (await stat(file())).size - lost);
      for (let time = 0; time < 2; time++) await expect(openLmdbKv(data)).rejects.toMatchObject({ code: 'corrupt' });
    },
  );

  it.each([
    ['list of free pages is missing, which LMDB would find out when it writes', 88, (page: Buffer) => page.fill(0)],
    ['first entry lies beyond its page', 136, (page: Buffer) => page.writeUInt16LE(60_000, 24)],
  ])('says that a file is corrupt whose %s', async (_, rootOffset, damage) => {
    for (const name of ['a', 'b']) {
      const kv = await openLmdbKv(data);
      await put(kv, name, 100_000);
      await kv.close();
    }
    const whole = await readFile(file());
    const newest = whole.readBigUInt64LE(152) > whole.readBigUInt64LE(pageBytes(whole) + 152) ? 0 : pageBytes(whole);
    const root = Number(whole.readBigUInt64LE(newest + rootOffset)) * pageBytes(whole);
    damage(whole.subarray(root, root + pageBytes(whole)));
    // The last page, of a long value, is zeroes as well: so a file looks whose end is lost.
    await writeFile(file(), whole.fill(0, whole.length - pageBytes(whole)));
    await expect(openLmdbKv(data)).rejects.toMatchObject({ code: 'corrupt' });
  });

  it.each([0, 8_192])(
    'starts anew on %i zero bytes, which a power loss leaves of a start, and says so once',
    async (length) => {
      await mkdir(data);
      await writeFile(file(), new Uint8Array(length));
      const onRemade = vi.fn();
      const kv = await openLmdbKv(data, { onRemade });
      await put(kv, 'a');
      expect(keysOf(kv)).toEqual(['a']);
      await kv.close();
      await (await openLmdbKv(data, { onRemade })).close();
      expect(onRemade).toHaveBeenCalledTimes(1);
    },
  );

  it('says nothing of that at its first start', async () => {
    const onRemade = vi.fn();
    opened.push(await openLmdbKv(data, { onRemade }));
    expect(onRemade).not.toHaveBeenCalled();
  });

  it('starts anew where a power loss came between its first two pages', async () => {
    await openUnused({ path: data, noSubdir: false }).close();
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
