import { type FileHandle, mkdir, open, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MeshError } from '../../ports/mesh-error.ts';
import { isWholeTree, type PageTree } from './page-walk.ts';

// lmdb crashes the process when LMDB cannot open a file, whatever the reason, and LMDB itself crashes it by a
// read beyond the file's end. So everything that can be wrong is looked for here first.

/** Named by LMDB. */
export const dataFileName = 'data.mdb';
const lockFileName = 'lock.mdb';
/** LMDB's table of readers, 126 of them, in whole pages. It is mapped, so its pages have to be there on a full disk. */
const lockFileBytes = 12_288;
/** Two meta pages, of the largest size an operating system in use has: what a new database takes. */
const newFileBytesMax = 131_072;
/** The same for the sizes that are common, 4 and 16 KiB. */
const unusedFileBytesMax = 32_768;
const pageBytesMin = 256;
const pageBytesMax = 65_536;

// Where things are in a meta page of LMDB's data format 2, which is in the machine's byte order: every machine
// lmdb is built for has its least byte first.
const magicOffset = 24;
const magic = 0xbeef_c0de;
const versionOffset = 28;
const dataVersion = 2;
const pageSizeOffset = 48;
/** The trees of the free pages and of the rows. */
const treeOffsets = [48, 96] as const;
const treeEntriesOffset = 32;
const treeRootOffset = 40;
const lastPageOffset = 144;
const transactionOffset = 152;
const metaBytes = 160;

interface Meta {
  readonly pageBytes: number;
  readonly trees: readonly PageTree[];
  readonly lastPage: bigint;
  readonly transaction: bigint;
}

/**
 * Makes sure that LMDB will be able to open the database of a directory, which is made when it is not there: then it is `new`,
 * or `remade` where there was a file that nothing had been stored in, or from which all has vanished: nobody can tell.
 * Throws `MeshError` `corrupt` when the file is no database, or what the file system reports.
 */
export async function prepareDatabaseFile(path: string): Promise<'new' | 'remade' | 'whole'> {
  await mkdir(path, { recursive: true });
  await prepareLockFile(join(path, lockFileName));
  const file = await openIfThere(join(path, dataFileName));
  if (file === undefined) {
    await prepareNewFile(path);
    return 'new';
  }
  try {
    return await checkFile(file, path);
  } finally {
    await file.close();
  }
}

async function prepareLockFile(path: string): Promise<void> {
  const file = await openIfThere(path);
  if (file !== undefined) return file.close();
  try {
    await writeFile(path, new Uint8Array(lockFileBytes), { flush: true });
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

/** A database that finds no room for its first pages would crash: so room is tried out. */
async function prepareNewFile(path: string): Promise<void> {
  const trial = join(path, 'room.tmp');
  try {
    await writeFile(trial, new Uint8Array(newFileBytesMax), { flush: true });
  } finally {
    await rm(trial, { force: true });
  }
}

async function checkFile(file: FileHandle, path: string): Promise<'remade' | 'whole'> {
  const { size } = await file.stat();
  const first = await readMeta(file, 0);
  const second = typeof first === 'object' ? await readMeta(file, first.pageBytes) : 'zeroes';
  if (typeof first === 'object' && typeof second === 'object') {
    await checkEnd(file, size, first.transaction > second.transaction ? first : second, path);
    return 'whole';
  }
  // Where the power failed while the database was being made, nothing was ever stored in it.
  const unused =
    typeof first === 'object'
      ? first.transaction === 0n && second === 'zeroes' && size <= 2 * first.pageBytes
      : size <= unusedFileBytesMax && (await isZeroes(file, 0, size));
  if (!unused) {
    throw new MeshError('corrupt', `${join(path, dataFileName)} is no database, or its first pages are damaged`);
  }
  await file.truncate(0);
  await prepareNewFile(path);
  return 'remade';
}

/**
 * Where the last page is not there, because it is not in use or because it is lost, every page that is in use is looked for: LMDB
 * ends the process where it comes upon zeroes. A file that is too short is filled with them, since beyond its end it would crash.
 */
async function checkEnd(file: FileHandle, size: number, meta: Meta, path: string): Promise<void> {
  const { pageBytes, trees } = meta;
  const lastPage = Number(meta.lastPage);
  const wholeBytes = (lastPage + 1) * pageBytes;
  if (size < wholeBytes || (await isZeroes(file, wholeBytes - pageBytes, pageBytes))) {
    const found = { fd: file.fd, lastPage, pageBytes, bytes: size };
    if (!trees.every((tree) => isWholeTree(found, tree))) {
      throw new MeshError('corrupt', `the end of ${join(path, dataFileName)} is missing`);
    }
  }
  // Last, since it hides what is missing.
  if (size < wholeBytes) await file.truncate(wholeBytes);
}

async function readMeta(file: FileHandle, position: number): Promise<Meta | 'zeroes' | 'damaged'> {
  const bytes = Buffer.alloc(metaBytes);
  const { bytesRead } = await file.read(bytes, 0, metaBytes, position);
  if (bytes.every((byte) => byte === 0)) return 'zeroes';
  const pageBytes = bytes.readUInt32LE(pageSizeOffset);
  const sound =
    bytesRead === metaBytes &&
    bytes.readUInt32LE(magicOffset) === magic &&
    (bytes.readUInt32LE(versionOffset) & 0xffff) === dataVersion &&
    pageBytes >= pageBytesMin &&
    pageBytes <= pageBytesMax;
  if (!sound) return 'damaged';
  return {
    pageBytes,
    trees: treeOffsets.map((at) => ({
      entries: bytes.readBigUInt64LE(at + treeEntriesOffset),
      root: bytes.readBigUInt64LE(at + treeRootOffset),
    })),
    lastPage: bytes.readBigUInt64LE(lastPageOffset),
    transaction: bytes.readBigUInt64LE(transactionOffset),
  };
}

async function isZeroes(file: FileHandle, position: number, length: number): Promise<boolean> {
  const bytes = Buffer.alloc(length);
  await file.read(bytes, 0, length, position);
  return bytes.every((byte) => byte === 0);
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r+');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** LMDB flushes the file and not the directory: without this, power loss could take a new database as a whole. */
export async function syncNewDatabase(path: string): Promise<void> {
  for (const directory of [path, dirname(path)]) await syncDirectory(directory);
}

/** Makes what was created in a directory survive power loss. */
export async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
