import { open, type RangeOptions, type RootDatabase } from 'lmdb';
import { AmpleRoom } from '../../ports/ample-room.ts';
import { keyOfText } from '../../ports/key-text.ts';
import type { KvKey, KvRange, KvReader } from '../../ports/kv.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import { AbsentKeys } from './absent-keys.ts';
import { prepareDatabaseFile, syncNewDatabase } from './database-file.ts';
import { commitErrorOf, readError, writeError } from './errors.ts';
import type { PendingRows, Row } from './pending-rows.ts';
import { type StatRoom, spareRoom } from './room.ts';

/**
 * Address space set aside for the map at first. It costs neither memory nor disk, since the file grows only as
 * it is written; past it the map grows by itself. Much more would not be had where address space is limited,
 * and there lmdb crashes.
 */
const mapBytesDefault = 2 ** 30;
const leastKey = new Uint8Array(1);

/** The part of lmdb's interface that is used here. */
export type LmdbDatabase = Pick<
  RootDatabase<Uint8Array, Uint8Array>,
  'batch' | 'close' | 'getBinaryFast' | 'getRange' | 'getStats' | 'put' | 'remove' | 'resetReadTxn'
>;

export interface DatabaseOptions {
  /** Address space for the map, in bytes. */
  readonly mapBytes?: number;
  /** There was a database file with nothing in it, as power loss leaves one of a first start: it was begun anew. */
  readonly onRemade?: () => void;
}

/**
 * lmdb's database in a directory, which is made when it is not there. One process at a time: the node's directory lock sees to
 * that. Rejects with `MeshError` `disk_full`, `io_error`, or `corrupt` when the file is no database.
 */
export async function openDatabase(path: string, options: DatabaseOptions = {}): Promise<LmdbDatabase> {
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
    if (state !== 'whole') {
      await syncNewDatabase(path);
      await writeBothMetaPages(database);
    }
    if (state === 'remade') options.onRemade?.();
    return database;
  } catch (error) {
    throw error instanceof MeshError ? error : await writeError(error, path);
  }
}

/**
 * LMDB takes turns with two pages that say what the database holds. Once each was written after the database was made, a file
 * that has lost one of them is told from one that nothing was ever stored in.
 */
async function writeBothMetaPages(database: LmdbDatabase): Promise<void> {
  for (let page = 0; page < 2; page += 1) {
    // In one transaction, so that a crash leaves no row.
    await database.batch(() => {
      database.put(leastKey, leastKey);
      database.remove(leastKey);
    });
  }
}

/** What lmdb tells of a tree. */
interface TreeStats {
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

/** What lmdb tells of a database, as far as it is used here: `free` is the tree that lists the free pages. */
interface DatabaseStats extends TreeStats {
  readonly pageSize: number;
  readonly lastPageNumber: number;
  readonly lastTxnId: number;
  readonly free: TreeStats;
}

function pagesOf({ treeBranchPageCount, treeLeafPageCount, overflowPages }: TreeStats): number {
  return treeBranchPageCount + treeLeafPageCount + overflowPages;
}

/** Rows that are written in one LMDB transaction, and the bytes of their keys and values. */
export interface RowBatch {
  /** Gone through more than once. */
  readonly rows: readonly Row[] | PendingRows;
  readonly size: number;
  readonly bytes: number;
}

/**
 * The database of a directory: reads what is committed, and writes rows together, by lmdb's writer thread. lmdb's own
 * `transaction` is not used: a callback that throws there has its writes committed all the same.
 */
export class Database implements KvReader {
  readonly #open: () => Promise<LmdbDatabase>;
  readonly #statRoom: StatRoom | undefined;
  readonly #ample: AmpleRoom;
  readonly #path: string;
  /**
   * None from the moment it is being closed: a read that lmdb is asked for while it closes fails later, by an
   * exception that nobody can catch.
   */
  #database: LmdbDatabase | undefined;
  /** As it was last asked for. */
  #transactions = 0;
  readonly #absent = new AbsentKeys();

  constructor(
    deps: {
      readonly database: LmdbDatabase;
      readonly open: () => Promise<LmdbDatabase>;
      /** What the file system says of its room; itself when absent. */
      readonly statRoom?: StatRoom;
      readonly ample?: AmpleRoom;
    },
    path: string,
  ) {
    this.#database = deps.database;
    this.#open = deps.open;
    this.#statRoom = deps.statRoom;
    this.#ample = deps.ample ?? new AmpleRoom(() => performance.now());
    this.#path = path;
  }

  get(key: KvKey): Uint8Array | undefined {
    try {
      // What it answers is overwritten by the next read.
      const bytes = this.#opened().getBinaryFast(key);
      return bytes && copied(bytes);
    } catch (cause) {
      throw readError(cause, this.#path);
    }
  }

  /** The same for a key whose text is known: it need not be looked for again when it was absent a moment ago. */
  lookup(text: string, key: KvKey): Uint8Array | undefined {
    if (this.#database !== undefined && this.#absent.has(text)) return undefined;
    const value = this.get(key);
    if (value === undefined) this.#absent.add(text);
    return value;
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
      throw readError(cause, this.#path);
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

  /** Writes the rows, all or none, and resolves when they are on disk and reads show them. Rejects with `MeshError`. */
  async write(batch: RowBatch): Promise<void> {
    try {
      await this.#write(batch);
    } finally {
      // Whatever was looked for meanwhile, and whatever came of it.
      for (const [text] of batch.rows) this.#absent.remove(text);
    }
  }

  async #write({ rows, size, bytes }: RowBatch): Promise<void> {
    // First, since what is read needs no room.
    if (!this.#usable()) await this.#reopen();
    // By a look: these are many rows at once, and LMDB must not find a full disk itself, however lately there was room.
    this.#lookForRoom({ size, bytes });
    try {
      const database = this.#opened();
      await database.batch(() => {
        for (const [text, value] of rows) {
          const key = keyOfText(text);
          if (value === null) database.remove(key);
          else database.put(key, value);
        }
      });
      database.resetReadTxn();
    } catch (error) {
      const failure = await writeError(await commitErrorOf(error), this.#path, bytes);
      if (!this.#usable()) await this.#reopen();
      throw failure;
    }
  }

  /** Throws `MeshError` `disk_full` unless so many rows have room. */
  assertRoom({ size, bytes }: Omit<RowBatch, 'rows'>): void {
    if (!this.#ample.isThere) this.#lookForRoom({ size, bytes });
  }

  #lookForRoom({ size, bytes }: Omit<RowBatch, 'rows'>): void {
    const wanted = { writes: size, bytes, freeInFile: () => this.#freeInFile() };
    // A look that throws has shown no room.
    this.#ample.saw(0);
    this.#ample.saw(spareRoom(this.#path, wanted, this.#statRoom));
  }

  /** How many transactions were ever committed to it; while it cannot be asked, how many there were when it was. */
  transactions(): number {
    try {
      this.#transactions = (this.#opened().getStats() as DatabaseStats).lastTxnId;
    } catch {
      // The next write opens it anew.
    }
    return this.#transactions;
  }

  async close(): Promise<void> {
    const database = this.#database;
    this.#database = undefined;
    await database?.close();
  }

  #opened(): LmdbDatabase {
    if (this.#database === undefined) throw new Error('the database is closed');
    return this.#database;
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
      await this.close();
      this.#database = await this.#open();
    } catch {
      // The database stays closed: reads and writes say so, and the next write tries again.
    }
  }
}

/** All of the memory that lmdb gives the values of reads in, as it was last: it stays the same for long. */
let given: Uint8Array = new Uint8Array(0);

/** In an array of its own: lmdb's is a Buffer that has its length written over. */
function copied(bytes: Uint8Array): Uint8Array {
  if (given.buffer !== bytes.buffer) given = new Uint8Array(bytes.buffer);
  return given.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
}

/** V8 keeps the bytes of a smaller array in the array itself, and gives it memory of its own for who asks for its `buffer`. */
const smallBytes = 64;

/** lmdb copies `binary` values and keys, but into Buffers, whose `slice` shares memory where a Uint8Array's copies. */
function plainBytes(bytes: Uint8Array): Uint8Array {
  if (bytes.length <= smallBytes) return new Uint8Array(bytes);
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}
