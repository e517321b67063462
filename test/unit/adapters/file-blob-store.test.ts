import * as nodeFiles from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { blobBytesMax } from '../../../crdt/chunking.ts';
import { blobHashOf } from '../../../crdt/digest.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import { type BlobFiles, openFileBlobStore, systemFiles } from '../../../src/adapters/files/blob-store.ts';
import { AmpleRoom } from '../../../src/ports/ample-room.ts';
import {
  injectedSmallFileSystem,
  mountSmallFileSystem,
  type SmallFileSystem,
  systemError,
} from '../../support/small-file-system.ts';

let root: string;
beforeEach(async () => {
  root = await nodeFiles.mkdtemp(join(tmpdir(), 'anabranch-blobs-'));
});
afterEach(() => nodeFiles.rm(root, { recursive: true }));

const blobOf = (length: number, seed: number): { hash: BlobHash; bytes: Uint8Array } => {
  const bytes = new Uint8Array(length).fill(seed);
  return { hash: blobHashOf(bytes), bytes };
};
const pathOf = (hash: BlobHash): string => join(root, hash.slice(0, 1), hash.slice(1, 2), hash);

const filesBelow = async (directory: string): Promise<string[]> => {
  const entries = await nodeFiles.readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)));
};

/** The real operations, each noted as `<operation> <path below the root>`; `fail` may throw in place of one. */
const watched = (fail: (operation: string) => void = () => {}) => {
  const operations: string[] = [];
  const note = (operation: string, path: string) => {
    operations.push(`${operation} ${relative(root, path) || '.'}`);
    fail(operation);
  };
  const files: BlobFiles = {
    ...systemFiles,
    open: async (path, flags, mode) => {
      note('open', path);
      const handle = await systemFiles.open(path, flags, mode);
      const [write, datasync, sync] = [
        handle.write.bind(handle),
        handle.datasync.bind(handle),
        handle.sync.bind(handle),
      ];
      const noted = (operation: string, run: (...rest: never[]) => unknown) => {
        return async (...rest: never[]) => {
          note(operation, path);
          return run(...rest);
        };
      };
      return Object.assign(handle, {
        write: noted('write', write as never),
        datasync: noted('datasync', datasync),
        sync: noted('sync', sync),
      });
    },
    rename: async (from, to) => {
      note('rename', String(to));
      await nodeFiles.rename(from, to);
    },
  };
  return { files, operations };
};

describe('the file blob store', () => {
  it('keeps a blob in a file of its name, two levels down', async () => {
    const store = await openFileBlobStore(root);
    const { hash, bytes } = blobOf(100, 1);
    await store.put(hash, bytes);
    expect(await filesBelow(root)).toEqual([relative(root, pathOf(hash))]);
    expect(new Uint8Array(await nodeFiles.readFile(pathOf(hash)))).toEqual(bytes);
  });

  it('syncs the bytes before the name appears, and every name on the way down at the first flush', async () => {
    const { files, operations } = watched();
    const store = await openFileBlobStore(root, files);
    const { hash, bytes } = blobOf(100, 1);
    await store.put(hash, bytes);
    const kinds = operations.map((operation) => operation.split(' ')[0]);
    expect(kinds.lastIndexOf('datasync')).toBeLessThan(kinds.indexOf('rename'));
    const [outer, inner] = [hash.slice(0, 1), `${hash.slice(0, 1)}/${hash.slice(1, 2)}`];
    operations.length = 0;
    await store.flush();
    expect(operations.filter((operation) => operation.startsWith('sync')).sort()).toEqual(
      ['sync .', `sync ${outer}`, `sync ${inner}`].sort(),
    );
    operations.length = 0;
    await store.flush();
    expect(operations).toEqual([]);
    await store.delete(hash);
    await store.flush();
    expect(operations.filter((operation) => operation.startsWith('sync'))).toEqual([`sync ${inner}`]);
  });

  it('syncs the name of a blob that was there already: nobody may have flushed it', async () => {
    const { hash, bytes } = blobOf(100, 1);
    await (await openFileBlobStore(root)).put(hash, bytes);
    const { files, operations } = watched();
    const store = await openFileBlobStore(root, files);
    await store.put(hash, bytes);
    await store.flush();
    expect(operations).toContain(`sync ${hash.slice(0, 1)}/${hash.slice(1, 2)}`);
  });

  it('keeps a failed flush for the next one', async () => {
    let failing = false;
    const { files, operations } = watched((operation) => {
      if (failing && operation === 'sync') throw systemError('EIO');
    });
    const store = await openFileBlobStore(root, files);
    const { hash, bytes } = blobOf(100, 1);
    await store.put(hash, bytes);
    failing = true;
    const flushes = await Promise.allSettled([store.flush(), store.flush()]);
    expect(flushes).toMatchObject([
      { status: 'rejected', reason: { code: 'io_error' } },
      { status: 'rejected', reason: { code: 'io_error' } },
    ]);
    failing = false;
    operations.length = 0;
    await store.flush();
    expect(operations.filter((operation) => operation.startsWith('sync'))).toHaveLength(3);
  });

  it('writes at most eight blobs at a time', async () => {
    let writing = 0;
    let most = 0;
    const files: BlobFiles = {
      ...systemFiles,
      open: async (path, flags, mode) => {
        writing++;
        most = Math.max(most, writing);
        return systemFiles.open(path, flags, mode);
      },
      rename: async (from, to) => {
        await nodeFiles.rename(from, to).finally(() => {
          writing--;
        });
      },
    };
    // Directories first, so that no rename has to be tried twice.
    const store = await openFileBlobStore(root, files);
    const blobs = Array.from({ length: 60 }, (_, index) => blobOf(1_000, index));
    for (const { hash } of blobs) await nodeFiles.mkdir(join(pathOf(hash), '..'), { recursive: true });
    await Promise.all(blobs.map(({ hash, bytes }) => store.put(hash, bytes)));
    expect(most).toBe(8);
  });

  it('removes at recovery what an interrupted put left, and nothing else', async () => {
    const store = await openFileBlobStore(root);
    const { hash, bytes } = blobOf(100, 1);
    await store.put(hash, bytes);
    await nodeFiles.writeFile(join(root, 'tmp', `${hash}.1`), bytes.subarray(0, 50));
    await nodeFiles.writeFile(join(root, 'tmp', 'anything'), '');
    await store.recover();
    expect(await filesBelow(root)).toEqual([relative(root, pathOf(hash))]);
  });

  it('makes what it finds durable at recovery', async () => {
    const { hash, bytes } = blobOf(100, 1);
    await (await openFileBlobStore(root)).put(hash, bytes);
    const { files, operations } = watched();
    await (await openFileBlobStore(root, files)).recover();
    const [outer, inner] = [hash.slice(0, 1), `${hash.slice(0, 1)}/${hash.slice(1, 2)}`];
    for (const path of ['.', outer, inner]) expect(operations).toContain(`sync ${path}`);
  });

  it('lists blobs and passes over every other file', async () => {
    const store = await openFileBlobStore(root);
    const { hash, bytes } = blobOf(100, 1);
    await store.put(hash, bytes);
    await nodeFiles.writeFile(join(root, hash.slice(0, 1), hash.slice(1, 2), 'notes.txt'), 'not a blob');
    await nodeFiles.writeFile(join(root, 'tmp', hash), bytes);
    const listed = [];
    for await (const blob of store.list()) listed.push(blob);
    expect(listed).toEqual([{ hash, sizeBytes: 100 }]);
  });

  it('reads no more of an overgrown file than a blob may have', async () => {
    const store = await openFileBlobStore(root);
    const { hash, bytes } = blobOf(100, 1);
    await store.put(hash, bytes);
    await nodeFiles.truncate(pathOf(hash), blobBytesMax * 1_000);
    expect((await store.get(hash))?.length).toBe(blobBytesMax);
  });

  it('gives back a file as the disk has it, cut short or changed, and replaces one of another size', async () => {
    const store = await openFileBlobStore(root);
    const { hash, bytes } = blobOf(100, 1);
    await store.put(hash, bytes);
    await nodeFiles.truncate(pathOf(hash), 60);
    expect(await store.get(hash)).toEqual(bytes.subarray(0, 60));
    await store.put(hash, bytes);
    expect(await store.get(hash)).toEqual(bytes);
  });

  it('writes a cold blob whatever is there, and a flush makes it durable like any other', async () => {
    const { files, operations } = watched();
    const store = await openFileBlobStore(root, files);
    const { hash, bytes } = blobOf(100_000, 1);
    await store.put(hash, bytes, { isCold: true });
    await nodeFiles.writeFile(pathOf(hash), new Uint8Array(bytes.length));
    operations.length = 0;
    await store.put(hash, bytes, { isCold: true });
    expect(await store.get(hash)).toEqual(bytes);
    expect(operations.findIndex((done) => done.startsWith('datasync'))).toBeLessThan(
      operations.findIndex((done) => done.startsWith('rename')),
    );
    operations.length = 0;
    await store.flush();
    expect(operations).toContain(`sync ${relative(root, dirname(pathOf(hash)))}`);
  });

  it('keeps a quarantined blob for inspection, up to a bound', async () => {
    const store = await openFileBlobStore(root);
    const aside = join(root, 'quarantine');
    const { hash, bytes } = blobOf(100, 1);
    await store.put(hash, bytes);
    await store.quarantine(hash);
    expect(await nodeFiles.readdir(aside)).toEqual([hash]);
    expect(new Uint8Array(await nodeFiles.readFile(join(aside, hash)))).toEqual(bytes);
    for (let index = 1; index < 256; index++) await nodeFiles.writeFile(join(aside, `kept-${index}`), '');
    const other = blobOf(100, 2);
    await store.put(other.hash, other.bytes);
    await store.quarantine(other.hash);
    expect(await store.sizeOf(other.hash)).toBeUndefined();
    expect(await nodeFiles.readdir(aside)).toHaveLength(256);
  });

  it('lets no name that is not a hash near the disk', async () => {
    const store = await openFileBlobStore(root);
    for (const name of ['', '../../etc/passwd', 'a'.repeat(51), `${'a'.repeat(51)}b`, 'A'.repeat(52)]) {
      const hash = name as BlobHash;
      await expect(store.get(hash)).rejects.toThrow(TypeError);
      await expect(store.put(hash, new Uint8Array(1))).rejects.toThrow(TypeError);
      await expect(store.delete(hash)).rejects.toThrow(TypeError);
    }
  });

  it('says what it could not do when the directory cannot be used', async () => {
    await nodeFiles.writeFile(join(root, 'file'), '');
    await expect(openFileBlobStore(join(root, 'file'))).rejects.toMatchObject({
      name: 'MeshError',
      code: 'io_error',
      message: expect.stringContaining('could not open the blob store'),
      detail: { system: 'ENOTDIR' },
    });
  });
});

describe('the file blob store, when an operation fails', () => {
  it.each([
    ['open', 'ENOSPC', 'disk_full'],
    ['write', 'ENOSPC', 'disk_full'],
    ['write', 'EDQUOT', 'disk_full'],
    ['write', 'EIO', 'io_error'],
    ['datasync', 'ENOSPC', 'disk_full'],
    ['datasync', 'EIO', 'io_error'],
    ['rename', 'ENOSPC', 'disk_full'],
    ['rename', 'EROFS', 'io_error'],
  ])('at %s with %s rejects with %3$s and leaves nothing behind', async (operation, system, code) => {
    let failing = true;
    const { files } = watched((at) => {
      if (failing && at === operation) throw systemError(system);
    });
    const store = await openFileBlobStore(root, files);
    const { hash, bytes } = blobOf(5_000, 1);
    await expect(store.put(hash, bytes)).rejects.toMatchObject({ name: 'MeshError', code, detail: { system } });
    expect(await filesBelow(root)).toEqual([]);
    expect(await store.sizeOf(hash)).toBeUndefined();
    failing = false;
    await store.put(hash, bytes);
    expect(await store.get(hash)).toEqual(bytes);
  });
});

/** Fills the disk with half-megabyte blobs, then makes room. */
async function fillAndEnlarge(disk: SmallFileSystem): Promise<void> {
  const store = await openFileBlobStore(root, disk.files);
  await store.recover();
  const blobs = Array.from({ length: 8 }, (_, index) => blobOf(512 * 1024, index));
  const puts = await Promise.allSettled(blobs.map(({ hash, bytes }) => store.put(hash, bytes)));
  const refused = puts.filter((put) => put.status === 'rejected');
  expect(refused.length).toBeGreaterThanOrEqual(4);
  for (const { reason } of refused) expect(reason).toMatchObject({ name: 'MeshError', code: 'disk_full' });
  for (const [index, put] of puts.entries()) {
    const { hash, bytes } = blobs[index] as (typeof blobs)[0];
    expect((await store.sizeOf(hash)) !== undefined).toBe(put.status === 'fulfilled');
    if (put.status === 'fulfilled') expect(Buffer.compare((await store.get(hash)) ?? bytes.subarray(1), bytes)).toBe(0);
  }
  expect(await nodeFiles.readdir(join(root, 'tmp'))).toEqual([]);
  await disk.enlarge();
  for (const { hash, bytes } of blobs) await store.put(hash, bytes);
  await store.flush();
  for (const { hash } of blobs) expect(await store.sizeOf(hash)).toBeDefined();
}

describe('the file blob store on a full disk', () => {
  it('refuses what does not fit, keeps what did, and goes on when there is room', async ({ annotate }) => {
    const disk = await mountSmallFileSystem(root, 2 * 1024 * 1024);
    try {
      if (disk.kind === 'injected') await annotate('no file system can be mounted here: the full disk is injected');
      await fillAndEnlarge(disk);
    } finally {
      await disk.close();
    }
  });

  it.each([
    ['16 MiB', 2 ** 40, 16 * 2 ** 20],
    ['a sixteenth of a small disk', 32 * 2 ** 20, 2 * 2 ** 20],
  ])('leaves %s to rows, counting all that is being written', async (_name, capacityBytes, rowBytes) => {
    const { hash, bytes } = blobOf(512 * 1024, 1);
    const other = blobOf(512 * 1024, 2);
    let freeBytes = rowBytes + bytes.length;
    const statfs = async () => ({ bsize: 1, blocks: capacityBytes, bavail: freeBytes });
    const files = { ...systemFiles, statfs: statfs as unknown as typeof nodeFiles.statfs };
    const store = await openFileBlobStore(root, files);
    const puts = await Promise.allSettled([store.put(hash, bytes), store.put(other.hash, other.bytes)]);
    expect(puts.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(0);
    await store.delete(hash);
    await store.put(hash, bytes);
    freeBytes -= 1;
    await store.delete(hash);
    await expect(store.put(hash, bytes)).rejects.toMatchObject({ name: 'MeshError', code: 'disk_full' });
    expect(await nodeFiles.readdir(join(root, 'tmp'))).toEqual([]);
  });

  it('looks at a disk with much room four times a second, and at any other before each blob', async () => {
    let [freeBytes, looks, nowMs] = [2 ** 40, 0, 0];
    const statfs = async () => {
      looks += 1;
      return { bsize: 1, blocks: 2 ** 41, bavail: freeBytes };
    };
    const files = { ...systemFiles, statfs: statfs as unknown as typeof nodeFiles.statfs };
    const store = await openFileBlobStore(root, files, new AmpleRoom(() => nowMs));
    const put = async (seed: number): Promise<void> => {
      const { hash, bytes } = blobOf(1_000, seed);
      await store.put(hash, bytes);
    };
    for (const seed of [1, 2, 3]) await put(seed);
    expect(looks).toBe(1);
    nowMs = 250;
    freeBytes = 2 ** 31;
    for (const seed of [4, 5, 6]) await put(seed);
    expect(looks).toBe(4);
    freeBytes = 2 ** 20;
    await expect(put(7)).rejects.toMatchObject({ code: 'disk_full' });
  });

  it('does so when a write stops half-way', async () => {
    await fillAndEnlarge(injectedSmallFileSystem(2 * 1024 * 1024 + 1_000));
  });
});
