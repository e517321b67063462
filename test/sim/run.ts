import { parseArgs } from 'node:util';
import { failureText, summaryText } from './report-text.ts';
import { type RunReport, runSeed } from './run-seed.ts';
import { type ScenarioName, scenarios } from './scenarios.ts';
import { sweep } from './sweep.ts';
import type { RunRequest } from './worker.ts';

const usage = `usage: npm run sim -- [--seeds COUNT] [--seed FIRST] [--scenario NAME|all] [--nodes COUNT]
                      [--operations COUNT] [--workers COUNT] [--keep-going] [--verbose]

Plays runs of the whole mesh on virtual time. With --seed alone plays that one run; --verbose shows its events.

scenarios:
${Object.entries(scenarios)
  .map(([name, { about }]) => `  ${name.padEnd(12)} ${about}`)
  .join('\n')}`;

function refuse(fault: string): never {
  console.error(`${fault}\n\n${usage}`);
  process.exit(2);
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        seeds: { type: 'string' },
        seed: { type: 'string' },
        scenario: { type: 'string', default: 'default' },
        nodes: { type: 'string', default: '5' },
        operations: { type: 'string' },
        workers: { type: 'string' },
        'keep-going': { type: 'boolean', default: false },
        verbose: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    return refuse((error as Error).message);
  }
}

const options = readOptions();

/** A run of nothing would be a check that cannot fail. */
const number = (name: 'seeds' | 'seed' | 'nodes' | 'operations' | 'workers', fallback: number): number => {
  const text = options[name];
  const value = text === undefined ? fallback : Number(text);
  const min = name === 'seed' ? 0 : 1;
  if (Number.isSafeInteger(value) && value >= min) return value;
  return refuse(`--${name} is a whole number from ${min}, and not '${text}'`);
};

if (options.help) {
  console.log(usage);
  process.exit(0);
}
if (options.scenario !== 'all' && !Object.hasOwn(scenarios, options.scenario)) {
  refuse(`there is no scenario '${options.scenario}'`);
}
const names =
  options.scenario === 'all' ? (Object.keys(scenarios) as ScenarioName[]) : [options.scenario as ScenarioName];
const first = number('seed', 1);
const count = number('seeds', options.seed === undefined ? 100 : 1);
const requests: RunRequest[] = names.flatMap((scenario) =>
  Array.from({ length: count }, (_, index) => ({
    scenario,
    seed: first + index,
    nodes: number('nodes', 5),
    ...(options.operations === undefined ? {} : { operations: number('operations', 200) }),
  })),
);

const startedMs = performance.now();
const reports: RunReport[] = [];
const onReport = (report: RunReport, request: RunRequest): void => {
  reports.push(report);
  const lines = failureText(report, request, { isVerbose: options.verbose });
  if (lines.length > 0) console.log(['', ...lines].join('\n'));
};
const summarise = (): void => console.log(summaryText(reports, performance.now() - startedMs).join('\n'));
// A long sweep that is cut short has played what it has played.
for (const [signal, number] of [
  ['SIGINT', 2],
  ['SIGTERM', 15],
] as const) {
  process.once(signal, () => {
    summarise();
    process.exit(128 + number);
  });
}
const [only] = requests;
if (options.verbose && only !== undefined) {
  // In this process, so that events are shown as they happen.
  onReport(await runSeed({ ...only, onLine: (line) => console.log(line) }), only);
} else {
  await sweep(requests, {
    onReport,
    stopAtFailure: !options['keep-going'],
    ...(options.workers === undefined ? {} : { workers: number('workers', 2) }),
  });
}
summarise();
process.exitCode = reports.some((report) => report.failure !== undefined) ? 1 : 0;
