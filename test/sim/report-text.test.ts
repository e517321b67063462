import { expect, test } from 'vitest';
import { failureText, summaryText } from './report-text.ts';
import { type RunReport, runSeed } from './run-seed.ts';
import type { ScenarioName } from './scenarios.ts';
import type { RunRequest } from './worker.ts';

/** A disk that calls everything flushed: it does not take many runs to lose something. */
const fault = 'flush-nothing';

async function playUntilFailure(): Promise<{ report: RunReport; request: RunRequest }> {
  for (let seed = 1; seed <= 6; seed += 1) {
    const request = { scenario: 'default', seed, nodes: 5, fault } as const;
    const report = await runSeed(request);
    if (report.failure !== undefined) return { report, request };
  }
  throw new Error('no run failed');
}

let failing: ReturnType<typeof playUntilFailure> | undefined;
const failingRun = () => {
  failing ??= playUntilFailure();
  return failing;
};

/** The run that a command plays, as `run.ts` reads it. */
function requestOf(command: string): RunRequest {
  const value = (option: string): string => new RegExp(`--${option} (\\S+)`).exec(command)?.[1] ?? '';
  return { scenario: value('scenario') as ScenarioName, seed: Number(value('seed')), nodes: Number(value('nodes')) };
}

test('a failure says seed, scenario, its last events, and the command that plays it again', async () => {
  const { report, request } = await failingRun();
  const lines = failureText(report, request);
  expect(lines[0]).toBe(`✘ scenario default, seed ${request.seed}, 5 nodes, trace ${report.traceHash}`);
  const events = lines.slice(1, -2);
  expect(events.length).toBeGreaterThan(10);
  expect(events.join('\n')).toMatch(/^ +[0-9.]+ VIOLATION of /m);
  expect(lines.at(-2)).toContain(report.failure?.message.split('\n')[0]);
  const command = lines.at(-1) as string;
  expect(command).toMatch(/^ {2}replay: npm run sim -- .*--verbose$/);
  // The deliberate fault is the test's; the run is the same without being named one.
  const again = await runSeed({ ...requestOf(command), fault });
  expect(again.traceHash).toBe(report.traceHash);
  expect(failureText(report, request, { isVerbose: true })).toHaveLength(3);
});

test('a summary says runs, failures, virtual hours, faults by kind, writes and conflicts, and the trace of a single run', async () => {
  const { report } = await failingRun();
  const sound: RunReport = {
    seed: 9,
    traceHash: 'abc',
    events: 10,
    virtualMs: 7_200_000,
    faults: { crash: 2, wipe: 0, partition: 3 },
    acknowledged: 20,
    versions: 30,
    conflicts: 4,
  };
  expect(summaryText([sound], 1_500)).toEqual([
    '1 runs, 0 failed, 2.0 virtual hours, 5 faults injected, 20 writes acknowledged, 4 conflicts raised, 1.5 s',
    'faults: partition 3, crash 2',
    'trace abc, 10 events',
  ]);
  const [both, ...more] = summaryText([sound, report], 1_500);
  expect(both).toMatch(/^2 runs, 1 failed, 2\.0 virtual hours, /);
  expect(more).toHaveLength(1);
  expect(summaryText([], 0)).toEqual([
    '0 runs, 0 failed, 0.0 virtual hours, 0 faults injected, 0 writes acknowledged, 0 conflicts raised, 0.0 s',
    'faults: none',
  ]);
  expect(failureText(sound, { scenario: 'default', seed: 9, nodes: 5 })).toEqual([]);
});
