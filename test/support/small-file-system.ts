import { execFile } from 'node:child_process';
import * as nodeFiles from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type BlobFiles, systemFiles } from '../../src/adapters/files/blob-store.ts';

const run = promisify(execFile);

export interface SmallFileSystem {
  readonly files: BlobFiles;
  /** Whether the disk is a real one or the faults are injected. */
  readonly kind: 'mounted' | 'injected';
  /** Makes room again. */
  enlarge(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Makes `directory` a file system of so many bytes: a real one where this process may mount, and otherwise file
 * operations that run out of room after as many bytes, half-way through a write as a real one does.
 */
export async function mountSmallFileSystem(directory: string, bytes: number): Promise<SmallFileSystem> {
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', directory]);
  } catch {
    return injectedSmallFileSystem(bytes);
  }
  return {
    files: systemFiles,
    kind: 'mounted',
    enlarge: async () => {
      await run('mount', ['-o', `remount,size=${bytes * 4}`, directory]);
    },
    close: async () => {
      await run('umount', [directory]);
    },
  };
}

/** Whether this process may mount file systems. */
export async function canMountFileSystems(): Promise<boolean> {
  const directory = await nodeFiles.mkdtemp(join(tmpdir(), 'anabranch-mount-'));
  const disk = await mountSmallFileSystem(directory, 2 ** 20);
  await disk.close();
  await nodeFiles.rm(directory, { recursive: true });
  return disk.kind === 'mounted';
}

/** File operations with room for so many bytes; a removed file gives none back. */
export function injectedSmallFileSystem(bytes: number): SmallFileSystem {
  let left = bytes;
  const open: BlobFiles['open'] = async (...how) => {
    const handle = await systemFiles.open(...how);
    const write = handle.write.bind(handle);
    const limited: typeof write = async (buffer, offset, length, position) => {
      if (left === 0) throw systemError('ENOSPC');
      const taken = Math.min(left, length);
      left -= taken;
      return write(buffer, offset, taken, position);
    };
    return Object.assign(handle, { write: limited });
  };
  return {
    files: { ...systemFiles, open },
    kind: 'injected',
    enlarge: async () => {
      left += bytes * 3;
    },
    close: async () => {},
  };
}

/** An error as a file operation gives it. */
export function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: as the test asked`), { code });
}
