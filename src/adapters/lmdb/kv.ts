import assert from 'node:assert/strict';
import { readFile, stat, statfs } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { type Kv, type KvKey, type KvRange, type KvTransaction, kvKeyBytesMax } from '../../ports/kv.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import { WriteOverlay } from './write-overlay.ts';

/**
 * Address space set aside for the map. It costs no memory and no disk (the file grows as it is written), and
 * a map that is large from the start never has to be moved under a reader.
 */
const mapBytesDefault = 64 * 2 ** 30;
/** Transactions that share one flush: bounds how long the event loop is held before the write begins. */
const batchTransactionsMax = 1_000;
/** Bytes written before a batch is closed: bounds the memory held until the flush. */
const batchBytesMax = 16 * 2 ** 20;
/** Transactions that may wait for the batch before theirs. */
const queuedTransactionsMax = 100_000;
/** Less room than this on the device, and a failed write is put down to a full disk whatever its code says. */
const diskFullBelowBytes = 2 ** 20;

type Database = RootDatabase<Uint8Array, Uint8Array>;

interface Job {
  /** Runs the change on the overlay and returns what settles its caller once the batch is on disk. */
  readonly run: (overlay: WriteOverlay) => (() => void) | undefined;
  readonly reject: (reason: unknown) => void;
}

export interface LmdbKvOptions {
  /** Address space for the map, in bytes. */
  readonly mapBytes?: number;
}

/**
 * Opens the database in a directory of its own, making it when it is not there. One process at a time: the
 * node's directory lock sees to that.
 * Rejects with `MeshError` `disk_full`, `io_error`, or `corrupt` when the file is no database.
 */
export async function openLmdbKv(path: string, options: LmdbKvOptions = {}): Promise<Kv> {
  const openDatabase = (): Database =>
    open<Uint8Array, Uint8Array>({
      path,
      noSubdir: false,
      encoding: 'binary',
      keyEncoding: 'binary',
      mapSize: options.mapBytes ?? mapBytesDefault,
      // Commit means flushed: nobody reads what power loss could take back, and a failed flush aborts.
      overlappingSync: false,
      eventTurnBatching: false,
    });
  try {
    const database = openDatabase();
    return new LmdbKv(path, database, openDatabase, await identityOf(path));
  } catch (cause) {
    throw await asMeshError(cause, path);
  }
}

class LmdbKv implements Kv {
  readonly #path: string;
  readonly #openDatabase: () => Database;
  readonly #identity: string;
  #database: Database;
  #queue: Job[] = [];
  #running: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(path: string, database: Database, openDatabase: () => Database, identity: string) {
    this.#path = path;
    this.#database = database;
    this.#openDatabase = openDatabase;
    this.#identity = identity;
  }

  get(key: KvKey): Uint8Array | undefined {
    checkKey(key);
    const bytes = this.#database.getBinary(key);
    return bytes && plainBytes(bytes);
  }

  *range(range: KvRange): Generator<readonly [KvKey, Uint8Array]> {
    const { end, limit, reverse } = range;
    // The least key there is; LMDB takes no empty one.
    const start = range.start.length === 0 ? new Uint8Array(1) : range.start;
    if (Buffer.compare(start, end) >= 0 || limit === 0) return;
    const order = reverse
      ? { start: end, end: start, reverse: true, exclusiveStart: true, inclusiveEnd: true }
      : { start, end };
    for (const { key, value } of this.#database.getRange(limit === undefined ? order : { ...order, limit })) {
      yield [plainBytes(key), plainBytes(value)];
    }
  }

  transact<T>(change: (transaction: KvTransaction) => T): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(new MeshError('shutting_down', 'the store is closed'));
    if (this.#queue.length >= queuedTransactionsMax) {
      return Promise.reject(
        new MeshError('io_error', `the store cannot keep up: ${queuedTransactionsMax} transactions wait already`),
      );
    }
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({
        run: (overlay) => {
          try {
            const result = runChange(overlay, change);
            return () => resolve(result);
          } catch (error) {
            reject(error);
            return undefined;
          }
        },
        reject,
      });
      this.#running ??= this.#runBatches();
    });
  }

  async flush(): Promise<void> {
    await this.#running;
  }

  identity(): string {
    return this.#identity;
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      await this.#running;
      await this.#database.close();
    })();
    return this.#closing;
  }

  /** One batch at a time: what arrives while one is being flushed makes up the next. */
  async #runBatches(): Promise<void> {
    await null;
    while (this.#queue.length > 0) {
      const overlay = new WriteOverlay(this);
      const jobs: Job[] = [];
      const settle: (() => void)[] = [];
      while (this.#queue.length > jobs.length && jobs.length < batchTransactionsMax && overlay.bytes < batchBytesMax) {
        const job = this.#queue[jobs.length] as Job;
        const done = job.run(overlay);
        jobs.push(job);
        if (done !== undefined) settle.push(done);
      }
      this.#queue.splice(0, jobs.length);
      try {
        await this.#write(overlay);
        for (const done of settle) done();
      } catch (error) {
        for (const job of jobs) job.reject(error);
      }
    }
    this.#running = undefined;
  }

  async #write(overlay: WriteOverlay): Promise<void> {
    if (overlay.size === 0) return;
    const database = this.#database;
    try {
      await database.batch(() => {
        for (const { key, value } of overlay.writes()) {
          if (value === null) database.remove(key);
          else database.put(key, value);
        }
      });
    } catch (error) {
      throw await asMeshError(await commitErrorOf(error), this.#path);
    }
  }
}

function runChange<T>(overlay: WriteOverlay, change: (transaction: KvTransaction) => T): T {
  const mark = overlay.mark();
  let open = true;
  const use = (): WriteOverlay => {
    assert(open, 'a transaction was used after it ended');
    return overlay;
  };
  try {
    const result = change({
      get: (key) => {
        checkKey(key);
        return use().get(key);
      },
      range: (range) => use().range(range),
      put: (key, value) => {
        checkKey(key);
        use().set(key, value);
      },
      delete: (key) => {
        checkKey(key);
        use().set(key, null);
      },
    });
    assert(!(result instanceof Promise), 'a transaction is synchronous: it may not return a promise');
    return result;
  } catch (error) {
    overlay.rollback(mark);
    throw error;
  } finally {
    open = false;
  }
}

function checkKey(key: KvKey): void {
  assert(
    key.length >= 1 && key.length <= kvKeyBytesMax,
    `a key of ${key.length} bytes: 1 to ${kvKeyBytesMax} are allowed`,
  );
}

/** A `Buffer` shares memory where a `Uint8Array` copies (`slice`): callers get the latter. */
function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

async function identityOf(path: string): Promise<string> {
  const { dev, ino } = await stat(join(path, 'data.mdb'), { bigint: true });
  const machine = await readFile('/etc/machine-id', 'utf8').catch(() => '');
  return `${dev}:${ino}:${machine.trim() || hostname()}`;
}

/** lmdb rejects with a general error whose `commitError` is a promise that rejects with the cause. */
async function commitErrorOf(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error;
  return Promise.resolve(error.commitError).then(
    () => error,
    (cause) => cause,
  );
}

async function asMeshError(cause: unknown, path: string): Promise<MeshError> {
  const message = cause instanceof Error ? cause.message : String(cause);
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  if (/MDB_(INVALID|CORRUPTED|VERSION_MISMATCH)/.test(message)) {
    return new MeshError('corrupt', `${path} holds no usable database: ${message}`, { cause });
  }
  const full = code === 28 || code === 'ENOSPC' || /MDB_MAP_FULL|No space left/.test(message) || (await isFull(path));
  if (full) return new MeshError('disk_full', `no room to write in ${path}`, { cause });
  return new MeshError('io_error', `the store in ${path} failed: ${message}`, { cause });
}

async function isFull(path: string): Promise<boolean> {
  try {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize < diskFullBelowBytes;
  } catch {
    return false;
  }
}
