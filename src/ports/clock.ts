/**
 * Time as the node sees it. The system adapter reads the machine's clocks; the simulator's runs on
 * virtual time. Nothing else in the core may read a clock or set a timer.
 */
export interface Clock {
  /** Milliseconds since the epoch, for display only: it may jump, and decides nothing. */
  nowMs(): number;
  /** Milliseconds from an arbitrary start, never going backwards. */
  monotonicMs(): number;
  /** Runs `task` once after `delayMs`; the returned function cancels it and may be called twice. */
  setTimer(delayMs: number, task: () => void): () => void;
  /** Resolves after `delayMs`; rejects with the signal's reason when it is aborted first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}
