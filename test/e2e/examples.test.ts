import { execFile } from 'node:child_process';
import { globSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const project = path.resolve(import.meta.dirname, '../..');
const names = globSync('examples/*.ts', { cwd: project }).map((file) => path.basename(file, '.ts'));

test('there are examples of offline branches and of a node within a program', () => {
  expect(names).toEqual(expect.arrayContaining(['embed-node', 'offline-branches']));
});

test.each(names)('the example %s runs to its end', async (name) => {
  const command = ['.ci/example.ts', name];
  const { stdout } = await promisify(execFile)(process.execPath, command, { cwd: project, timeout: 60_000 });
  expect(stdout).not.toBe('');
});

test('an example that does not exist is refused with the names of those that do', async () => {
  const run = promisify(execFile)(process.execPath, ['.ci/example.ts', 'nothing'], { cwd: project });
  await expect(run).rejects.toMatchObject({ code: 2, stderr: `usage: npm run example -- ${names.sort().join('|')}\n` });
});
