import { expect, test } from 'vitest';
import { type ScenarioName, scenarios } from './scenarios.ts';
import { sweep } from './sweep.ts';
import type { RunRequest } from './worker.ts';

const defaultSeeds = 16;
const otherSeeds = 2;

test('every invariant holds through a short sweep of every scenario', { timeout: 600_000 }, async () => {
  const requests = (Object.keys(scenarios) as ScenarioName[]).flatMap((scenario): RunRequest[] =>
    Array.from({ length: scenario === 'default' ? defaultSeeds : otherSeeds }, (_, index) => ({
      scenario,
      seed: index + 1,
      nodes: 5,
    })),
  );
  const reports = await sweep(requests);
  expect(reports.flatMap((report) => report.failure ?? [])).toEqual([]);
  expect(reports).toHaveLength(requests.length);
});
