import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type LmdbDatabase, LmdbKv, openDatabase, openLmdbKv } from '../../src/adapters/lmdb/kv.ts';
import type { Kv } from '../../src/ports/kv.ts';
import { mountSmallFileSystem } from './small-file-system.ts';

export interface SmallDatabase {
  readonly kv: Kv;
  /** Makes room again. */
  enlarge(): Promise<void>;
  close(): Promise<void>;
}

/** A database on a disk of so many bytes: a real one where this process may mount, else one that is told it is full. */
export async function openSmallDatabase(directory: string, bytes: number): Promise<SmallDatabase> {
  const mountPoint = join(directory, 'disk');
  await mkdir(mountPoint);
  const disk = await mountSmallFileSystem(mountPoint, bytes);
  const path = join(mountPoint, 'data');
  if (disk.kind === 'mounted') {
    const kv = await openLmdbKv(path);
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
  const openLimited = async (): Promise<LmdbDatabase> => limited(await openDatabase(path), room);
  const kv = new LmdbKv({ database: await openLimited(), openDatabase: openLimited }, { path, identity: 'small' });
  return {
    kv,
    enlarge: async () => {
      room.bytes = Number.POSITIVE_INFINITY;
    },
    close: async () => {
      await kv.close();
      await rm(mountPoint, { recursive: true });
    },
  };
}

/** Fails as lmdb does once so many bytes were put. */
function limited(database: LmdbDatabase, room: { bytes: number }): LmdbDatabase {
  let put = 0;
  return intercepted(database, {
    put: (key, value) => {
      put += value.length;
      return database.put(key, value);
    },
    batch: async (write) => {
      if (room.bytes < put + 4_096) throw commitFailure(Object.assign(new Error('No space left'), { code: 28 }));
      return database.batch(write);
    },
  });
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
