import { runSteps, type Step } from './runner.ts';

const vitest = (name: string, ...kinds: string[]): Step => ({
  name,
  command: ['vitest', 'run', ...kinds.flatMap((kind) => ['--project', kind])],
  countsTests: true,
});

/** What reads the code without running it, two at a time: the slowest first. */
const reading: readonly Step[] = [
  { name: 'unused', command: ['knip', '--no-progress'] },
  // By its path: TypeScript 6, which the import check parses with, has a program of the same name.
  { name: 'types', command: ['node_modules/@typescript/native/bin/tsc', '--project', 'tsconfig.json'] },
  { name: 'boundaries', command: ['node', '.ci/boundaries.ts'] },
  { name: 'format-and-lint', command: ['biome', 'check', '--error-on-warnings', '--max-diagnostics=50'] },
  { name: 'lockfile', command: ['node', '.ci/complete-lockfile.mjs', '--check'] },
];
const checked: readonly Step[] = [vitest('tests', 'unit', 'unit-isolated', 'property', 'contract')];
const simulated: readonly Step[] = [vitest('simulation', 'sim')];
const endToEnd: readonly Step[] = [vitest('end-to-end', 'e2e')];

const suites: Readonly<Record<string, readonly (readonly Step[])[]>> = {
  check: [reading, checked],
  test: [reading, checked, simulated, endToEnd],
};

const [suite = 'check', ...names] = process.argv.slice(2);
const groups = suites[suite] ?? [];
const known = groups.flat().map((step) => step.name);
const unknown = names.filter((name) => !known.includes(name));
if (groups.length === 0 || unknown.length > 0) {
  console.error(`usage: npm run check|test [-- ${known.length > 0 ? known.join('|') : 'STEP'} …]`);
  process.exit(2);
}
const picked = groups.map((group) => group.filter((step) => names.length === 0 || names.includes(step.name)));
process.exitCode = await runSteps(picked.filter((group) => group.length > 0));
