import { lockDirectory } from '../../src/adapters/files/directory-lock.ts';

// Run as a process of its own: holds the directory's lock until it is killed or its input ends.
const [directory = ''] = process.argv.slice(2);
try {
  await lockDirectory(directory);
  // Nobody keeps the handle: the lock has to outlive a collection (started with --expose-gc).
  for (let round = 0; round < 3; round++) {
    global.gc?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
  process.stdout.write('locked\n');
} catch (error) {
  process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
}
process.stdin.resume();
