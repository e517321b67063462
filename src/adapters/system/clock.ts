import type { Clock } from '../../ports/clock.ts';
import { sleepOn } from '../../ports/sleep.ts';

/** Node fires a timer longer than this at once instead of late, so a longer one is set in stretches. */
const timerStretchMsMax = 2_147_483_647;

/** The machine's own clocks and timers. */
export class SystemClock implements Clock {
  nowMs(): number {
    return Date.now();
  }

  monotonicMs(): number {
    return performance.now();
  }

  setTimer(delayMs: number, task: () => void): () => void {
    let remainingMs = timerDelayMs(delayMs);
    if (remainingMs === 0) {
      // Node makes a timer of 0 one of 1 ms: too long for who only lets others have their turn.
      const immediate = setImmediate(task);
      return () => clearImmediate(immediate);
    }
    let handle: NodeJS.Timeout;
    const arm = (): void => {
      const stretchMs = Math.min(remainingMs, timerStretchMsMax);
      remainingMs -= stretchMs;
      handle = setTimeout(remainingMs > 0 ? arm : task, stretchMs);
    };
    arm();
    return () => clearTimeout(handle);
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }
}

/** A deadline that has passed already is due now; one that is no number is a bug. */
function timerDelayMs(delayMs: number): number {
  if (Number.isNaN(delayMs)) throw new TypeError('a timer needs a delay in milliseconds');
  return Math.max(0, delayMs);
}
