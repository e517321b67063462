import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes a directory, and those it lies in, when they are not there; `mode` is that of each. Node's own `recursive` does not
 * end where a file system answers ENOENT to every new directory, as `/proc` does: here that is an error.
 */
export async function makeDirectory(path: string, mode = 0o777): Promise<void> {
  if (await isMade(path, mode)) return;
  const parent = dirname(path);
  if (parent !== path) await makeDirectory(parent, mode);
  if (await isMade(path, mode)) return;
  // What was missing is there now, so this says what is really wrong.
  await mkdir(path, mode);
}

/** False when what it is to lie in is missing. */
async function isMade(path: string, mode: number): Promise<boolean> {
  try {
    await mkdir(path, mode);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return false;
    if (await isDirectory(path)) return true;
    throw error;
  }
}

/** Asked after any refusal: a read-only file system or a drive's root refuses what is there with a code of its own. */
async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
