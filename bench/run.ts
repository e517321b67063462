import { parseArgs } from 'node:util';
import { benchCatchup } from './catchup/catchup.ts';
import { benchCommits } from './commits/commits.ts';
import { benchConfirm } from './confirm/confirm.ts';
import { benchEdit } from './edit/edit.ts';
import { benchIngest } from './ingest/ingest.ts';
import { benchInterference } from './interference/interference.ts';
import { benchMemory } from './memory/memory.ts';
import { benchPlacement } from './placement/placement.ts';
import { benchPropagation } from './propagation/propagation.ts';
import { benchRepair } from './repair/repair.ts';
import { benchReplicate } from './replicate/replicate.ts';
import { benchSmall } from './small/small.ts';
import { benchSoak } from './soak/soak.ts';
import { benchStart } from './start/start.ts';
import { type BenchCase, table } from './support/cases.ts';
import { benchSync } from './sync/sync.ts';
import { benchTour } from './tour/tour.ts';

interface BenchOptions {
  /** Does the cases that take many minutes as well. */
  readonly large: boolean;
  /** Says where the time of a write goes as well. */
  readonly profile: boolean;
  /** How long a soak lasts. */
  readonly minutes: number;
}

/** Each is handed a function to say what it is doing, and resolves with its figures. */
const benches: Readonly<Record<string, (say: (text: string) => void, options: BenchOptions) => Promise<BenchCase[]>>> =
  {
    ingest: benchIngest,
    replicate: benchReplicate,
    commits: benchCommits,
    confirm: benchConfirm,
    memory: benchMemory,
    start: benchStart,
    sync: benchSync,
    catchup: benchCatchup,
    propagation: benchPropagation,
    soak: benchSoak,
    placement: benchPlacement,
    edit: benchEdit,
    small: benchSmall,
    repair: benchRepair,
    interference: benchInterference,
    tour: benchTour,
  };
/** Runs for minutes, so it is no part of `all`. */
const notInAll = new Set(['soak']);

const usage = `usage: npm run bench -- <${Object.keys(benches).join('|')}|all> [--json] [--large] [--profile] [--minutes N]`;

function refuse(fault?: string): never {
  if (fault !== undefined) console.error(fault);
  console.error(usage);
  process.exit(2);
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        json: { type: 'boolean', default: false },
        large: { type: 'boolean', default: false },
        profile: { type: 'boolean', default: false },
        minutes: { type: 'string', default: '10' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    return refuse((error as Error).message);
  }
}

const { values, positionals } = readArguments();
if (values.help) {
  console.log(usage);
  process.exit(0);
}
const names =
  positionals.length === 0
    ? []
    : positionals[0] === 'all'
      ? Object.keys(benches).filter((name) => !notInAll.has(name))
      : positionals;
const unknown = names.filter((name) => !Object.hasOwn(benches, name));
if (unknown.length > 0) refuse(`there is no benchmark ${unknown.join(', ')}`);
if (names.length === 0) refuse();
const options: BenchOptions = { large: values.large, profile: values.profile, minutes: Number(values.minutes) };
if (!(options.minutes > 0)) refuse(`'${values.minutes}' is not a number of minutes`);

let missed = false;
for (const name of names) {
  const cases = (await benches[name]?.((text) => console.error(`${name}: ${text}`), options)) ?? [];
  if (values.json) for (const row of cases) console.log(JSON.stringify(row));
  else console.log(table(cases));
  missed ||= cases.some((row) => row.pass === false);
}
process.exitCode = missed ? 1 : 0;
