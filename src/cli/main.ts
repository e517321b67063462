#!/usr/bin/env node
import { processIo } from './output.ts';
import { runCli } from './program.ts';

const io = processIo();
// A reader that went away (as `head` does) ends the command; the failed write itself says so where it matters.
io.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(1);
  throw error;
});
process.exitCode = await runCli(process.argv.slice(2), io);
