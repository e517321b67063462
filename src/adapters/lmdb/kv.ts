import { readFile, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { open, type RangeOptions, type RootDatabase } from 'lmdb';
import type { Kv, KvKey, KvRange, KvTransaction } from '../../ports/kv.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import { dataFileName, prepareDatabaseFile, syncNewDatabase } from './database-file.ts';
import { commitErrorOf, readError, writeError } from './errors.ts';
import { assertRoom } from './room.ts';
import { checkKey, runChange } from './transaction.ts';
import { WriteOverlay } from './write-overlay.ts';

/**
 * Address space set aside for the map at first. It costs neither memory nor disk, since the file grows only as
 * it is written; past it the map grows by itself. Much more would not be had where address space is limited,
 * and there lmdb crashes.
 */
const mapBytesDefault = 2 ** 30;
/** Transactions that share one flush: bounds how long the event loop is held before the write begins. */
const batchTransactionsMax = 1_000;
/** Transactions run before the disk is given the first of them; the rest runs while it works. */
const idleDiskTransactionsMax = 8;
/** Bytes after which a batch is closed: bounds the memory held until the flush. */
const batchBytesMax = 16 * 2 ** 20;
/** Transactions that may wait for the batch before theirs. */
const queuedTransactionsMax = 100_000;

const leastKey = new Uint8Array(1);

/** The part of lmdb's interface that is used here. */
export type LmdbDatabase = Pick<
  RootDatabase<Uint8Array, Uint8Array>,
  'batch' | 'close' | 'getBinaryFast' | 'getRange' | 'getStats' | 'put' | 'remove' | 'resetReadTxn'
>;

export interface LmdbKvOptions {
  /** Address space for the map, in bytes. */
  readonly mapBytes?: number;
}

interface Job {
  /** Runs the change on the overlay and returns what settles its caller once the batch is on disk. */
  readonly run: (overlay: WriteOverlay) => (() => void) | undefined;
  readonly reject: (reason: unknown) => void;
}

/**
 * Opens the database in a directory of its own, making it when it is not there. One process at a time: the
 * node's directory lock sees to that.
 * Rejects with `MeshError` `disk_full`, `io_error`, or `corrupt` when the file is no database.
 */
export async function openLmdbKv(path: string, options: LmdbKvOptions = {}): Promise<Kv> {
  const openAgain = (): Promise<LmdbDatabase> => openDatabase(path, options);
  const database = await openAgain();
  return new LmdbKv({ database, openDatabase: openAgain }, { path, identity: await identityOf(path) });
}

/** The database itself, with the settings `LmdbKv` counts on. Rejects as `openLmdbKv` does. */
export async function openDatabase(path: string, options: LmdbKvOptions = {}): Promise<LmdbDatabase> {
  try {
    const state = await prepareDatabaseFile(path);
    const database = open<Uint8Array, Uint8Array>({
      path,
      // Else a directory whose name has a dot in it is taken for a file.
      noSubdir: false,
      encoding: 'binary',
      keyEncoding: 'binary',
      mapSize: options.mapBytes ?? mapBytesDefault,
      // Committed means flushed: nobody reads what power loss could take back, and a failed flush is undone at once.
      overlappingSync: false,
      eventTurnBatching: false,
    });
    if (state === 'new') await syncNewDatabase(path);
    if (state === 'doubtful') await checkNothingLost(database, path);
    return database;
  } catch (error) {
    throw error instanceof MeshError ? error : await writeError(error, path);
  }
}

/** Where the end of a file is lost, LMDB lists what it finds and says nothing of the rest: so the entries are counted. */
async function checkNothingLost(database: LmdbDatabase, path: string): Promise<void> {
  const { entryCount } = database.getStats() as DatabaseStats;
  let found = 0;
  try {
    for (const _ of database.getRange({ start: leastKey })) found++;
  } catch {
    found = -1;
  }
  if (found === entryCount) return;
  await database.close();
  throw new MeshError('corrupt', `the end of ${join(path, dataFileName)} is missing`);
}

/** What lmdb tells of a tree. */
interface TreeStats {
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

/** What lmdb tells of a database, as far as it is used here: `free` is the tree that lists the free pages. */
interface DatabaseStats extends TreeStats {
  readonly entryCount: number;
  readonly pageSize: number;
  readonly lastPageNumber: number;
  readonly free: TreeStats;
}

function pagesOf({ treeBranchPageCount, treeLeafPageCount, overflowPages }: TreeStats): number {
  return treeBranchPageCount + treeLeafPageCount + overflowPages;
}

/** Transactions that were run and are written together. */
interface Batch {
  readonly overlay: WriteOverlay;
  readonly jobs: Job[];
  /** Settles the callers whose change did not throw. */
  readonly settle: (() => void)[];
}

/**
 * The store over lmdb. Transactions run one after the other on an overlay of what the database holds, and are
 * written as one LMDB transaction by lmdb's writer thread; those that arrive meanwhile run on an overlay of that
 * one. Hence a change that throws leaves no trace and disturbs no other; and when the disk fails, all that share
 * the batch fail, and all that ran on top of it.
 *
 * lmdb's own `transaction` is not used: a callback that throws there has its writes committed all the same.
 */
export class LmdbKv implements Kv {
  readonly #openDatabase: () => Promise<LmdbDatabase>;
  readonly #path: string;
  readonly #identity: string;
  /**
   * None from the moment it is being closed: a read that lmdb is asked for while it closes fails later, by an
   * exception that nobody can catch.
   */
  #database: LmdbDatabase | undefined;
  readonly #queue: Job[] = [];
  #filling: Batch | undefined;
  #writing: Batch | undefined;
  #fillScheduled = false;
  #running: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    deps: { readonly database: LmdbDatabase; readonly openDatabase: () => Promise<LmdbDatabase> },
    options: { readonly path: string; readonly identity: string },
  ) {
    this.#database = deps.database;
    this.#openDatabase = deps.openDatabase;
    this.#path = options.path;
    this.#identity = options.identity;
  }

  get(key: KvKey): Uint8Array | undefined {
    checkKey(key);
    try {
      // What it answers is overwritten by the next read.
      const bytes = this.#opened().getBinaryFast(key);
      return bytes && copied(bytes);
    } catch (cause) {
      throw this.#readError(cause);
    }
  }

  *range(range: KvRange): Generator<readonly [KvKey, Uint8Array]> {
    const { end, limit, reverse } = range;
    const start = range.start.length === 0 ? leastKey : range.start;
    if (Buffer.compare(start, end) >= 0 || limit === 0) return;
    const order = reverse
      ? { start: end, end: start, reverse: true, exclusiveStart: true, inclusiveEnd: true }
      : { start, end };
    try {
      yield* this.#entries(limit === undefined ? order : { ...order, limit });
    } catch (cause) {
      throw this.#readError(cause);
    }
  }

  /** Asks lmdb for nothing, not even to end the iteration, once the database was closed in the midst of it. */
  *#entries(range: RangeOptions): Generator<readonly [KvKey, Uint8Array]> {
    const database = this.#opened();
    const entries = database.getRange(range)[Symbol.iterator]();
    try {
      while (this.#opened() === database) {
        const { done, value: entry } = entries.next();
        if (done) return;
        yield [plainBytes(entry.key), plainBytes(entry.value)];
      }
      throw new Error('the database was opened anew meanwhile');
    } finally {
      if (this.#database === database) entries.return?.();
    }
  }

  #opened(): LmdbDatabase {
    if (this.#database === undefined) throw new Error('the database is closed');
    return this.#database;
  }

  transact<T>(change: (transaction: KvTransaction) => T): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(new MeshError('shutting_down', 'the store is closed'));
    if (this.#queue.length >= queuedTransactionsMax) {
      const message = `the disk cannot keep up: ${queuedTransactionsMax} transactions wait for it already`;
      return Promise.reject(new MeshError('io_error', message));
    }
    return new Promise<T>((resolve, reject) => {
      const run = (overlay: WriteOverlay): (() => void) | undefined => {
        try {
          const result = runChange(overlay, change);
          return () => resolve(result);
        } catch (error) {
          reject(error);
          return undefined;
        }
      };
      this.#queue.push({ run, reject });
      if (this.#running === undefined) this.#running = this.#runBatches();
      else if (this.#writing !== undefined) this.#fillSoon();
    });
  }

  async flush(): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    // Settled after every transaction asked for before; if the disk failed, there is nothing left to flush.
    await this.transact(() => undefined).catch(() => undefined);
  }

  identity(): string {
    return this.#identity;
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      await this.#running;
      await this.#closeDatabase();
    })();
    return this.#closing;
  }

  async #closeDatabase(): Promise<void> {
    const database = this.#database;
    this.#database = undefined;
    await database?.close();
  }

  /** Runs what arrives while a batch is being written, so that it is ready when the disk is. */
  #fillSoon(): void {
    if (this.#fillScheduled) return;
    this.#fillScheduled = true;
    queueMicrotask(() => {
      this.#fillScheduled = false;
      this.#fill(batchTransactionsMax);
    });
  }

  async #runBatches(): Promise<void> {
    // Lets callers of the same turn share the batch.
    await null;
    while (this.#fill(idleDiskTransactionsMax)) {
      const batch = this.#filling as Batch;
      this.#filling = undefined;
      this.#writing = batch;
      this.#fillSoon();
      let failure: unknown;
      try {
        await this.#write(batch.overlay);
      } catch (error) {
        failure = error;
      }
      this.#writing = undefined;
      if (failure === undefined) this.#written(batch);
      else this.#failed(batch, failure);
    }
    this.#running = undefined;
  }

  /** Runs what waits, as far as the batch has room. True when there is something to write or to settle. */
  #fill(transactionsMax: number): boolean {
    let taken = 0;
    for (const job of this.#queue) {
      this.#filling ??= { overlay: new WriteOverlay(this.#writing?.overlay ?? this), jobs: [], settle: [] };
      const { overlay, jobs, settle } = this.#filling;
      if (jobs.length >= transactionsMax || overlay.bytes >= batchBytesMax) break;
      taken += 1;
      jobs.push(job);
      const done = job.run(overlay);
      if (done !== undefined) settle.push(done);
    }
    this.#queue.splice(0, taken);
    return this.#filling !== undefined;
  }

  #written(batch: Batch): void {
    try {
      this.#opened().resetReadTxn();
    } catch {
      // The next read or write says what is wrong.
    }
    this.#filling?.overlay.rebase(this);
    for (const done of batch.settle) done();
  }

  /** What ran on top of a batch that failed may have built on its writes, so it fails as well. */
  #failed(batch: Batch, failure: unknown): void {
    const onTop = this.#filling?.jobs ?? [];
    this.#filling = undefined;
    for (const job of [...batch.jobs, ...onTop]) job.reject(failure);
  }

  async #write(overlay: WriteOverlay): Promise<void> {
    if (overlay.size === 0) return;
    assertRoom(this.#path, { writes: overlay.size, bytes: overlay.bytes, freeInFile: () => this.#freeInFile() });
    if (!this.#usable()) await this.#reopen();
    try {
      const database = this.#opened();
      await database.batch(() => {
        for (const { key, value } of overlay.writes()) {
          if (value === null) database.remove(key);
          else database.put(key, value);
        }
      });
    } catch (error) {
      const failure = await writeError(await commitErrorOf(error), this.#path, overlay.bytes);
      if (!this.#usable()) await this.#reopen();
      throw failure;
    }
  }

  #freeInFile(): number {
    try {
      const stats = this.#opened().getStats() as DatabaseStats;
      const pages = stats.lastPageNumber - 1 - pagesOf(stats) - pagesOf(stats.free);
      return Math.max(0, pages) * stats.pageSize;
    } catch {
      return 0;
    }
  }

  /**
   * Once LMDB has failed to write its meta page it refuses every transaction, and lmdb never answers the next
   * write. A read shows that state by an error; opening anew ends it.
   */
  #usable(): boolean {
    try {
      const database = this.#opened();
      database.resetReadTxn();
      database.getBinaryFast(leastKey);
      return true;
    } catch {
      return false;
    }
  }

  async #reopen(): Promise<void> {
    try {
      await this.#closeDatabase();
      this.#database = await this.#openDatabase();
    } catch {
      // The database stays closed: reads and writes say so, and the next write tries again.
    }
  }

  #readError(cause: unknown): MeshError {
    if (this.#closing !== undefined) return new MeshError('shutting_down', 'the store is closed', { cause });
    return readError(cause, this.#path);
  }
}

/** In an array of its own: lmdb's is a Buffer that has its length written over. */
function copied(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(bytes.length);
  copy.set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length));
  return copy;
}

/** lmdb copies `binary` values and keys, but into Buffers, whose `slice` shares memory where a Uint8Array's copies. */
function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

async function identityOf(path: string): Promise<string> {
  const { dev, ino } = await stat(join(path, dataFileName), { bigint: true });
  const machineId = await readFile('/etc/machine-id', 'utf8').catch(() => '');
  return `${dev}:${ino}:${machineId.trim() || hostname()}`;
}
