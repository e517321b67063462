import { statfs } from 'node:fs/promises';
import { constants } from 'node:os';
import { MeshError } from '../../ports/mesh-error.ts';

/** Less room than this, and a failed write is put down to the full disk. */
const diskFullBelowBytes = 2 ** 20;

/**
 * Names what LMDB reports. On a full disk it may write a page in part and call that an input/output error, so
 * the device is asked how much room it has left.
 */
export async function writeError(cause: unknown, path: string, wantedBytes = 0): Promise<MeshError> {
  const known = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const full =
    known === constants.errno.ENOSPC ||
    known === 'ENOSPC' ||
    known === constants.errno.EDQUOT ||
    messageOf(cause).includes('MDB_MAP_FULL') ||
    (await freeBytes(path)) < Math.max(diskFullBelowBytes, wantedBytes);
  if (full) return new MeshError('disk_full', `no room to write in ${path}`, { cause });
  return readError(cause, path);
}

/** `corrupt` when the file is not a database or its pages make no sense, else `io_error`. */
export function readError(cause: unknown, path: string): MeshError {
  const message = messageOf(cause);
  if (/MDB_(INVALID|CORRUPTED|VERSION_MISMATCH|PAGE_NOTFOUND)/.test(message)) {
    return new MeshError('corrupt', `${path} holds no usable database: ${message}`, { cause });
  }
  return new MeshError('io_error', `the store in ${path} failed: ${message}`, { cause });
}

/** lmdb rejects with a general error whose `commitError` is a promise that rejects with the cause. */
export async function commitErrorOf(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error;
  return Promise.resolve(error.commitError).then(
    () => error,
    (cause) => cause,
  );
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

async function freeBytes(path: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
