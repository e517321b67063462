import { getEventListeners } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import type { Clock } from '../../src/ports/clock.ts';

/** What the suite asks of an adapter: a clock, and a way to let time pass without waiting for it. */
export interface ClockHarness {
  readonly clock: Clock;
  /** Lets so much time pass; resolves when everything that fell due has run. */
  pass(ms: number): Promise<void>;
  close(): void;
}

/** The promises of `src/ports/clock.ts`, for every adapter. */
export function clockContract(name: string, create: () => ClockHarness): void {
  describe(`Clock: ${name}`, () => {
    let harness: ClockHarness | undefined;
    const open = (): ClockHarness => {
      harness = create();
      return harness;
    };
    afterEach(() => {
      harness?.close();
      harness = undefined;
    });

    describe('timers', () => timerClaims(open));
    describe('sleep', () => sleepClaims(open));

    it('counts the milliseconds that pass, on the wall and since the start', async () => {
      const { clock, pass } = open();
      const [wall, start] = [clock.nowMs(), clock.monotonicMs()];
      expect(wall).toBeGreaterThan(Date.UTC(2020, 0));
      expect(Number.isInteger(wall)).toBe(true);
      await pass(1_500);
      expect(clock.nowMs() - wall).toBe(1_500);
      expect(clock.monotonicMs() - start).toBeCloseTo(1_500);
    });
  });
}

function timerClaims(open: () => ClockHarness): void {
  it('fires a timer once, when its time has come and not before', async () => {
    const { clock, pass } = open();
    let fired = 0;
    clock.setTimer(100, () => fired++);
    await pass(99);
    expect(fired).toBe(0);
    await pass(1);
    expect(fired).toBe(1);
    await pass(1_000);
    expect(fired).toBe(1);
  });

  it('fires timers in the order of their times, and of their setting where those are equal', async () => {
    const { clock, pass } = open();
    const fired: string[] = [];
    for (const [label, delayMs] of [
      ['late', 30],
      ['early', 10],
      ['middle', 20],
      ['middle again', 20],
      ['early again', 10],
    ] as const) {
      clock.setTimer(delayMs, () => fired.push(label));
    }
    await pass(50);
    expect(fired).toEqual(['early', 'early again', 'middle', 'middle again', 'late']);
  });

  it('never fires within the call that sets it, whatever the delay', async () => {
    const { clock, pass } = open();
    const fired: number[] = [];
    for (const delayMs of [0, -5, Number.NEGATIVE_INFINITY]) clock.setTimer(delayMs, () => fired.push(delayMs));
    expect(fired).toEqual([]);
    await pass(1);
    expect(fired).toEqual([0, -5, Number.NEGATIVE_INFINITY]);
  });

  it('never fires a cancelled timer, and takes a second or a late cancellation', async () => {
    const { clock, pass } = open();
    const fired: string[] = [];
    const cancel = clock.setTimer(10, () => fired.push('cancelled'));
    const tooLate = clock.setTimer(10, () => fired.push('fired'));
    cancel();
    cancel();
    await pass(10);
    tooLate();
    await pass(10);
    expect(fired).toEqual(['fired']);
  });

  it('lets a timer set and cancel others', async () => {
    const { clock, pass } = open();
    const fired: string[] = [];
    const cancel = clock.setTimer(20, () => fired.push('cancelled by the first'));
    clock.setTimer(10, () => {
      cancel();
      clock.setTimer(5, () => fired.push('set by the first'));
    });
    await pass(30);
    expect(fired).toEqual(['set by the first']);
  });

  it.each([2 ** 31, 2 ** 32 + 5, 90 * 86_400_000])('waits for %i ms, though few timers can', async (delayMs) => {
    const { clock, pass } = open();
    let fired = 0;
    clock.setTimer(delayMs, () => fired++);
    await pass(delayMs - 1);
    expect(fired).toBe(0);
    await pass(1);
    expect(fired).toBe(1);
  });

  it('cancels a timer that far off as well, also half-way', async () => {
    const { clock, pass } = open();
    let fired = 0;
    const cancel = clock.setTimer(2 ** 33, () => fired++);
    await pass(2 ** 32);
    cancel();
    await pass(2 ** 34);
    expect(fired).toBe(0);
  });

  it('refuses a delay that is no number', () => {
    const { clock } = open();
    expect(() => clock.setTimer(Number.NaN, () => {})).toThrow(TypeError);
  });
}

function sleepClaims(open: () => ClockHarness): void {
  const outcomeOf = (sleep: Promise<void>): string[] => {
    const outcomes: string[] = [];
    sleep.then(
      () => outcomes.push('slept'),
      (reason) => outcomes.push(`woken: ${reason instanceof Error ? reason.message : reason}`),
    );
    return outcomes;
  };

  it('sleeps as long as asked', async () => {
    const { clock, pass } = open();
    const outcome = outcomeOf(clock.sleep(100));
    await pass(99);
    expect(outcome).toEqual([]);
    await pass(1);
    expect(outcome).toEqual(['slept']);
  });

  it('wakes with the reason of the signal', async () => {
    const { clock, pass } = open();
    const controller = new AbortController();
    const outcome = outcomeOf(clock.sleep(100, controller.signal));
    await pass(50);
    controller.abort(new Error('enough'));
    await pass(0);
    expect(outcome).toEqual(['woken: enough']);
    await pass(100);
    expect(outcome).toEqual(['woken: enough']);
  });

  it('does not fall asleep on a signal that was given before', async () => {
    const { clock, pass } = open();
    const outcome = outcomeOf(clock.sleep(100, AbortSignal.abort('already')));
    await pass(0);
    expect(outcome).toEqual(['woken: already']);
  });

  it('leaves nothing behind on a signal that outlives it', async () => {
    const { clock, pass } = open();
    const { signal } = new AbortController();
    const sleeps = Promise.all([clock.sleep(1, signal), clock.sleep(2, signal)]);
    expect(getEventListeners(signal, 'abort')).toHaveLength(2);
    await pass(2);
    await sleeps;
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });
}
