import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';

describe('the virtual clock', () => {
  it('starts at the same time in every run, or where it is told', () => {
    expect(new VirtualClock().nowMs()).toBe(new VirtualClock().nowMs());
    expect(new VirtualClock({ startMs: 5_000 }).nowMs()).toBe(5_000);
    expect(new VirtualClock({ startMs: 5_000 }).monotonicMs()).toBe(0);
  });

  it('shows each timer the time it was set for', async () => {
    const clock = new VirtualClock();
    const seen: number[] = [];
    for (const delayMs of [250, 10, 100]) clock.setTimer(delayMs, () => seen.push(clock.monotonicMs()));
    await clock.advance(1_000);
    expect(seen).toEqual([10, 100, 250]);
    expect(clock.monotonicMs()).toBe(1_000);
  });

  it.each([false, true])(
    'lets all that a timer set in motion come to rest before the next one fires (without I/O: %s)',
    async (withoutIo) => {
      const clock = new VirtualClock({ withoutIo });
      const story: string[] = [];
      const work = async (name: string): Promise<void> => {
        for (let step = 1; step <= 50; step++) {
          await null;
          if (step % 25 === 0) story.push(`${name}${step}`);
        }
        await clock.sleep(0);
        story.push(`${name} slept`);
      };
      clock.setTimer(10, () => void work('a'));
      clock.setTimer(10, () => void work('b'));
      await clock.advance(10);
      expect(story).toEqual(['a25', 'a50', 'b25', 'b50', 'a slept', 'b slept']);
    },
  );

  it.each([1, 2, 31, 200])(
    'runs until a condition holds, and no further, after %s timers without I/O',
    async (count) => {
      const clock = new VirtualClock({ withoutIo: true });
      const fired: number[] = [];
      for (let delayMs = 1; delayMs <= 250; delayMs++) clock.setTimer(delayMs, () => fired.push(delayMs));
      await clock.runUntil(() => fired.length === count, 1_000);
      expect(fired).toHaveLength(count);
      expect(clock.monotonicMs()).toBe(count);
      expect(clock.pendingTimers).toBe(250 - count);
    },
  );

  it('looks at input and output between any two timers unless there is none', async () => {
    const goesRound = async (withoutIo: boolean): Promise<number> => {
      const clock = new VirtualClock({ withoutIo });
      let rounds = 0;
      let isOver = false;
      const count = (): void => {
        rounds += 1;
        if (!isOver) setImmediate(count);
      };
      setImmediate(count);
      for (let delayMs = 1; delayMs <= 100; delayMs++) clock.setTimer(delayMs, () => undefined);
      await clock.advance(100);
      isOver = true;
      return rounds;
    };
    expect(await goesRound(false)).toBeGreaterThanOrEqual(100);
    expect(await goesRound(true)).toBeLessThan(20);
  });

  it('ends a wait with what a timer throws', async () => {
    const clock = new VirtualClock();
    clock.setTimer(1, () => {
      throw new Error('the timer failed');
    });
    await expect(clock.advance(10)).rejects.toThrow('the timer failed');
    await clock.advance(10);
  });

  it('runs until a condition holds, and no further', async () => {
    const clock = new VirtualClock();
    const fired: number[] = [];
    for (const delayMs of [1, 2, 3]) clock.setTimer(delayMs, () => fired.push(delayMs));
    await clock.runUntil(() => fired.length === 2, 1_000);
    expect(fired).toEqual([1, 2]);
    expect(clock.monotonicMs()).toBe(2);
    expect(clock.pendingTimers).toBe(1);
  });

  it('says so when a condition does not come true in time', async () => {
    const clock = new VirtualClock();
    clock.setTimer(101, () => {});
    await expect(clock.runUntil(() => false, 100)).rejects.toThrow(/within 100 ms/);
    expect(clock.pendingTimers).toBe(1);
  });

  it('runs a promise to its end and hands on how it ended', async () => {
    const clock = new VirtualClock();
    const slow = async (): Promise<string> => {
      for (let round = 0; round < 5; round++) await clock.sleep(1_000);
      return 'done';
    };
    expect(await clock.run(slow(), 10_000)).toBe('done');
    expect(clock.monotonicMs()).toBe(5_000);
    const failing = clock.sleep(10).then(() => Promise.reject(new Error('failed')));
    await expect(clock.run(failing, 100)).rejects.toThrow('failed');
    await expect(clock.run(new Promise(() => {}), 100)).rejects.toThrow(/within 100 ms/);
  });

  it('jumps on the wall without moving anything else', async () => {
    const clock = new VirtualClock({ startMs: 1_000_000 });
    let fired = 0;
    clock.setTimer(100, () => fired++);
    clock.jumpWallClock(-500_000);
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([500_000, 0]);
    clock.jumpWallClock(3_600_000);
    expect([clock.nowMs(), clock.monotonicMs(), fired]).toEqual([4_100_000, 0, 0]);
    await clock.advance(100);
    expect([clock.nowMs(), clock.monotonicMs(), fired]).toEqual([4_100_100, 100, 1]);
  });

  it('passes on what a timer threw, and goes on with the next', async () => {
    const clock = new VirtualClock();
    let fired = 0;
    clock.setTimer(1, () => {
      throw new Error('a bug');
    });
    clock.setTimer(2, () => fired++);
    await expect(clock.advance(5)).rejects.toThrow('a bug');
    await clock.advance(5);
    expect(fired).toBe(1);
  });

  it('keeps thousands of timers in order, many of them cancelled', async () => {
    const clock = new VirtualClock();
    const fired: number[] = [];
    const expected: number[] = [];
    for (let index = 0; index < 5_000; index++) {
      const delayMs = (index * 7_919) % 1_000;
      const cancel = clock.setTimer(delayMs, () => fired.push(delayMs * 10_000 + index));
      if (index % 5 === 0) expected.push(delayMs * 10_000 + index);
      else cancel();
    }
    expect(clock.pendingTimers).toBe(1_000);
    await clock.advance(1_000);
    expect(fired).toEqual(expected.sort((a, b) => a - b));
    expect(clock.pendingTimers).toBe(0);
  });

  it('stops a program that sets timers for now without end', async () => {
    const clock = new VirtualClock();
    const again = (): void => {
      clock.setTimer(0, again);
    };
    again();
    await expect(clock.advance(1)).rejects.toThrow(/time cannot pass/);
  });
});
