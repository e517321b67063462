import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { runSeed } from './run-seed.ts';
import { sweep } from './sweep.ts';

const request = { scenario: 'default', nodes: 5, operations: 100 } as const;

describe('the trace of a run', () => {
  it('is the same for the same seed, in this process and in another', { timeout: 300_000 }, async () => {
    const first = await runSeed({ ...request, seed: 3 });
    const second = await runSeed({ ...request, seed: 3 });
    const [third] = await sweep([{ ...request, seed: 3 }], { workers: 1 });
    expect(first.events).toBeGreaterThan(1_000);
    expect(second).toEqual(first);
    expect(third).toEqual(first);
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
