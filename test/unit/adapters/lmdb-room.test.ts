import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openLmdbKv } from '../../../src/adapters/lmdb/kv.ts';
import { assertRoom, type RoomWanted } from '../../../src/adapters/lmdb/room.ts';
import type { MeshError } from '../../../src/ports/mesh-error.ts';
import { mountSmallFileSystem } from '../../support/small-file-system.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'anabranch-room-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const look = (wanted: Omit<RoomWanted, 'freeInFile'>, freeInFile = 0): void =>
  assertRoom(directory, { ...wanted, freeInFile: () => freeInFile });

const refusal = expect.objectContaining({ code: 'disk_full' }) as MeshError;

test('writes that a disk has room for may be made, and others are refused before LMDB meets them', () => {
  expect(() => look({ writes: 10, bytes: 1_000 })).not.toThrow();
  expect(() => look({ writes: 1, bytes: 2 ** 60 })).toThrow(refusal);
  expect(() => look({ writes: 2 ** 50, bytes: 1 })).toThrow(refusal);
});

test('the last mebibyte of a disk is left free, but for a few rows', async (context) => {
  const disk = await mountSmallFileSystem(directory, 2 ** 20);
  try {
    if (disk.kind !== 'mounted') return context.skip('no file system can be mounted here');
    expect(() => look({ writes: 8, bytes: 100 })).toThrow(refusal);
    expect(() => look({ writes: 2, bytes: 100 })).not.toThrow();
    // What the file has free counts by half, and cannot stand for the last of the disk.
    expect(() => look({ writes: 8, bytes: 100 }, 2 ** 19)).not.toThrow();
    expect(() => look({ writes: 8, bytes: 100 }, 2 ** 17)).toThrow(refusal);
    await disk.enlarge();
    expect(() => look({ writes: 8, bytes: 100 })).not.toThrow();
  } finally {
    await disk.close();
  }
});

test('a directory whose room cannot be told is an error of the disk', async () => {
  await rm(directory, { recursive: true });
  expect(() => look({ writes: 1, bytes: 1 })).toThrow(expect.objectContaining({ code: 'io_error' }));
});

test('rows that are deleted on a full disk make room for others', async (context) => {
  const disk = await mountSmallFileSystem(directory, 24 * 2 ** 20);
  const kv = await openLmdbKv(directory);
  const key = (index: number): Uint8Array => Buffer.from(`key ${String(index).padStart(8, '0')}`);
  const fill = async (from: number): Promise<number> => {
    for (let index = from; ; index += 20) {
      const put = kv.transact((transaction) => {
        for (let row = 0; row < 20; row += 1) transaction.put(key(index + row), new Uint8Array(2_000).fill(7));
      });
      const isFull = await put.then(
        () => false,
        (error: unknown) => (error as MeshError).code === 'disk_full',
      );
      if (isFull) return index - from;
    }
  };
  try {
    if (disk.kind !== 'mounted') return context.skip('no file system can be mounted here');
    const filled = await fill(0);
    expect(filled).toBeGreaterThan(1_000);
    for (let index = 0; index < filled; index += 2) {
      await kv.transact((transaction) => {
        for (const each of [index, index + 1]) transaction.delete(key(each));
      });
    }
    expect(await fill(filled)).toBeGreaterThan(filled / 4);
    expect([...kv.range({ start: key(0), end: key(99_999_999) })].length).toBeGreaterThan(filled / 4);
  } finally {
    await kv.close();
    await disk.close();
  }
});
