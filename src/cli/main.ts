#!/usr/bin/env node
import { enableCompileCache, findPackageJSON } from 'node:module';
import { dirname, join } from 'node:path';
import { boundedCommand } from '../young-generation.ts';

// Only a node runs for long. It is the same process all the while.
const bounded = process.argv[2] === 'serve' ? boundedCommand(process) : undefined;
if (bounded !== undefined) process.execve?.(bounded[0], bounded);
// What V8 made of the modules is kept in the package's own folder: half of a command's time, and of a node's start, is to
// load them. Where that folder cannot be written, nothing is kept.
const packageFile = findPackageJSON(import.meta.url);
if (packageFile !== undefined) enableCompileCache(join(dirname(packageFile), 'node_modules', '.cache', 'anabranch'));
const [{ processIo }, { runCli }] = await Promise.all([import('./output.ts'), import('./program.ts')]);

const io = processIo();
// A reader that went away (as `head` does) ends the command; the failed write itself says so where it matters.
io.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(1);
  throw error;
});
process.exitCode = await runCli(process.argv.slice(2), io);
