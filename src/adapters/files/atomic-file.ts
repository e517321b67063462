import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileError } from './file-error.ts';
import { directoryFlags, openFile } from './open-file.ts';

let sequence = 0;

/**
 * Replaces a file as a whole and durably: whoever reads it, before or after a power loss, finds the old content
 * or the new. The temporary file beside it is removed when something fails. Rejects with `MeshError` `disk_full`
 * or `io_error`.
 */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array,
  options: { readonly mode?: number } = {},
): Promise<void> {
  sequence++;
  const temporary = `${path}.${process.pid}-${sequence}.tmp`;
  try {
    const handle = await open(temporary, 'wx', options.mode ?? 0o600);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
    await syncDirectory(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw fileError(error, `write ${path}`, path);
  }
}

/** Makes the names in a directory survive power loss. Rejects with the system's error. */
export async function syncDirectory(
  path: string,
  files: { readonly open: typeof openFile } = { open: openFile },
): Promise<void> {
  const handle = await files.open(path, directoryFlags);
  try {
    await handle.sync();
  } finally {
    handle.close();
  }
}
