import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(program: string, args: readonly string[]): Promise<Ended> {
  const path = fileURLToPath(new URL(`../../${program}`, import.meta.url));
  return new Promise((resolve) => {
    execFile(process.execPath, [path, ...args], (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

it.each([
  ['test/sim/run.ts', ['--bogus'], "Unknown option '--bogus'"],
  ['test/sim/run.ts', ['--seeds', '0'], "--seeds is a whole number from 1, and not '0'"],
  ['test/sim/run.ts', ['--scenario', 'none'], "there is no scenario 'none'"],
  ['bench/run.ts', ['--bogus'], "Unknown option '--bogus'"],
  ['bench/run.ts', ['none'], 'there is no benchmark none'],
  ['bench/run.ts', ['soak', '--minutes', '0'], "'0' is not a number of minutes"],
])('%s %j plays nothing, and says why and how it goes', async (program, args, words) => {
  const { code, stdout, stderr } = await run(program, args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toContain(words);
  expect(stderr).toContain('usage: npm run');
  expect(stderr).not.toMatch(/^ +at /m);
});

it.each(['test/sim/run.ts', 'bench/run.ts'])('%s --help says how it goes', async (program) => {
  const { code, stdout, stderr } = await run(program, ['--help']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(/^usage: npm run/);
});
