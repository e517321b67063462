import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Database, openDatabase } from '../../../src/adapters/lmdb/database.ts';
import { LmdbKv } from '../../../src/adapters/lmdb/kv.ts';
import { type RoomWanted, type StatRoom, spareRoom } from '../../../src/adapters/lmdb/room.ts';
import { AmpleRoom } from '../../../src/ports/ample-room.ts';
import type { MeshError } from '../../../src/ports/mesh-error.ts';

const mebibyte = 2 ** 20;

let directory: string;
/** What the file system says of its room. */
let statRoom: StatRoom | undefined;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'anabranch-room-'));
  statRoom = undefined;
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const roomOf = (bytes: number): StatRoom => {
  return () => ({ blocks: 10_000, bavail: Math.floor(bytes / 4_096), bsize: 4_096 });
};
const look = (wanted: Omit<RoomWanted, 'freeInFile'>, freeInFile = 0): number =>
  spareRoom(directory, { ...wanted, freeInFile: () => freeInFile }, statRoom);

const refusal = expect.objectContaining({ code: 'disk_full' }) as MeshError;

test('writes that a disk has room for may be made, and others are refused before LMDB meets them', () => {
  expect(() => look({ writes: 10, bytes: 1_000 })).not.toThrow();
  expect(() => look({ writes: 1, bytes: 2 ** 60 })).toThrow(refusal);
  expect(() => look({ writes: 2 ** 50, bytes: 1 })).toThrow(refusal);
});

test('what there is beyond them is told, and nothing of a file system that tells no sizes', () => {
  statRoom = roomOf(64 * mebibyte);
  expect(look({ writes: 1, bytes: 1_000 })).toBe(64 * mebibyte - (128 + 8) * 1024 - 1_000);
  statRoom = roomOf(mebibyte);
  expect(look({ writes: 8, bytes: 100 }, mebibyte / 2)).toBeLessThan(0);
  statRoom = () => ({ blocks: 0, bavail: 0, bsize: 4_096 });
  expect(look({ writes: 1, bytes: 1_000 })).toBe(0);
});

test('the last mebibyte of a disk is left free, but for a few rows', () => {
  statRoom = roomOf(mebibyte);
  expect(() => look({ writes: 8, bytes: 100 })).toThrow(refusal);
  expect(() => look({ writes: 2, bytes: 100 })).not.toThrow();
  statRoom = roomOf(2 * mebibyte);
  expect(() => look({ writes: 8, bytes: 100 })).not.toThrow();
});

test('what the file has free counts by half, and cannot stand for the last of the disk', () => {
  statRoom = roomOf(mebibyte);
  expect(() => look({ writes: 8, bytes: 100 }, mebibyte / 2)).not.toThrow();
  expect(() => look({ writes: 8, bytes: 100 }, mebibyte / 8)).toThrow(refusal);
  statRoom = roomOf(mebibyte / 16);
  expect(() => look({ writes: 2, bytes: 100 }, 100 * mebibyte)).toThrow(refusal);
});

test('a file system that tells no sizes takes every write', () => {
  statRoom = () => ({ blocks: 0, bavail: 0, bsize: 4_096 });
  expect(() => look({ writes: 10, bytes: 1_000 })).not.toThrow();
});

test('a directory whose room cannot be told is an error of the disk', async () => {
  await rm(directory, { recursive: true });
  expect(() => look({ writes: 1, bytes: 1 })).toThrow(expect.objectContaining({ code: 'io_error' }));
});

test('LMDB is given rows only after a look, however lately there was plenty of room', async () => {
  statRoom = roomOf(2 ** 36);
  const open = () => openDatabase(directory);
  const looks = { statRoom: (path: string) => (statRoom as StatRoom)(path), ample: new AmpleRoom(() => 0) };
  const database = new Database({ database: await open(), open, ...looks }, directory);
  const row = { rows: [['a', Uint8Array.of(2)]] as const, size: 1, bytes: 2 };
  database.assertRoom(row);
  statRoom = roomOf(0);
  expect(() => database.assertRoom(row)).not.toThrow();
  await expect(database.write(row)).rejects.toMatchObject({ code: 'disk_full' });
  // What that look has shown is believed before what there was.
  expect(() => database.assertRoom(row)).toThrow(refusal);
  await database.close();
});

test('rows that are deleted on a full disk make room for others', async () => {
  const open = () => openDatabase(directory);
  const looks = { statRoom: (path: string) => (statRoom ?? roomOf(2 ** 40))(path), ample: new AmpleRoom(() => nowMs) };
  let nowMs = 0;
  const database = new Database({ database: await open(), open, ...looks }, directory);
  const kv = await LmdbKv.over(database, directory);
  const key = (index: number): Uint8Array => Buffer.from(`key ${String(index).padStart(8, '0')}`);
  const put = (from: number): Promise<void> =>
    kv.transact((transaction) => {
      for (let row = 0; row < 20; row += 1) transaction.put(key(from + row), new Uint8Array(2_000).fill(7));
    });
  const filled = 800;
  for (let index = 0; index < filled; index += 20) await put(index);
  // From now on the file cannot grow by more than is left free for small batches.
  statRoom = roomOf(mebibyte);
  nowMs += 1_000;
  await expect(put(filled)).rejects.toMatchObject({ code: 'disk_full' });
  for (let index = 0; index < filled / 2; index += 2) {
    await kv.transact((transaction) => {
      for (const each of [index, index + 1]) transaction.delete(key(each));
    });
  }
  let written = 0;
  for (; written < filled / 8; written += 20) await put(filled + written);
  expect([...kv.range({ start: key(0), end: key(99_999_999) })]).toHaveLength(filled / 2 + written);
  // Far from all of what was deleted can be had, but what is taken is counted.
  for (; written < filled; written += 20) {
    const isFull = await put(filled + written).then(
      () => false,
      (error: unknown) => (error as MeshError).code === 'disk_full',
    );
    if (isFull) break;
  }
  expect(written).toBeLessThan(filled / 2);
  await kv.close();
});
