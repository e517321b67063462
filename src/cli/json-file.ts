import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Cli } from './cli.ts';
import { UsageError } from './errors.ts';

/** Reads JSON from a file, or from standard input for `-`. */
export async function readJson(cli: Cli, file: string, hint = ''): Promise<unknown> {
  const text =
    file === '-'
      ? Buffer.concat(await cli.io.stdin.toArray()).toString()
      : await readFile(resolve(cli.io.cwd, file), 'utf8');
  try {
    return JSON.parse(text);
  } catch {
    throw new UsageError(`${file} is not JSON${hint}`);
  }
}
