import { parseArgs } from 'node:util';
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

const replayOf = ({ scenario, seed, nodes, operations }: RunRequest): string =>
  `npm run sim -- --scenario ${scenario} --seed ${seed} --nodes ${nodes}${
    operations === undefined ? '' : ` --operations ${operations}`
  } --verbose`;

const explain = ({ failure, traceHash, virtualMs }: RunReport, request: RunRequest): void => {
  if (failure === undefined) return;
  console.log(`\n✘ scenario ${request.scenario}, seed ${request.seed}, ${request.nodes} nodes, trace ${traceHash}`);
  if (!options.verbose) for (const line of failure.tail) console.log(`  ${line}`);
  console.log(`  after ${(virtualMs / 1_000).toFixed(1)} s: ${failure.message}`);
  console.log(`  replay: ${replayOf(request)}`);
};

const summarise = (reports: readonly RunReport[], elapsedMs: number): void => {
  const sum = (of: (report: RunReport) => number): number => reports.reduce((total, report) => total + of(report), 0);
  const failed = reports.filter((report) => report.failure !== undefined).length;
  const kinds = new Map<string, number>();
  for (const { faults } of reports)
    for (const [kind, count] of Object.entries(faults)) kinds.set(kind, (kinds.get(kind) ?? 0) + count);
  const faults = [...kinds.values()].reduce((total, count) => total + count, 0);
  console.log(
    [
      `${reports.length} runs`,
      `${failed} failed`,
      `${(sum((report) => report.virtualMs) / 3_600_000).toFixed(1)} virtual hours`,
      `${faults} faults injected`,
      `${sum((report) => report.acknowledged)} writes acknowledged`,
      `${sum((report) => report.conflicts)} conflicts raised`,
      `${(elapsedMs / 1_000).toFixed(1)} s`,
    ].join(', '),
  );
  const byCount = [...kinds].filter(([, count]) => count > 0).sort(([, left], [, right]) => right - left);
  console.log(`faults: ${byCount.map(([kind, count]) => `${kind} ${count}`).join(', ')}`);
  if (reports.length === 1) console.log(`trace ${reports[0]?.traceHash}, ${reports[0]?.events} events`);
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
let reports: RunReport[];
const [only] = requests;
if (options.verbose && only !== undefined) {
  // In this process, so that events are shown as they happen.
  reports = [await runSeed({ ...only, onLine: (line) => console.log(line) })];
  for (const report of reports) explain(report, only);
} else {
  reports = await sweep(requests, {
    onReport: explain,
    stopAtFailure: !options['keep-going'],
    ...(options.workers === undefined ? {} : { workers: number('workers', 2) }),
  });
}
summarise(reports, performance.now() - startedMs);
process.exitCode = reports.some((report) => report.failure !== undefined) ? 1 : 0;
