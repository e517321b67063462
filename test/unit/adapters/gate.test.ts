import { describe, expect, it } from 'vitest';
import { Gate } from '../../../src/adapters/files/gate.ts';

describe('a gate', () => {
  it('runs at most its width at once, in the order they came, and gives places back after failures', async () => {
    const gate = new Gate(3);
    const started: number[] = [];
    let inside = 0;
    const tasks = Array.from({ length: 20 }, (_, index) =>
      gate.run(async () => {
        started.push(index);
        inside++;
        expect(inside).toBeLessThanOrEqual(3);
        await new Promise((resolve) => setImmediate(resolve));
        inside--;
        if (index % 4 === 0) throw new Error(`task ${index}`);
        return index;
      }),
    );
    const results = await Promise.allSettled(tasks);
    expect(started).toEqual(Array.from({ length: 20 }, (_, index) => index));
    expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(5);
    expect(await gate.run(async () => 'again')).toBe('again');
  });
});
