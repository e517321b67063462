import { vi } from 'vitest';
import { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { SystemClock } from '../../src/adapters/system/clock.ts';
import { clockContract } from './clock.contract.ts';

clockContract('system', () => {
  vi.useFakeTimers({ toFake: ['Date', 'performance', 'setTimeout', 'clearTimeout'] });
  return {
    clock: new SystemClock(),
    pass: async (ms) => {
      await vi.advanceTimersByTimeAsync(ms);
    },
    close: () => {
      vi.useRealTimers();
    },
  };
});

clockContract('virtual', () => {
  const clock = new VirtualClock();
  return { clock, pass: (ms) => clock.advance(ms), close: () => {} };
});
