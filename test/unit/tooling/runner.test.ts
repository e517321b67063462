import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { runSteps, type Step } from '../../../.ci/runner.ts';

let printed: string[];

beforeEach(() => {
  printed = [];
  vi.spyOn(console, 'log').mockImplementation((text: string) => {
    printed.push(text);
  });
});

afterEach(() => {
  vi.restoreAllMocks();
});

const program = (name: string, code: string): Step => ({ name, command: [process.execPath, '--eval', code] });

interface FakeFile {
  readonly status: string;
  readonly assertionResults: readonly unknown[];
}

/** Stands in for Vitest: writes the report that it would, and ends with this exit code. */
const tests = (name: string, counts: Readonly<Record<string, number>>, code: number, files: FakeFile[] = []): Step => {
  const all = { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0, testResults: files };
  const report = JSON.stringify({ ...all, ...counts });
  const write = `
    const file = process.argv.find((word) => word.startsWith('--outputFile.json=')).split('=')[1];
    require('node:fs').writeFileSync(file, ${JSON.stringify(report)});
    process.exit(${code});`;
  return { name, command: [process.execPath, '--eval', write, '--'], countsTests: true };
};

test('closes with the number of tests of all steps', async () => {
  const code = await runSteps([[tests('unit', { numPassedTests: 7 }, 0)], [tests('e2e', { numPassedTests: 5 }, 0)]]);
  expect(code).toBe(0);
  expect(printed.at(-1)).toBe('tests: 12 passed, 0 failed');
});

test('says nothing but the name and the time of a step that holds', async () => {
  await runSteps([[program('types', "console.log('chatter')")]]);
  expect(printed).toEqual([expect.stringMatching(/^✔ types {2,}\d+\.\d s$/), 'everything holds']);
});

test('shows the whole output of a step that fails, runs the others all the same, and ends with 1', async () => {
  const broken = program('types', "console.log('line one'); console.error('line two'); process.exit(4)");
  const code = await runSteps([[broken], [tests('unit', { numPassedTests: 3 }, 0)]]);
  expect(code).toBe(1);
  expect(printed.join('\n')).toContain('line one\nline two');
  expect(printed.slice(-2)).toEqual(['does not hold: types', 'tests: 3 passed, 0 failed']);
});

test('counts a test file that broke before its first test as a failed test', async () => {
  const files = [{ status: 'failed', assertionResults: [] }];
  expect(await runSteps([[tests('unit', { numPassedTests: 3, numPendingTests: 1 }, 1, files)]])).toBe(1);
  expect(printed.at(-1)).toBe('tests: 3 passed, 1 failed, 1 skipped');
});

test('counts a crash between the tests as a failed test', async () => {
  expect(await runSteps([[tests('unit', { numPassedTests: 3 }, 1)]])).toBe(1);
  expect(printed.at(-1)).toBe('tests: 3 passed, 1 failed');
});

test('does not believe a test run without a test, or without a report', async () => {
  expect(await runSteps([[tests('unit', {}, 0)]])).toBe(1);
  expect(await runSteps([[{ ...program('unit', ''), countsTests: true }]])).toBe(1);
  expect(printed.at(-1)).toBe('tests: 0 passed, 1 failed');
});

test('says so when a program is not there', async () => {
  expect(await runSteps([[{ name: 'types', command: ['no-such-program-here'] }]])).toBe(1);
  expect(printed.join('\n')).toContain('no-such-program-here could not be started');
});
