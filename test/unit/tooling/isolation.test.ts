import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';

const project = path.resolve(import.meta.dirname, '../../..');
const ownEnding = '.isolated.test.ts';

/** What would be seen by the files that run after it in the same process, and what those before it could undo. */
const processWide = [
  /\bvi\.(mock|doMock|stubEnv|stubGlobal)\(/,
  /\bprocess\.chdir\(/,
  /\bprocess\.env(\.\w+|\[[^\]]+\]) = /,
  /\bdelete process\.env\b/,
];
const changesItsProcess = (source: string): boolean => processWide.some((pattern) => pattern.test(source));

test('a test that replaces a module or changes its process is one that has a process to itself', async () => {
  const shared = globSync('test/{unit,property,contract}/**/*.test.ts', { cwd: project }).filter(
    (file) => !file.endsWith(ownEnding),
  );
  expect(shared.length).toBeGreaterThan(100);
  const changing: string[] = [];
  for (const file of shared) {
    if (changesItsProcess(await readFile(path.join(project, file), 'utf8'))) changing.push(file);
  }
  expect(changing).toEqual([]);
});

test('a test with a process to itself is where a project runs it', () => {
  const isolated = globSync(`test/**/*${ownEnding}`, { cwd: project });
  expect(isolated.length).toBeGreaterThan(0);
  expect(isolated.filter((file) => !file.startsWith(path.join('test', 'unit')))).toEqual([]);
});

test.each([
  ['vi', ".mock(import('./signature.ts'));"],
  ['vi', ".stubGlobal('fetch', fetched);"],
  ['process', ".chdir('/');"],
  ['process', ".env.TZ = 'UTC';"],
  ['process', ".env['TZ'] = 'UTC';"],
  ['delete process', '.env.TZ;'],
])('%s%s is noticed', (subject, change) => {
  expect(changesItsProcess(`${subject}${change}`)).toBe(true);
});
