import { describe, expect, it } from 'vitest';
import { endsWithin, withDeadline } from '../../../protocols/wire/deadline.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';

describe('withDeadline', () => {
  it('hands on what the work resolves or rejects with, and leaves no timer behind', async () => {
    const clock = new VirtualClock();
    expect(await withDeadline(clock, 100, async () => 'done')).toBe('done');
    const failure = new Error('no');
    await expect(withDeadline(clock, 100, () => Promise.reject(failure))).rejects.toBe(failure);
    await expect(
      withDeadline(clock, 100, () => {
        throw failure;
      }),
    ).rejects.toBe(failure);
    expect(clock.pendingTimers).toBe(0);
  });

  it('rejects with a timeout at the deadline, whether or not the work heeds the signal', async () => {
    const clock = new VirtualClock();
    let seen: AbortSignal | undefined;
    const work = withDeadline(clock, 100, (signal) => {
      seen = signal;
      return new Promise(() => undefined);
    });
    const outcome = expect(work).rejects.toMatchObject({ code: 'timeout' });
    await clock.advance(99);
    expect(seen?.aborted).toBe(false);
    await clock.advance(1);
    expect(seen?.aborted).toBe(true);
    await outcome;
  });

  it('rejects with the reason of the parent when that is aborted first', async () => {
    const clock = new VirtualClock();
    const parent = new AbortController();
    const reason = new Error('stopping');
    const work = withDeadline(clock, 100, () => new Promise(() => undefined), parent.signal);
    parent.abort(reason);
    await expect(work).rejects.toBe(reason);
    await expect(withDeadline(clock, 100, async () => 'never', parent.signal)).rejects.toBe(reason);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('endsWithin', () => {
  it('tells of work that ends in time, or rejects as it does, and leaves no timer behind', async () => {
    const clock = new VirtualClock();
    expect(await endsWithin(clock, 100, Promise.resolve())).toBe(true);
    const failure = new Error('no');
    await expect(endsWithin(clock, 100, Promise.reject(failure))).rejects.toBe(failure);
    expect(clock.pendingTimers).toBe(0);
  });

  it('leaves work that takes longer to go on', async () => {
    const clock = new VirtualClock();
    const work = clock.sleep(150).then(() => 'done');
    const ended = endsWithin(clock, 100, work);
    await clock.advance(100);
    expect(await ended).toBe(false);
    await clock.advance(50);
    expect(await work).toBe('done');
  });
});
