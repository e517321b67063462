import { defineConfig } from 'vitest/config';

const seconds = 1000;

interface ProjectOptions {
  readonly testTimeoutMs: number;
  readonly maxWorkers: number;
  readonly setupFiles?: string[];
  /** The files of the project share as many processes as there are workers, and what these have loaded. */
  readonly isShared?: true;
}

/** Tests that replace a module, or change what belongs to the whole process, have this ending. */
const isolatedTests = '**/*.isolated.test.ts';

// Limits are for a laptop with two busy cores; a test that comes near one of them is a test to mend.
const project = (kind: string, options: ProjectOptions) => ({
  test: {
    name: kind,
    include: [`test/${kind}/**/*.test.ts`],
    exclude: options.isShared ? [isolatedTests] : [],
    // Most files take longer to load the production code than to test it. What that code keeps in modules (parsed keys,
    // a counter for names) does not show in what it does: `--sequence.shuffle.files` runs the files in any order.
    isolate: !options.isShared,
    // Processes, not threads: the native addons (LMDB, BLAKE3) and child processes are then as in production.
    pool: 'forks' as const,
    maxWorkers: options.maxWorkers,
    testTimeout: options.testTimeoutMs,
    hookTimeout: options.testTimeoutMs,
    setupFiles: options.setupFiles ?? [],
    restoreMocks: true,
    // Projects with different worker counts have to run one after the other; the cheap ones go first.
    sequence: { groupOrder: options.maxWorkers === 1 ? 1 : 0 },
  },
});

/** The tests of a project that need a process for each file. */
const isolated = ({ test }: ReturnType<typeof project>) => ({
  test: { ...test, name: `${test.name}-isolated`, include: [`test/${test.name}/${isolatedTests}`] },
});

export default defineConfig({
  test: {
    passWithNoTests: true,
    watch: false,
    projects: [
      project('unit', { testTimeoutMs: 10 * seconds, maxWorkers: 2, isShared: true }),
      project('property', {
        testTimeoutMs: 60 * seconds,
        maxWorkers: 2,
        setupFiles: ['test/support/property-settings.ts'],
        isShared: true,
      }),
      project('contract', { testTimeoutMs: 30 * seconds, maxWorkers: 2, isShared: true }),
      isolated(project('unit', { testTimeoutMs: 10 * seconds, maxWorkers: 2 })),
      project('sim', { testTimeoutMs: 60 * seconds, maxWorkers: 2 }),
      // Each end-to-end test starts several node processes of its own: one test file at a time.
      project('e2e', { testTimeoutMs: 120 * seconds, maxWorkers: 1 }),
    ],
  },
});
