import * as nodeFiles from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { blobBytesMax } from '../../../crdt/chunking.ts';
import { isHash } from '../../../crdt/digest.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import { AmpleRoom } from '../../ports/ample-room.ts';
import type { BlobStore, GetOptions, PutOptions } from '../../ports/blob-store.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import { syncDirectory } from './atomic-file.ts';
import { DirectWriter } from './direct-writer.ts';
import { codeOf, fileError } from './file-error.ts';
import { Gate } from './gate.ts';
import { openFile } from './open-file.ts';

/** The file operations the store is made of; a test hands in ones that fail. */
export type BlobFiles = Pick<typeof nodeFiles, 'mkdir' | 'readdir' | 'rename' | 'rm' | 'stat' | 'statfs'> & {
  readonly open: typeof openFile;
};

/** Those of the system. */
export const systemFiles: BlobFiles = { ...nodeFiles, open: openFile };

/** Bytes to write, and how. */
type BlobToStore = PutOptions & { readonly bytes: Uint8Array };

/** Twice libuv's four threads: enough to keep the disk busy; more would only wait in memory. */
const putsInFlightMax = 8;
/** Bounds open descriptors; a read holds at most `blobBytesMax` bytes. */
const readsInFlightMax = 16;
/** Directories synced at once by a flush. */
const syncsInFlightMax = 4;
/** Room that blobs leave to the rows of the database, which has to be written for anything to be removed: so much, or a share of a small disk. */
const rowRoomBytes = 16 * 1024 * 1024;
const rowRoomShare = 1 / 16;
/** What is kept for inspection; past it, a blob that is put aside is removed instead. */
const quarantinedMax = 256;

/**
 * Opens a store of one file a blob, `a/b/<hash>` by the hash's first two characters: 1,024 directories at most,
 * each with a thousand files at half a terabyte, and few enough that a start can sync them all.
 * `tmp/` has files that are being written, `quarantine/` blobs whose bytes no longer matched their name.
 * One process at a time: whoever opens it holds the directory's lock. Rejects with `disk_full` or `io_error`.
 */
export async function openFileBlobStore(
  directory: string,
  files: BlobFiles = systemFiles,
  ample: AmpleRoom = new AmpleRoom(() => performance.now()),
): Promise<BlobStore> {
  const store = new FileBlobStore(directory, files, ample);
  await store.open();
  return store;
}

class FileBlobStore implements BlobStore {
  readonly #root: string;
  readonly #temporary: string;
  readonly #quarantine: string;
  readonly #files: BlobFiles;
  readonly #ample: AmpleRoom;
  readonly #direct: DirectWriter;
  readonly #writes = new Gate(putsInFlightMax);
  readonly #reads = new Gate(readsInFlightMax);
  readonly #puts = new Map<BlobHash, Promise<void>>();
  /** Directories whose names changed since they were last synced. */
  #touched = new Set<string>();
  /** Blob directories that survive power loss themselves, so that only their own names need syncing. */
  readonly #rooted = new Set<string>();
  #runningFlush: Promise<void> = Promise.resolve();
  #nextFlush: Promise<void> | undefined;
  #sequence = 0;
  /** Bytes of blobs that are being written. */
  #writingBytes = 0;

  constructor(directory: string, files: BlobFiles, ample: AmpleRoom) {
    this.#root = directory;
    this.#temporary = join(directory, 'tmp');
    this.#quarantine = join(directory, 'quarantine');
    this.#files = files;
    this.#ample = ample;
    this.#direct = new DirectWriter(files, putsInFlightMax);
  }

  async open(): Promise<void> {
    await this.#attempt('open the blob store', this.#root, async () => {
      await this.#files.mkdir(this.#temporary, { recursive: true, mode: 0o700 });
      await this.#files.mkdir(this.#quarantine, { recursive: true, mode: 0o700 });
    });
  }

  async sizeOf(hash: BlobHash): Promise<number | undefined> {
    const path = this.#pathOf(hash);
    return this.#attempt('look for a blob', path, () => this.#sizeOf(path));
  }

  async put(hash: BlobHash, bytes: Uint8Array, options: PutOptions = {}): Promise<void> {
    const path = this.#pathOf(hash);
    if (bytes.length > blobBytesMax) {
      throw new MeshError('too_large', `a blob has at most ${blobBytesMax} bytes, not ${bytes.length}`);
    }
    const running = this.#puts.get(hash);
    if (running !== undefined) return running;
    const put = this.#writes
      .run(() => this.#store(hash, path, { bytes, ...options }))
      .finally(() => this.#puts.delete(hash));
    this.#puts.set(hash, put);
    return put;
  }

  async #store(hash: BlobHash, path: string, blob: BlobToStore): Promise<void> {
    this.#sequence++;
    const temporary = join(this.#temporary, `${hash}.${this.#sequence}`);
    await this.#attempt('store a blob', path, async () => {
      // One of another size was damaged by the disk: it is replaced, not trusted. Whoever puts a cold one has looked already.
      if (blob.isCold === true || (await this.#sizeOf(path)) !== blob.bytes.length) {
        this.#writingBytes += blob.bytes.length;
        try {
          await this.#assertRoom();
          await this.#write(temporary, blob);
          await this.#moveIntoPlace(temporary, path);
        } catch (error) {
          await this.#files.rm(temporary, { force: true }).catch(() => undefined);
          throw error;
        } finally {
          this.#writingBytes -= blob.bytes.length;
        }
      }
      // Also for a blob that was there: whoever put it may not have flushed it, and this caller will rely on it.
      this.#touch(dirname(path));
    });
  }

  /** Throws `MeshError` `disk_full` when what is being written would take the room that rows need. */
  async #assertRoom(): Promise<void> {
    if (this.#ample.isThere) return;
    const { bsize, blocks, bavail } = await this.#files.statfs(this.#root);
    // Some file systems tell no sizes.
    if (blocks === 0) return;
    const rowBytes = Math.min(rowRoomBytes, bsize * blocks * rowRoomShare);
    const spareBytes = bsize * bavail - rowBytes - this.#writingBytes;
    if (spareBytes < 0) throw new MeshError('disk_full', 'no room left to store a blob');
    this.#ample.saw(spareBytes);
  }

  async #write(path: string, { bytes, isCold }: BlobToStore): Promise<void> {
    if (isCold === true && (await this.#direct.write(path, bytes))) return;
    const handle = await this.#files.open(path, 'w', 0o600);
    try {
      for (let offset = 0; offset < bytes.length; ) {
        const { bytesWritten } = await handle.write(bytes, offset, bytes.length - offset, offset);
        if (bytesWritten === 0) throw new Error('the file system takes no more bytes and does not say why');
        offset += bytesWritten;
      }
      // Before the rename: a name must never come to stand for bytes that a power loss can still take.
      await handle.datasync();
    } finally {
      handle.close();
    }
  }

  async #moveIntoPlace(from: string, to: string): Promise<void> {
    try {
      await this.#files.rename(from, to);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      await this.#files.mkdir(dirname(to), { recursive: true, mode: 0o700 });
      await this.#files.rename(from, to);
    }
  }

  #touch(directory: string): void {
    this.#touched.add(directory);
    if (this.#rooted.has(directory)) return;
    this.#touched.add(dirname(directory));
    this.#touched.add(this.#root);
  }

  /** Callers that come while a flush runs share the next one: the running one may have passed their directory. */
  flush(): Promise<void> {
    this.#nextFlush ??= this.#runningFlush
      .catch(() => undefined)
      .then(() => {
        this.#nextFlush = undefined;
        this.#runningFlush = this.#syncTouched();
        return this.#runningFlush;
      });
    return this.#nextFlush;
  }

  async #syncTouched(): Promise<void> {
    const directories = this.#touched;
    this.#touched = new Set();
    try {
      await this.#syncAll(directories);
    } catch (error) {
      for (const directory of directories) this.#touched.add(directory);
      throw fileError(error, 'flush the blob store', this.#root);
    }
  }

  async #syncAll(directories: ReadonlySet<string>): Promise<void> {
    const gate = new Gate(syncsInFlightMax);
    const syncs = [...directories].map((path) => gate.run(() => syncDirectory(path, this.#files)));
    // When this ends nothing of it is under way any more, also when it fails.
    const failed = (await Promise.allSettled(syncs)).find(({ status }) => status === 'rejected');
    if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
    for (const directory of directories) this.#rooted.add(directory);
  }

  async get(hash: BlobHash, { into = freshBytes }: GetOptions = {}): Promise<Uint8Array | undefined> {
    const path = this.#pathOf(hash);
    return this.#attempt('read a blob', path, () => this.#reads.run(() => this.#read(path, into)));
  }

  /**
   * Reads `blobBytesMax` bytes and no more: a longer file is no blob, its first part cannot pass for one either,
   * and the caller's check of the hash finds that.
   */
  async #read(path: string, into: (length: number) => Uint8Array<ArrayBuffer>): Promise<Uint8Array | undefined> {
    const handle = await absentAsUndefined(this.#files.open(path, 'r'));
    if (handle === undefined) return undefined;
    try {
      const length = Math.min(handle.sizeBytes(), blobBytesMax);
      const bytes = into(length);
      let filled = 0;
      while (filled < length) {
        const { bytesRead } = await handle.read(bytes, filled, length - filled, filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      return bytes.subarray(0, filled);
    } finally {
      handle.close();
    }
  }

  async quarantine(hash: BlobHash): Promise<void> {
    const path = this.#pathOf(hash);
    await this.#attempt('put a blob aside', path, async () => {
      const kept = await this.#files.readdir(this.#quarantine);
      if (kept.length >= quarantinedMax && !kept.includes(hash)) await this.#files.rm(path, { force: true });
      else if (!(await renameIfThere(this.#files, path, join(this.#quarantine, hash)))) return;
      this.#touched.add(this.#quarantine);
      this.#touch(dirname(path));
    });
  }

  async delete(hash: BlobHash): Promise<void> {
    const path = this.#pathOf(hash);
    await this.#attempt('delete a blob', path, async () => {
      if ((await this.#sizeOf(path)) === undefined) return;
      await this.#files.rm(path, { force: true });
      this.#touch(dirname(path));
    });
  }

  /** One directory's names are in memory at a time. */
  async *list(after?: BlobHash): AsyncGenerator<{ readonly hash: BlobHash; readonly sizeBytes: number }> {
    const first = after === undefined ? '' : dirname(this.#pathOf(after));
    try {
      for (const directory of (await this.#blobDirectories()).sort()) {
        if (directory < first) continue;
        for (const name of (await this.#files.readdir(directory)).sort()) {
          if (!isHash(name) || (after !== undefined && name <= after)) continue;
          const sizeBytes = await this.#sizeOf(join(directory, name));
          if (sizeBytes !== undefined) yield { hash: name as BlobHash, sizeBytes };
        }
      }
    } catch (error) {
      throw fileError(error, 'list the blobs', this.#root);
    }
  }

  async space(): Promise<{ readonly capacityBytes: number; readonly freeBytes: number }> {
    return this.#attempt('measure the free space', this.#root, async () => {
      const { bsize, blocks, bavail } = await this.#files.statfs(this.#root);
      return { capacityBytes: bsize * blocks, freeBytes: bsize * bavail };
    });
  }

  async recover(): Promise<void> {
    await this.#attempt('recover the blob store', this.#root, async () => {
      for (const name of await this.#files.readdir(this.#temporary)) {
        await this.#files.rm(join(this.#temporary, name), { force: true, recursive: true });
      }
      // A process that was killed may have left names it never flushed. From here on, what is seen is durable.
      const blobDirectories = await this.#blobDirectories();
      const above = [this.#root, dirname(this.#root), ...blobDirectories.map((path) => dirname(path))];
      await this.#syncAll(new Set([...blobDirectories, ...above]));
    });
  }

  async #blobDirectories(): Promise<string[]> {
    const directories: string[] = [];
    for (const outer of await this.#fanOut(this.#root)) directories.push(...(await this.#fanOut(outer)));
    return directories;
  }

  async #fanOut(directory: string): Promise<string[]> {
    const names = await this.#files.readdir(directory);
    return names.filter((name) => /^[a-z2-7]$/.test(name)).map((name) => join(directory, name));
  }

  async #sizeOf(path: string): Promise<number | undefined> {
    // Asked of every blob before it comes, when it is not there: that is not worth an error.
    // Node.js knows that option since 24 only, and throws before.
    return (await absentAsUndefined(this.#files.stat(path, { throwIfNoEntry: false })))?.size;
  }

  #pathOf(hash: BlobHash): string {
    // A name that is no hash could point anywhere; callers check what they are sent long before.
    if (!isHash(hash)) throw new TypeError('this is not the hash of a blob');
    return join(this.#root, hash.charAt(0), hash.charAt(1), hash);
  }

  async #attempt<T>(action: string, path: string, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      throw fileError(error, action, path);
    }
  }
}

/** Memory that is not zeroed first, and never a `Buffer`, whose `slice` does not copy. */
function freshBytes(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
}

async function absentAsUndefined<T>(operation: Promise<T>): Promise<T | undefined> {
  try {
    return await operation;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function renameIfThere(files: BlobFiles, from: string, to: string): Promise<boolean> {
  const moved = await absentAsUndefined(files.rename(from, to).then(() => true));
  return moved === true;
}
