import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { type RunReport, runSeed } from './run-seed.ts';
import { type ScenarioName, scenarios } from './scenarios.ts';
import { sweep } from './sweep.ts';

const request = { scenario: 'default', nodes: 5, operations: 100 } as const;

describe('the trace of a run', () => {
  it('is the same for the same seed', { timeout: 300_000 }, async () => {
    const first = await runSeed({ ...request, seed: 3 });
    const second = await runSeed({ ...request, seed: 3 });
    expect(first.events).toBeGreaterThan(1_000);
    expect(second).toEqual(first);
  });

  it('is the same in another process in every scenario', { timeout: 300_000 }, async () => {
    const requests = (Object.keys(scenarios) as ScenarioName[]).map((scenario) => {
      return { scenario, seed: 3, nodes: 5, operations: 10 };
    });
    const elsewhere = sweep(requests, { workers: 1 });
    const here: RunReport[] = [];
    for (const each of requests) here.push(await runSeed(each));
    expect(await elsewhere).toEqual(here);
  });

  it('is another for another seed', { timeout: 300_000 }, async () => {
    const hashes = await Promise.all([4, 5].map(async (seed) => (await runSeed({ ...request, seed })).traceHash));
    expect(new Set(hashes).size).toBe(2);
  });
});

describe('the randomness of a run', () => {
  it('has streams that no draw elsewhere disturbs', () => {
    const drawn = (before: number): number[] => {
      const root = new SeededRandom('seed');
      const other = root.split('network');
      for (let left = before; left > 0; left -= 1) {
        other.fraction();
        root.fraction();
      }
      const workload = root.split('workload');
      return [workload.fraction(), workload.fraction()];
    };
    expect(drawn(5)).toEqual(drawn(0));
  });
});
