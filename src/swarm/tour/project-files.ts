import { execFile } from 'node:child_process';
import { glob, lstat } from 'node:fs/promises';
import { basename, join, posix } from 'node:path';
import { promisify } from 'node:util';
import { nodeDirectoryPaths } from '../../node-directory.ts';

/** The tour shows real files; it need not show all of a very large checkout. */
export const projectFilesMax = 500;
const totalBytesMax = 32 * 1024 * 1024;
const listingBytesMax = 16 * 1024 * 1024;
/** Where there is no git to say what belongs to the project. */
const foreign = new Set(['node_modules', '.git', 'dist', 'coverage', '.swarm']);

export interface ProjectFile {
  /** Relative to the project's folder, with `/` between its parts. */
  readonly path: string;
  readonly absolutePath: string;
  readonly size: number;
}

/** The first of the project's own files, by their paths: what git would commit, or all but the foreign folders. */
export async function listProjectFiles(root: string): Promise<ProjectFile[]> {
  const paths = (await listByGit(root)) ?? (await listByWalk(root));
  const files: ProjectFile[] = [];
  let totalBytes = 0;
  for (const path of withoutNodes(paths).toSorted()) {
    const absolutePath = join(root, path);
    const stats = await lstat(absolutePath).catch(() => undefined);
    if (stats?.isFile() !== true || totalBytes + stats.size > totalBytesMax) continue;
    totalBytes += stats.size;
    files.push({ path, absolutePath, size: stats.size });
    if (files.length >= projectFilesMax) break;
  }
  return files;
}

/** Without the folders of nodes that were made here: a key and a token are nothing to show around. */
function withoutNodes(paths: readonly string[]): string[] {
  const keyName = basename(nodeDirectoryPaths('').identityFile);
  const folders = paths.filter((path) => posix.basename(path) === keyName).map((path) => `${posix.dirname(path)}/`);
  return paths.filter((path) => !folders.some((folder) => path.startsWith(folder)));
}

async function listByGit(root: string): Promise<string[] | undefined> {
  try {
    const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
    const { stdout } = await promisify(execFile)('git', args, { cwd: root, maxBuffer: listingBytesMax });
    const paths = stdout.split('\0').filter((path) => path !== '');
    return paths.length > 0 ? [...new Set(paths)] : undefined;
  } catch {
    return undefined;
  }
}

async function listByWalk(root: string): Promise<string[]> {
  const paths: string[] = [];
  const exclude = (entry: string | { readonly name: string }): boolean =>
    foreign.has(typeof entry === 'string' ? (entry.split(/[\\/]/).at(-1) ?? '') : entry.name);
  for await (const path of glob('**/*', { cwd: root, exclude })) paths.push(path.replaceAll('\\', '/'));
  return paths;
}
