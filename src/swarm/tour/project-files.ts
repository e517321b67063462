import { execFile } from 'node:child_process';
import { glob, lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** The tour shows real files; it need not show all of a very large checkout. */
const filesMax = 500;
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

/** The project's own files in order of their paths: what git would commit, or all but the foreign folders. */
export async function listProjectFiles(root: string): Promise<ProjectFile[]> {
  const paths = (await listByGit(root)) ?? (await listByWalk(root));
  const files: ProjectFile[] = [];
  let totalBytes = 0;
  for (const path of paths.toSorted()) {
    const absolutePath = join(root, path);
    const stats = await lstat(absolutePath).catch(() => undefined);
    if (stats?.isFile() !== true || totalBytes + stats.size > totalBytesMax) continue;
    totalBytes += stats.size;
    files.push({ path, absolutePath, size: stats.size });
    if (files.length >= filesMax) break;
  }
  return files;
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
