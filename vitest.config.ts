import { defineConfig } from 'vitest/config';

const seconds = 1000;

// Limits are for a laptop with two busy cores; a test that comes near one of them is a test to mend.
const project = (kind: string, options: { testTimeoutMs: number; maxWorkers: number; setupFiles?: string[] }) => ({
  test: {
    name: kind,
    include: [`test/${kind}/**/*.test.ts`],
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

export default defineConfig({
  test: {
    passWithNoTests: true,
    watch: false,
    projects: [
      project('unit', { testTimeoutMs: 10 * seconds, maxWorkers: 2 }),
      project('property', {
        testTimeoutMs: 60 * seconds,
        maxWorkers: 2,
        setupFiles: ['test/support/property-settings.ts'],
      }),
      project('contract', { testTimeoutMs: 30 * seconds, maxWorkers: 2 }),
      project('sim', { testTimeoutMs: 60 * seconds, maxWorkers: 2 }),
      // Each end-to-end test starts several node processes of its own: one test file at a time.
      project('e2e', { testTimeoutMs: 120 * seconds, maxWorkers: 1 }),
    ],
  },
});
