import { getEventListeners } from 'node:events';

/**
 * Node keeps a signal of `AbortSignal.any` alive, with all that its listeners reach, until it is aborted or they are
 * removed (lib/internal/abort_controller.js, `gcPersistentSignals`). A process whose power was cut does neither: its
 * whole run would stay in memory for good. So the signals of the runs under way are known here, and let go when no run
 * is under way any more.
 */
const known: AbortSignal[] = [];
const { any } = AbortSignal;
let runs = 0;

/** A run begins. Each call needs one of `endRun`. */
export function beginRun(): void {
  runs += 1;
  if (runs > 1) return;
  AbortSignal.any = (signals) => {
    const signal = any.call(AbortSignal, signals);
    known.push(signal);
    return signal;
  };
}

/** A run is over, and nothing of it shall happen any more. */
export function endRun(): void {
  runs -= 1;
  if (runs > 0) return;
  AbortSignal.any = any;
  for (const signal of known.splice(0)) {
    for (const listener of getEventListeners(signal, 'abort')) signal.removeEventListener('abort', listener as never);
  }
}
