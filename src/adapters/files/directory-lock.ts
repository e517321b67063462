import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { MeshError } from '../../ports/mesh-error.ts';
import { writeFileAtomic } from './atomic-file.ts';
import { fileError } from './file-error.ts';

export interface DirectoryLock {
  /** Gives the directory free. May be called again, and then does nothing. */
  release(): Promise<void>;
}

/** SQLite's primary result code SQLITE_BUSY: somebody else holds the lock. */
const sqliteBusy = 5;

/** Open databases are kept here: one that nobody refers to is collected, and its lock with it. */
const held = new Set<DatabaseSync>();

/**
 * Takes a data directory for this process, so that no two ever write to it. The lock is an exclusive SQLite
 * transaction on `lock`, which SQLite keeps as an fcntl lock: the kernel drops it when the process dies, however
 * it dies, and SQLite itself keeps a second opener in the same process out. `pid` says whose it is, to people.
 * (No other code may open `lock`: closing any descriptor of a file drops all fcntl locks of the process on it.)
 *
 * Rejects with `MeshError` `directory_in_use`, naming the process, or `io_error` or `disk_full`.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const pidPath = join(directory, 'pid');
  const database = await openExclusively(directory, pidPath);
  held.add(database);
  const release = async (): Promise<void> => {
    if (!held.delete(database)) return;
    // Before the lock goes, so that it is never the next holder's file that is removed.
    await rm(pidPath, { force: true }).catch(() => undefined);
    database.close();
  };
  try {
    await writeFileAtomic(pidPath, `${process.pid}\n`);
  } catch (error) {
    await release();
    throw error;
  }
  return { release };
}

async function openExclusively(directory: string, pidPath: string): Promise<DatabaseSync> {
  const { DatabaseSync } = importSqlite();
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(join(directory, 'lock'));
    database.exec('BEGIN EXCLUSIVE');
    return database;
  } catch (error) {
    database?.close();
    if (isBusy(error)) throw await inUse(directory, pidPath, error);
    throw fileError(error, `lock ${directory}`, directory);
  }
}

function isBusy(error: unknown): boolean {
  // Extended result codes keep the primary one in their lowest byte.
  return error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === sqliteBusy;
}

async function inUse(directory: string, pidPath: string, cause: unknown): Promise<MeshError> {
  const text = await readFile(pidPath, 'utf8').catch(() => '');
  const pid = /^\d{1,10}\n$/.test(text) ? Number(text) : undefined;
  const holder = pid === undefined ? 'another process' : `process ${pid}`;
  return new MeshError('directory_in_use', `${directory} is in use by ${holder}`, {
    cause,
    detail: { directory, ...(pid === undefined ? {} : { pid }) },
  });
}

/** Loads `node:sqlite` without the warning that Node.js 22 prints for it; every other warning stays. */
function importSqlite(): typeof import('node:sqlite') {
  const emitWarning = process.emitWarning;
  process.emitWarning = ((warning: string | Error, ...rest: unknown[]) => {
    if (String(warning).includes('SQLite is an experimental feature')) return;
    Reflect.apply(emitWarning, process, [warning, ...rest]);
  }) as typeof process.emitWarning;
  try {
    return process.getBuiltinModule('node:sqlite');
  } finally {
    process.emitWarning = emitWarning;
  }
}
