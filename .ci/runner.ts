import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import path from 'node:path';

/** One thing that is checked: a program that ends with exit code 0 when all is well. */
export interface Step {
  /** What a person calls it; also what picks it on the command line. */
  readonly name: string;
  readonly command: readonly [program: string, ...programArguments: string[]];
  /** The program is Vitest: its tests are counted, and a run without any has failed. */
  readonly countsTests?: true;
}

interface Count {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface StepResult {
  readonly ok: boolean;
  readonly count: Count;
}

const noTests: Count = { passed: 0, failed: 0, skipped: 0 };
/** A step takes seconds or a few minutes; one that takes this long hangs. */
const stepDurationMsMax = 15 * 60 * 1000;
const killGraceMs = 5_000;

const running = new Set<ReturnType<typeof spawn>>();

/** Runs a program and resolves with its exit code and all that it printed. */
const runProgram = (command: Step['command']): Promise<{ code: number; output: string }> =>
  new Promise((resolve) => {
    const [program, ...programArguments] = command;
    const child = spawn(program, programArguments, { stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(child);
    const output: Buffer[] = [];
    child.stdout.on('data', (bytes: Buffer) => output.push(bytes));
    child.stderr.on('data', (bytes: Buffer) => output.push(bytes));
    let hung = false;
    const limit = setTimeout(() => {
      hung = true;
      child.kill('SIGTERM');
      setTimeout(() => child.kill('SIGKILL'), killGraceMs).unref();
    }, stepDurationMsMax);
    const finish = (code: number, lastLine: string) => {
      clearTimeout(limit);
      running.delete(child);
      resolve({ code, output: `${Buffer.concat(output).toString('utf8').trimEnd()}${lastLine}` });
    };
    child.on('error', (error) => finish(1, `\n${program} could not be started: ${error.message}`));
    child.on('close', (code) => {
      finish(hung ? 1 : (code ?? 1), hung ? `\nstopped: it ran longer than ${stepDurationMsMax / 60_000} minutes` : '');
    });
  });

interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly { readonly status: string; readonly assertionResults: readonly unknown[] }[];
}

/** The true number of tests. What broke outside a test (a file that does not load, a crash) counts as one failed. */
const readCount = async (reportFile: string, exitCode: number): Promise<Count> => {
  try {
    const report = JSON.parse(await readFile(reportFile, 'utf8')) as VitestReport;
    const broken = report.testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0);
    const failed = report.numFailedTests + broken.length;
    return {
      passed: report.numPassedTests,
      failed: failed === 0 && exitCode !== 0 ? 1 : failed,
      skipped: report.numPendingTests + report.numTodoTests,
    };
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
};

const runStep = async (step: Step, directory: string, nameWidth: number): Promise<StepResult> => {
  const startedAt = performance.now();
  const reportFile = path.join(directory, `${step.name}.json`);
  const reporters = ['--reporter=minimal', '--reporter=json', `--outputFile.json=${reportFile}`];
  const { code, output } = await runProgram(step.countsTests ? [...step.command, ...reporters] : step.command);
  const count = step.countsTests ? await readCount(reportFile, code) : noTests;
  const ok = code === 0 && (!step.countsTests || (count.passed > 0 && count.failed === 0));
  const seconds = `${((performance.now() - startedAt) / 1000).toFixed(1)} s`;
  const tests = step.countsTests ? `   ${count.passed} passed, ${count.failed} failed` : '';
  console.log(`${ok ? '✔' : '✘'} ${step.name.padEnd(nameWidth)} ${seconds.padStart(8)}${tests}`);
  if (!ok) console.log(`${output}\n(${step.command.join(' ')} ended with exit code ${code})\n`);
  return { ok, count };
};

/** Runs the steps of a group, `width` at a time, in their order. */
const runGroup = async <T>(steps: readonly Step[], width: number, run: (step: Step) => Promise<T>): Promise<T[]> => {
  const results: T[] = [];
  const queue = [...steps.entries()];
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) results[next[0]] = await run(next[1]);
  };
  await Promise.all(Array.from({ length: width }, worker));
  return results;
};

const stoppingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const stop = (signal: (typeof stoppingSignals)[number]): void => {
  for (const child of running) child.kill(signal);
  process.exit(128 + constants.signals[signal]);
};

/**
 * Runs every step, whatever fails before it: groups one after the other, two steps of a group at a time. Prints one
 * line a step and the whole output of those that failed. Resolves with the exit code.
 */
export const runSteps = async (groups: readonly (readonly Step[])[]): Promise<number> => {
  for (const signal of stoppingSignals) process.on(signal, stop);
  const nameWidth = Math.max(...groups.flat().map((step) => step.name.length));
  const directory = await mkdtemp(path.join(tmpdir(), 'anabranch-check-'));
  const failed: string[] = [];
  const total = { ...noTests };
  try {
    for (const group of groups) {
      const results = await runGroup(group, 2, (step) => runStep(step, directory, nameWidth));
      for (const [index, { ok, count }] of results.entries()) {
        if (!ok) failed.push(group[index]?.name ?? '');
        total.passed += count.passed;
        total.failed += count.failed;
        total.skipped += count.skipped;
      }
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
    for (const signal of stoppingSignals) process.off(signal, stop);
  }
  console.log(failed.length === 0 ? 'everything holds' : `does not hold: ${failed.join(', ')}`);
  if (groups.flat().some((step) => step.countsTests)) {
    const skipped = total.skipped === 0 ? '' : `, ${total.skipped} skipped`;
    console.log(`tests: ${total.passed} passed, ${total.failed} failed${skipped}`);
  }
  return failed.length === 0 ? 0 : 1;
};
