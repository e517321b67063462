import { parseArgs } from 'node:util';
import { benchCommits } from './commits/commits.ts';
import { benchIngest } from './ingest/ingest.ts';
import { benchMemory } from './memory/memory.ts';
import { benchReplicate } from './replicate/replicate.ts';
import { benchStart } from './start/start.ts';
import { type BenchCase, table } from './support/cases.ts';

/** Each is handed a function to say what it is doing, and resolves with its figures. */
const benches: Readonly<Record<string, (say: (text: string) => void) => Promise<BenchCase[]>>> = {
  ingest: benchIngest,
  replicate: benchReplicate,
  commits: benchCommits,
  memory: benchMemory,
  start: benchStart,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false } },
});
const names = positionals.length === 0 ? [] : positionals[0] === 'all' ? Object.keys(benches) : positionals;
const unknown = names.filter((name) => benches[name] === undefined);
if (names.length === 0 || unknown.length > 0) {
  if (unknown.length > 0) console.error(`there is no benchmark ${unknown.join(', ')}`);
  console.error(`usage: npm run bench -- <${Object.keys(benches).join('|')}|all> [--json]`);
  process.exit(2);
}

let missed = false;
for (const name of names) {
  const cases = (await benches[name]?.((text) => console.error(`${name}: ${text}`))) ?? [];
  if (values.json) for (const row of cases) console.log(JSON.stringify(row));
  else console.log(table(cases));
  missed ||= cases.some((row) => row.pass === false);
}
process.exitCode = missed ? 1 : 0;
