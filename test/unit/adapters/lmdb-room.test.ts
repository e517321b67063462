import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { assertRoom } from '../../../src/adapters/lmdb/room.ts';
import type { MeshError } from '../../../src/ports/mesh-error.ts';
import { mountSmallFileSystem } from '../../support/small-file-system.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'anabranch-room-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const refusal = expect.objectContaining({ code: 'disk_full' }) as MeshError;

test('writes that a disk has room for may be made, and others are refused before LMDB meets them', () => {
  expect(() => assertRoom(directory, { writes: 10, bytes: 1_000 })).not.toThrow();
  expect(() => assertRoom(directory, { writes: 1, bytes: 2 ** 60 })).toThrow(refusal);
  expect(() => assertRoom(directory, { writes: 2 ** 50, bytes: 1 })).toThrow(refusal);
});

test('the last mebibyte of a disk is left free, but for a few rows', async (context) => {
  const disk = await mountSmallFileSystem(directory, 2 ** 20);
  try {
    if (disk.kind !== 'mounted') return context.skip('no file system can be mounted here');
    expect(() => assertRoom(directory, { writes: 8, bytes: 100 })).toThrow(refusal);
    expect(() => assertRoom(directory, { writes: 2, bytes: 100 })).not.toThrow();
    await disk.enlarge();
    expect(() => assertRoom(directory, { writes: 8, bytes: 100 })).not.toThrow();
  } finally {
    await disk.close();
  }
});
