import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { MeshError } from '../../ports/mesh-error.ts';
import { dataFileName, syncDirectory } from './database-file.ts';
import { readError, writeError } from './errors.ts';
import { decodeLogRecord, encodeLogRecord, type LogRecord, logPageBytes, logRecordBytesMax } from './log-record.ts';
import type { Row, RowTable } from './pending-rows.ts';

const fileNames = ['wal.0', 'wal.1'] as const;
/** A file grows by so much at once, filled with zeroes: what is written over blocks that are there costs one write to the disk. */
const growthBytes = 2 ** 20;
/** Where the disk has less room, a file grows by what is needed alone. */
const roomyBytes = 16 * growthBytes;
/** A file that a burst made longer is cut back to this when it is used again. */
const keptBytes = 16 * 2 ** 20;

/** What a file grows by. */
const zeroes = new Uint8Array(growthBytes);
/** A record is put together in the memory of the last one, up to so many bytes: fresh memory costs as much as the writing of it. */
const keptRecordBytes = 2 ** 20;

const noRows: RowTable = new Map();

/** A write that returns has reached the disk where the system knows `O_DSYNC`; elsewhere the file is flushed after it. */
const syncFlag = constants.O_DSYNC as number | undefined;

export type LogFileHandle = Pick<FileHandle, 'close' | 'datasync' | 'read' | 'stat' | 'truncate' | 'write'>;

interface LogFile {
  readonly handle: LogFileHandle;
  readonly path: string;
  /** Bytes that are there to be written over. */
  bytes: number;
}

interface Generation {
  readonly number: number;
  /** That the database had when it began. */
  readonly transactions: number;
  readonly nonce: bigint;
}

/** A generation as it was found, its rows in the order they were appended, and where it ends. */
interface FoundGeneration extends Generation {
  readonly rows: readonly Row[];
  readonly position: number;
  readonly records: number;
}

/**
 * The write-ahead log of a database: batches of rows that are committed and may not be in the database yet. Its generations
 * take turns in two files, each from the beginning of its file, over what an older one left there; so a generation may begin
 * once the rows of the one before the last are in the database. The first record of a generation has no rows: it is
 * smaller than what a disk writes at once, so the beginning of a file is sound unless it rotted.
 */
export class WriteAheadLog {
  readonly #path: string;
  readonly #files: readonly LogFile[];
  #generation: Generation;
  #position: number;
  #records: number;
  #isBroken = false;
  /** Of the record that was written last. */
  #memory = Buffer.allocUnsafeSlow(0);

  private constructor(
    path: string,
    files: readonly LogFile[],
    last: FoundGeneration | undefined,
    transactions: number,
  ) {
    this.#path = path;
    this.#files = files;
    this.#generation = last ?? newGeneration(0, transactions);
    this.#position = last?.position ?? 0;
    this.#records = last?.records ?? 0;
  }

  /**
   * Opens the log in the directory of a database that has had so many transactions, making it when it is not there, and tells
   * the rows of the last two generations: what comes later stands. What a crash left of a record that was never acknowledged is
   * passed over. Rejects with `MeshError` `corrupt` when acknowledged rows are damaged or the database is older than its
   * log, else `disk_full` or `io_error`.
   */
  static async open(
    path: string,
    transactions: number,
    openFile: (path: string, flags: number) => Promise<LogFileHandle> = (name, flags) => open(name, flags, 0o600),
  ): Promise<{ readonly log: WriteAheadLog; readonly generations: readonly (readonly Row[])[] }> {
    const files: LogFile[] = [];
    try {
      for (const name of fileNames) {
        const filePath = join(path, name);
        const handle = await openFile(filePath, constants.O_RDWR | constants.O_CREAT | (syncFlag ?? 0));
        files.push({ handle, path: filePath, bytes: (await handle.stat()).size });
      }
      await syncDirectory(path);
      const found: FoundGeneration[] = [];
      for (const [index, file] of files.entries()) {
        const generation = await readGeneration(file);
        if (generation === undefined) continue;
        if (generation.number % files.length !== index) throw corrupt(file, 'it is the other file of the log');
        if (generation.transactions > transactions) throw corrupt(file, `it belongs to a newer ${dataFileName}`);
        found.push(generation);
      }
      found.sort((left, right) => left.number - right.number);
      const log = new WriteAheadLog(path, files, found.at(-1), transactions);
      return { log, generations: found.map(({ rows }) => rows) };
    } catch (error) {
      for (const { handle } of files) await handle.close();
      throw error instanceof MeshError ? error : await writeError(error, path);
    }
  }

  /** After a write failed nobody knows what is on disk: nothing can be appended until the log is cleared. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** Of the records of the generation, in whole pages. */
  get bytes(): number {
    return this.#position;
  }

  /** Whether its files have any bytes, be they in use or kept to be written over. */
  get takesRoom(): boolean {
    return this.#files.some((file) => file.bytes > 0);
  }

  /** Bytes by which its file has to grow for so many rows, at the most. */
  growthFor(rows: { readonly size: number; readonly bytes: number }): number {
    const beginning = this.#records === 0 ? logPageBytes : 0;
    return Math.max(0, this.#position + beginning + logRecordBytesMax(rows) - this.#file().bytes);
  }

  /**
   * Appends the rows as one record and resolves when it is on disk; one at a time. Rejects with `MeshError` `disk_full` or
   * `io_error`: the rows may be found in the log all the same if it was left broken.
   */
  async append(rows: RowTable): Promise<void> {
    if (this.#records === 0) await this.#begin();
    await this.#put(rows);
  }

  /** Goes on with a new generation, over the one before the last. The database has had so many transactions. */
  rotate(transactions: number): void {
    this.#generation = newGeneration(this.#generation.number + 1, transactions);
    this.#position = 0;
    this.#records = 0;
  }

  /** Forgets all of it, once every row is in the database. Rejects with `MeshError`, and is broken then. */
  async clear(transactions: number): Promise<void> {
    this.#isBroken = true;
    try {
      for (const file of this.#filesByAge()) {
        await file.handle.truncate(0);
        await file.handle.datasync();
        file.bytes = 0;
      }
    } catch (error) {
      throw await writeError(error, this.#path);
    }
    this.rotate(transactions);
    this.#isBroken = false;
  }

  /** Removes the files as well when every row is in the database. Rejects with `MeshError` when they cannot be. */
  async close({ remove }: { readonly remove: boolean }): Promise<void> {
    for (const { handle } of this.#files) await handle.close();
    if (!remove) return;
    try {
      for (const { path } of this.#filesByAge()) {
        await rm(path, { force: true });
        await syncDirectory(this.#path);
      }
    } catch (error) {
      throw await writeError(error, this.#path);
    }
  }

  async #begin(): Promise<void> {
    await this.#put(noRows);
    const file = this.#file();
    if (file.bytes <= keptBytes) return;
    // Not before: what is left of a generation that lost its end has values that are no longer the last.
    await file.handle.truncate(keptBytes).catch(async (error) => {
      throw await writeError(error, this.#path);
    });
    file.bytes = keptBytes;
  }

  async #put(rows: RowTable): Promise<void> {
    const { number, transactions, nonce } = this.#generation;
    const header = { generation: number, transactions, nonce, index: this.#records };
    const record = encodeLogRecord(header, rows, (length) => this.#memoryOf(length));
    const file = this.#file();
    const end = this.#position + record.length;
    try {
      if (end > file.bytes && record.length < growthBytes) await this.#grow(file, end);
    } catch (error) {
      throw await writeError(error, this.#path, record.length);
    }
    try {
      await writeAll(file.handle, record, this.#position);
    } catch (error) {
      this.#isBroken = true;
      throw await writeError(error, this.#path, record.length);
    }
    file.bytes = Math.max(file.bytes, end);
    this.#position = end;
    this.#records += 1;
  }

  /** One record is written at a time, and nobody reads it afterwards. */
  #memoryOf(length: number): Buffer {
    if (length > keptRecordBytes) return Buffer.allocUnsafeSlow(length);
    if (length > this.#memory.length) this.#memory = Buffer.allocUnsafeSlow(Math.min(keptRecordBytes, 2 * length));
    return this.#memory.subarray(0, length);
  }

  /** By much at once, or where the disk has little room by what is needed: the rest is for the database. */
  async #grow(file: LogFile, end: number): Promise<void> {
    const grown = (await this.#isRoomy()) ? Math.max(end, file.bytes + growthBytes) : end;
    try {
      await writeZeroes(file.handle, file.bytes, grown);
      file.bytes = grown;
    } catch (error) {
      // What was written of it before the disk was full is given back.
      await file.handle.truncate(file.bytes).catch(() => undefined);
      if (grown === end) throw error;
      await writeZeroes(file.handle, file.bytes, end);
      file.bytes = end;
    }
  }

  async #isRoomy(): Promise<boolean> {
    const { blocks, bavail, bsize } = await statfs(this.#path);
    return blocks === 0 || bavail * bsize >= roomyBytes;
  }

  /** The one with the older rows first: if they were all that is found, they would be taken for the newest. */
  #filesByAge(): LogFile[] {
    const newest = this.#generation.number - (this.#records === 0 ? 1 : 0);
    return newest % this.#files.length === 0 ? this.#files.toReversed() : [...this.#files];
  }

  #file(): LogFile {
    return this.#files[this.#generation.number % this.#files.length] as LogFile;
  }
}

function newGeneration(number: number, transactions: number): Generation {
  return { number, transactions, nonce: randomBytes(8).readBigUInt64LE() };
}

async function writeAll(handle: LogFileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    if (bytesWritten === 0) throw new Error('the disk takes nothing');
    done += bytesWritten;
  }
  if (syncFlag === undefined) await handle.datasync();
}

async function writeZeroes(handle: LogFileHandle, from: number, to: number): Promise<void> {
  for (let at = from; at < to; at += zeroes.length) await writeAll(handle, zeroes.subarray(0, to - at), at);
}

/** The generation that a file holds; undefined when it holds none. */
async function readGeneration(file: LogFile): Promise<FoundGeneration | undefined> {
  const bytes = await readAll(file);
  const first = decodeLogRecord(bytes);
  if (first === undefined && bytes.every((byte) => byte === 0)) return undefined;
  if (first === undefined || first.index !== 0) throw corrupt(file, 'its beginning is damaged');
  const rows: Row[] = [];
  let [position, records] = [0, 0];
  for (let record: LogRecord | undefined = first; record?.index === records; ) {
    for (const row of record.rows) rows.push(row);
    position += record.length;
    records += 1;
    record = decodeLogRecord(bytes.subarray(position), first.nonce);
  }
  // Of several records that were written one after the other only the last can be in the midst of it at a crash.
  for (let at = position; at < bytes.length; at += logPageBytes) {
    const later = decodeLogRecord(bytes.subarray(at), first.nonce);
    if (later !== undefined && later.index > records) {
      throw corrupt(file, `it is damaged at byte ${position}, and sound records follow`);
    }
  }
  const { generation: number, transactions, nonce } = first;
  return { number, transactions, nonce, rows, position, records };
}

async function readAll({ handle, bytes, path }: LogFile): Promise<Buffer> {
  const content = Buffer.alloc(bytes);
  try {
    for (let done = 0; done < bytes; ) {
      const { bytesRead } = await handle.read(content, done, bytes - done, done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
  } catch (error) {
    throw readError(error, path);
  }
  return content;
}

function corrupt({ path }: LogFile, what: string): MeshError {
  return new MeshError('corrupt', `${path} holds writes that are in no other file, and cannot be used: ${what}`);
}
