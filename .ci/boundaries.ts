import { globSync } from 'node:fs';
import path from 'node:path';
import { cruise, getAvailableTranspilers, type ICruiseResult, type IViolation } from 'dependency-cruiser';
import { importRules } from './import-rules.ts';

const inspectedFolders = ['crdt', 'protocols', 'src', 'test', 'examples', 'bench'];

export interface BoundaryReport {
  /** Broken rules, and reasons not to trust the check; none when all holds. */
  readonly problems: readonly string[];
  readonly modules: number;
  readonly imports: number;
}

/**
 * dependency-cruiser ends well when it can read nothing: with TypeScript 7 alone it skips every `.ts` file. So what it
 * says it read is compared with what is on the disk, and a project without one import is not believed.
 */
const untrusted = (onDisk: readonly string[], inspected: ReadonlySet<string>, imports: number): string[] => {
  const problems = onDisk
    .filter((file) => !inspected.has(file))
    .map((file) => `not-inspected: ${file}: the check did not read this file`);
  if (onDisk.length === 0) problems.push('not-inspected: there is not one TypeScript file here');
  if (imports === 0) problems.push('not-inspected: not one import was found, so the files were not understood');
  if (!getAvailableTranspilers().some(({ name, available }) => name === 'typescript' && available)) {
    problems.push('not-inspected: dependency-cruiser finds no TypeScript it can parse with (it needs one below 7)');
  }
  return problems;
};

const describe = ({ rule, from, to }: IViolation): string =>
  `${rule.name}: ${from} imports ${to}: ${importRules.find(({ name }) => name === rule.name)?.comment}`;

/** Inspects every import below `root`; a folder that is not there is skipped. */
export const checkBoundaries = async (root: string): Promise<BoundaryReport> => {
  const onDisk = globSync(`{${inspectedFolders.join(',')}}/**/*.ts`, { cwd: root });
  const folders = [...new Set(onDisk.map((file) => file.split(path.sep)[0] ?? ''))];
  const { output } = await cruise(folders, {
    baseDir: root,
    validate: true,
    ruleSet: { forbidden: [...importRules] },
    parser: 'tsc',
    tsPreCompilationDeps: true,
    doNotFollow: { path: '(^|/)node_modules/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
      extensions: ['.ts', '.mjs', '.js', '.json'],
    },
  });
  const { modules, summary } = output as ICruiseResult;
  const own = modules.filter(({ source }) => source.endsWith('.ts') && !source.includes('node_modules'));
  const imports = own.reduce((sum, { dependencies }) => sum + dependencies.length, 0);
  const inspected = new Set(own.map(({ source }) => path.normalize(source)));
  const problems = [...summary.violations.map(describe), ...untrusted(onDisk, inspected, imports)];
  return { problems, modules: own.length, imports };
};

if (import.meta.main) {
  const { problems, modules, imports } = await checkBoundaries(process.cwd());
  for (const problem of problems) console.error(problem);
  console.log(`${imports} imports of ${modules} modules inspected, ${problems.length} problems`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
