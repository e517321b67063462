import { keyText } from '../../ports/key-text.ts';
import type { KvKey, KvRange } from '../../ports/kv.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Database, RowBatch } from './database.ts';
import { laidOver, PendingRows, type Row, type RowReader } from './pending-rows.ts';
import type { WriteAheadLog } from './write-ahead-log.ts';

/** So many rows, or bytes, are enough to be written to the database. */
const fullRowsDefault = 32_768;
const fullBytes = 8 * 2 ** 20;
/** A row that is written over and over stays one row, and each time takes a page of the log: so that has a bound as well. */
const fullLogBytesDefault = 64 * 2 ** 20;
/** How often as much may wait before writers do. */
const waitingFactor = 4;
/** Rows wait so long for others that go to the same pages. */
const restMsDefault = 5_000;
/** What one transaction of the database takes: bounds how long the event loop is held and the disk has no time for the log. */
const transactionRowsDefault = 2_048;
const transactionBytes = 2 ** 20;
/** It is not divided any more. */
const leastTransactionRows = 4;
/** The database is tried again so long after it failed. */
const retryMs = 1_000;

interface Dependencies {
  readonly database: Database;
  readonly log: WriteAheadLog;
  /** The database took no rows. They stay in the log, and it is tried again. */
  readonly onFault: (error: MeshError) => void;
}

export interface WriteBehindOptions {
  /** So many rows are enough to be written to the database. */
  readonly fullRows?: number;
  /** So are those of so many bytes of the log. */
  readonly fullLogBytes?: number;
  /** Fewer wait so long for others. */
  readonly restMs?: number;
  /** Rows of one transaction of the database. */
  readonly transactionRows?: number;
}

/**
 * The rows that are committed by the log and not in the database yet, before which they stand. They are written to it by and
 * by: many at a time and in the order of their keys, so that rows of one page are written together, and what was written
 * several times once.
 */
export class WriteBehind implements RowReader {
  readonly #dependencies: Dependencies;
  readonly #fullRows: number;
  readonly #fullLogBytes: number;
  readonly #restMs: number;
  readonly #transactionRows: number;
  /** Of the log's generation. */
  #rows = new PendingRows();
  /** Of the generation before, while they are being written to the database. */
  #leaving: PendingRows | undefined;
  #writing: Promise<void> | undefined;
  #isAppending = false;
  /** The rest is over. */
  #isDue = false;
  #hasFailed = false;
  #isStopped = false;
  #timer: NodeJS.Timeout | undefined;

  /** Begins with what the log held, by generations. */
  constructor(dependencies: Dependencies, generations: readonly (readonly Row[])[], options: WriteBehindOptions = {}) {
    this.#dependencies = dependencies;
    this.#fullRows = options.fullRows ?? fullRowsDefault;
    this.#fullLogBytes = options.fullLogBytes ?? fullLogBytesDefault;
    this.#restMs = options.restMs ?? restMsDefault;
    this.#transactionRows = options.transactionRows ?? transactionRowsDefault;
    const [last, before] = generations.toReversed();
    if (last !== undefined) this.#rows = tableOf(last);
    if (before !== undefined) this.#leaving = tableOf(before);
    if (this.size > 0) this.#rest(0);
  }

  get(key: KvKey): Uint8Array | undefined {
    return this.size === 0 ? this.#dependencies.database.get(key) : this.lookup(keyText(key), key);
  }

  lookup(text: string, key: KvKey): Uint8Array | undefined {
    let written = this.#rows.get(text);
    if (written === undefined) written = this.#leaving?.get(text);
    return written === undefined ? this.#dependencies.database.lookup(text, key) : (written ?? undefined);
  }

  range(range: KvRange): Iterable<readonly [KvKey, Uint8Array]> {
    const { database } = this.#dependencies;
    const leaving = this.#leaving;
    if (leaving === undefined) return laidOver(database, this.#rows.rowsIn(range), range);
    const base: Pick<RowReader, 'range'> = { range: (wanted) => laidOver(database, leaving.rowsIn(wanted), wanted) };
    return laidOver(base, this.#rows.rowsIn(range), range);
  }

  /** Rows that are not in the database yet. */
  get size(): number {
    return this.#rows.size + (this.#leaving?.size ?? 0);
  }

  get bytes(): number {
    return this.#rows.bytes + (this.#leaving?.bytes ?? 0);
  }

  /** Puts the rows in the log and resolves when they are on disk and are read; one call at a time. Rejects as the log does. */
  async append(rows: PendingRows): Promise<void> {
    if (this.#isFull(waitingFactor)) await this.#write();
    this.#isAppending = true;
    try {
      await this.#dependencies.log.append(rows.table);
    } catch (error) {
      // Nobody else would think of the rows that wait already.
      if (this.#isDue) this.#rest(retryMs);
      throw error;
    } finally {
      this.#isAppending = false;
    }
    rows.table.forEach((value, text) => {
      this.#rows.set(text, value);
    });
    // After a failure the timer tries again.
    if (!this.#hasFailed && (this.#isDue || this.#isFull(1))) this.#writeSoon();
    else this.#rest(this.#restMs);
  }

  /** Resolves when every row is in the database, and nothing is appended meanwhile. Rejects with `MeshError`. */
  async drain(): Promise<void> {
    while (this.size > 0) await this.#write();
  }

  /** What is not drained by then stays in the log. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #isFull(factor: number): boolean {
    if (this.#rows.size >= factor * this.#fullRows || this.#rows.bytes >= factor * fullBytes) return true;
    return this.#rows.size > 0 && this.#dependencies.log.bytes >= factor * this.#fullLogBytes;
  }

  #rest(ms: number): void {
    if (this.#isStopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      // The log may not change its generation while it is appended to.
      if (this.#isAppending) this.#isDue = true;
      else this.#writeSoon();
    }, ms).unref();
  }

  #writeSoon(): void {
    this.#isDue = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.size === 0) return;
    this.#write().then(
      () => {
        if (this.size > 0) this.#rest(this.#restMs);
      },
      () => this.#rest(retryMs),
    );
  }

  #write(): Promise<void> {
    this.#writing ??= this.#writeLeaving().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  /** In smaller transactions where there is little room: each needs less, and leaves the next the pages that it freed. */
  async #put(batch: RowBatch): Promise<void> {
    const { database } = this.#dependencies;
    try {
      await database.write(batch);
    } catch (error) {
      const isTooMuch = error instanceof MeshError && error.code === 'disk_full' && batch.size > leastTransactionRows;
      if (!isTooMuch) throw error;
      for (const half of batchesOf(batch.rows, Math.ceil(batch.size / 2))) await this.#put(half);
    }
  }

  async #writeLeaving(): Promise<void> {
    const { database, log, onFault } = this.#dependencies;
    try {
      if (this.#leaving === undefined) {
        log.rotate(database.transactions());
        this.#leaving = this.#rows;
        this.#rows = new PendingRows();
      }
      for (const batch of batchesOf(this.#leaving.inOrder(), this.#transactionRows)) await this.#put(batch);
      this.#leaving = undefined;
      this.#hasFailed = false;
    } catch (error) {
      this.#hasFailed = true;
      onFault(error as MeshError);
      throw error;
    }
  }
}

function tableOf(rows: readonly Row[]): PendingRows {
  const table = new PendingRows();
  for (const [text, value] of rows) table.set(text, value);
  return table;
}

function* batchesOf(rows: Iterable<Row>, rowsMax: number): Generator<RowBatch> {
  let batch: Row[] = [];
  let bytes = 0;
  for (const row of rows) {
    batch.push(row);
    bytes += row[0].length + (row[1]?.length ?? 0);
    if (batch.length < rowsMax && bytes < transactionBytes) continue;
    yield { rows: batch, size: batch.length, bytes };
    [batch, bytes] = [[], 0];
  }
  if (batch.length > 0) yield { rows: batch, size: batch.length, bytes };
}
