import { readdirSync, statSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Database, type LmdbDatabase, openDatabase } from '../../src/adapters/lmdb/database.ts';
import { LmdbKv, type LmdbKvOptions, openLmdbKv } from '../../src/adapters/lmdb/kv.ts';
import type { StatRoom } from '../../src/adapters/lmdb/room.ts';
import type { Kv } from '../../src/ports/kv.ts';
import { mountSmallFileSystem } from './small-file-system.ts';

export interface SmallDatabase {
  readonly kv: Kv;
  /** Makes room again. */
  enlarge(): Promise<void>;
  close(): Promise<void>;
}

/** A database on a disk of so many bytes: a real one where this process may mount, else one that is told it is full. */
export async function openSmallDatabase(
  directory: string,
  bytes: number,
  options: LmdbKvOptions = {},
): Promise<SmallDatabase> {
  const mountPoint = join(directory, 'disk');
  await mkdir(mountPoint);
  const disk = await mountSmallFileSystem(mountPoint, bytes);
  const path = join(mountPoint, 'data');
  if (disk.kind === 'mounted') {
    const kv = await openLmdbKv(path, options);
    return {
      kv,
      enlarge: disk.enlarge,
      close: async () => {
        await kv.close();
        await disk.close();
      },
    };
  }
  const room = { bytes };
  const open = () => openDatabase(path);
  const database = new Database({ database: await open(), open, statRoom: roomBeside(room) }, path);
  const kv = await LmdbKv.over(database, path, options);
  return {
    kv,
    enlarge: async () => {
      room.bytes *= 4;
    },
    close: async () => {
      await kv.close();
      await rm(mountPoint, { recursive: true });
    },
  };
}

/** What a file system of so many bytes would tell whose only files are those of the database. */
function roomBeside(disk: { readonly bytes: number }): StatRoom {
  const bsize = 4_096;
  return (path) => {
    const used = readdirSync(path).reduce((sum, name) => sum + statSync(join(path, name)).size, 0);
    return { blocks: disk.bytes / bsize, bavail: Math.max(0, Math.floor((disk.bytes - used) / bsize)), bsize };
  };
}

/** A database with some of its calls answered by the test. */
export function intercepted(database: LmdbDatabase, calls: Partial<LmdbDatabase>): LmdbDatabase {
  return new Proxy(database, {
    get(target, name) {
      const call = calls[name as keyof LmdbDatabase] ?? target[name as keyof LmdbDatabase];
      return typeof call === 'function' ? call.bind(target) : call;
    },
  });
}

/** The rejection of a write as lmdb makes it: the cause comes by another promise. */
export function commitFailure(cause: Error): Error {
  const commitError = Promise.reject(cause);
  commitError.catch(() => {});
  return Object.assign(new Error('Commit failed (see commitError for details)'), { commitError });
}
