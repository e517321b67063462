import type { Clock } from '../../src/ports/clock.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';

/**
 * Runs `run` for at most `deadlineMs` of the clock. Its signal is aborted with `MeshError` `timeout` at the
 * deadline, or with the parent's reason when the parent is aborted, and the returned promise rejects with
 * the same reason at once, whether or not `run` heeds the signal.
 */
export async function withDeadline<T>(
  clock: Clock,
  deadlineMs: number,
  run: (signal: AbortSignal) => Promise<T>,
  parentSignal?: AbortSignal,
): Promise<T> {
  parentSignal?.throwIfAborted();
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  const cancelTimer = clock.setTimer(deadlineMs, () => {
    controller.abort(new MeshError('timeout', `no answer within ${deadlineMs} ms`));
  });
  const onParentAbort = (): void => controller.abort(parentSignal?.reason);
  parentSignal?.addEventListener('abort', onParentAbort, { once: true });
  try {
    return await Promise.race([aborted, run(signal)]);
  } finally {
    cancelTimer();
    parentSignal?.removeEventListener('abort', onParentAbort);
  }
}

/**
 * Waits for work for at most `waitMs` of the clock, and leaves it to go on then: true when it has ended. Rejects as the work
 * does meanwhile; what it rejects with later is the caller's to handle.
 */
export async function endsWithin(clock: Clock, waitMs: number, work: Promise<unknown>): Promise<boolean> {
  let cancelTimer = (): void => undefined;
  const late = new Promise<false>((resolve) => {
    cancelTimer = clock.setTimer(waitMs, () => resolve(false));
  });
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    cancelTimer();
  }
}
