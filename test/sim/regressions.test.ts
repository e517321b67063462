import { expect, test } from 'vitest';
import regressions from './regressions.json' with { type: 'json' };
import { runSeed } from './run-seed.ts';
import type { ScenarioName } from './scenarios.ts';

/** Seeds that once failed. What they drew then may have changed since; the scripts in `scripts.test.ts` pin the causes. */
test.each(regressions)('$scenario, seed $seed: $found', async ({ scenario, seed, nodes }) => {
  const report = await runSeed({ scenario: scenario as ScenarioName, seed, nodes });
  expect(report.failure).toBeUndefined();
});
