import { readFile, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { checkKey } from '../../ports/key-text.ts';
import type { Kv, KvKey, KvRange, KvTransaction } from '../../ports/kv.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import { Database, type DatabaseOptions, openDatabase } from './database.ts';
import { dataFileName } from './database-file.ts';
import { GroupCommit } from './group-commit.ts';
import type { PendingRows } from './pending-rows.ts';
import { WriteAheadLog } from './write-ahead-log.ts';
import { WriteBehind, type WriteBehindOptions } from './write-behind.ts';

export interface LmdbKvOptions extends DatabaseOptions, WriteBehindOptions {
  /** LMDB took no rows: they are safe in the log, and LMDB is tried again. */
  readonly onFault?: (error: MeshError) => void;
}

/**
 * Opens the database in a directory of its own, making it when it is not there. One process at a time: the
 * node's directory lock sees to that.
 * Rejects with `MeshError` `disk_full`, `io_error`, or `corrupt` when the file is no database.
 */
export async function openLmdbKv(path: string, options: LmdbKvOptions = {}): Promise<Kv> {
  const open = () => openDatabase(path, options);
  const database = new Database({ database: await open(), open }, path);
  return LmdbKv.over(database, path, options);
}

interface Parts {
  readonly database: Database;
  readonly log: WriteAheadLog;
  readonly behind: WriteBehind;
  readonly identity: string;
}

/**
 * The store over lmdb. What a transaction wrote is committed by a write-ahead log, in one write to the disk for all that wait
 * together, and goes to LMDB later, with much else: LMDB alone writes some ten pages at random places for each of our
 * writes (docs/decisions/0021). Reads see what is committed, wherever it is.
 */
export class LmdbKv implements Kv {
  readonly #parts: Parts;
  readonly #commits: GroupCommit;
  #isReadable = true;
  #closing: Promise<void> | undefined;

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.#commits = new GroupCommit({ base: parts.behind, write: (rows) => this.#write(rows) });
  }

  /** A store over a database and the log beside it. It owns the database from now on. */
  static async over(database: Database, path: string, options: LmdbKvOptions = {}): Promise<LmdbKv> {
    const { onFault = () => undefined } = options;
    try {
      const identity = await identityOf(path);
      const { log, generations } = await WriteAheadLog.open(path, database.transactions());
      const behind = new WriteBehind({ database, log, onFault }, generations, options);
      return new LmdbKv({ database, log, behind, identity });
    } catch (error) {
      await database.close();
      throw error;
    }
  }

  get(key: KvKey): Uint8Array | undefined {
    checkKey(key);
    this.#assertReadable();
    return this.#parts.behind.get(key);
  }

  *range(range: KvRange): Generator<readonly [KvKey, Uint8Array]> {
    this.#assertReadable();
    for (const entry of this.#parts.behind.range(range)) {
      yield entry;
      this.#assertReadable();
    }
  }

  transact<T>(change: (transaction: KvTransaction) => T): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(new MeshError('shutting_down', 'the store is closed'));
    return this.#commits.transact(change);
  }

  async flush(): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    // Settled after every transaction asked for before; if the disk failed, there is nothing left to flush.
    await this.transact(() => undefined).catch(() => undefined);
  }

  identity(): string {
    return this.#parts.identity;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { database, log, behind } = this.#parts;
    await this.#commits.idle();
    this.#isReadable = false;
    const isDrained = await behind.drain().then(
      () => true,
      () => false,
    );
    behind.stop();
    try {
      await log.close({ remove: isDrained });
    } finally {
      await database.close();
    }
  }

  async #write(rows: PendingRows): Promise<void> {
    if (rows.size === 0) return;
    const { database, log, behind } = this.#parts;
    if (log.isBroken) await this.#startLogAnew();
    await this.#makeRoom(rows);
    try {
      await behind.append(rows);
    } catch (error) {
      if (!(error instanceof MeshError) || error.code !== 'disk_full') throw error;
      // What the log has no room for, the free pages of the database's file may have.
      await this.#startLogAnew();
      await database.write({ rows, size: rows.size, bytes: rows.bytes });
    }
  }

  /** So that what is committed will fit into the database as well, once the log has taken its room for it. */
  async #makeRoom({ size, bytes }: PendingRows): Promise<void> {
    const { database, log, behind } = this.#parts;
    const growth = () => log.growthFor({ size, bytes });
    try {
      database.assertRoom({ size: behind.size + size, bytes: behind.bytes + bytes + growth() });
    } catch (error) {
      if (behind.size === 0 && !log.takesRoom) throw error;
      // The log gives back what it has.
      await this.#startLogAnew();
      database.assertRoom({ size, bytes: bytes + growth() });
    }
  }

  async #startLogAnew(): Promise<void> {
    const { database, log, behind } = this.#parts;
    await behind.drain();
    await log.clear(database.transactions());
  }

  #assertReadable(): void {
    if (!this.#isReadable) throw new MeshError('shutting_down', 'the store is closed');
  }
}

async function identityOf(path: string): Promise<string> {
  const { dev, ino } = await stat(join(path, dataFileName), { bigint: true });
  const machineId = await readFile('/etc/machine-id', 'utf8').catch(() => '');
  return `${dev}:${ino}:${machineId.trim() || hostname()}`;
}
