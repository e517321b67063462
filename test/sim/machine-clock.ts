import type { VirtualClock } from '../../src/adapters/memory/clock.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { sleepOn } from '../../src/ports/sleep.ts';

type Task = () => void;

/**
 * The clock of one machine on the time all share. Its wall clock can jump, and everything on it can stand still
 * for a while or run late. Processes come and go on it; what a dead one was waiting for never happens.
 */
export class MachineClock implements Clock {
  readonly #shared: VirtualClock;
  #wallOffsetMs = 0;
  #lagMs = 0;
  #paused: Task[] | undefined;

  constructor(shared: VirtualClock) {
    this.#shared = shared;
  }

  /** Moves the wall clock alone. */
  jump(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /** Everything on this machine happens so much later than it should. */
  lag(lagMs: number): void {
    this.#lagMs = lagMs;
  }

  pause(): void {
    this.#paused ??= [];
  }

  /** What fell due meanwhile happens now, in its order. */
  resume(): void {
    const due = this.#paused ?? [];
    this.#paused = undefined;
    for (const task of due) this.#shared.setTimer(0, () => this.#run(task));
  }

  /** The clock of a new process. */
  startProcess(): ProcessClock {
    return new ProcessClock(this);
  }

  nowMs(): number {
    // Whole milliseconds, as the port promises: no record is signed with a fraction of one.
    return Math.floor(this.#shared.nowMs() + this.#wallOffsetMs);
  }

  monotonicMs(): number {
    return this.#shared.monotonicMs();
  }

  setTimer(delayMs: number, task: Task): () => void {
    let cancelled = false;
    const cancel = this.#shared.setTimer(delayMs + this.#lagMs, () =>
      this.#run(() => {
        if (!cancelled) task();
      }),
    );
    return () => {
      cancelled = true;
      cancel();
    };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  #run(task: Task): void {
    if (this.#paused === undefined) task();
    else this.#paused.push(task);
  }
}

/** The machine's clock as one process sees it, until the process dies. */
export class ProcessClock implements Clock {
  readonly #machine: Clock;
  readonly #live = new Set<symbol>();
  #dead = false;

  constructor(machine: Clock) {
    this.#machine = machine;
  }

  /** The process is gone: nothing it waits for happens any more. */
  kill(): void {
    this.#dead = true;
    this.#live.clear();
  }

  get isDead(): boolean {
    return this.#dead;
  }

  /** Timers set and neither fired nor cancelled. */
  get pendingTimers(): number {
    return this.#live.size;
  }

  nowMs(): number {
    return this.#machine.nowMs();
  }

  monotonicMs(): number {
    return this.#machine.monotonicMs();
  }

  setTimer(delayMs: number, task: Task): () => void {
    const name = Symbol('timer');
    this.#live.add(name);
    const cancel = this.#machine.setTimer(delayMs, () => {
      if (this.#dead || !this.#live.delete(name)) return;
      task();
    });
    return () => {
      this.#live.delete(name);
      cancel();
    };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }
}
