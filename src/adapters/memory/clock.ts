import type { Clock } from '../../ports/clock.ts';
import { sleepOn } from '../../ports/sleep.ts';

/** Where virtual wall clocks start when nobody says otherwise: 2026-01-01T00:00:00Z. */
const startMsDefault = 1_767_225_600_000;
/** More timers than this at one instant are a loop that never lets time pass. */
const firingsPerInstantMax = 100_000;
/** Timers between two looks at the process's real input and output, where there is none to wait for. */
const firingsPerLoopMax = 32;

interface Timer {
  readonly atMs: number;
  readonly sequence: number;
  task: (() => void) | null;
}

/**
 * Time that passes only when it is told to. Timers fire in the order of (time, sequence of setting), one by
 * one, and everything a timer set in motion (promises included) comes to rest before the next one fires, so a
 * run depends on nothing but what the program does.
 */
export class VirtualClock implements Clock {
  #elapsedMs = 0;
  #wallOffsetMs: number;
  #sequence = 0;
  #cancelled = 0;
  #instantMs = -1;
  #firingsAtInstant = 0;
  #timers: Timer[] = [];
  readonly #firingsPerLoop: number;

  /**
   * @param options.withoutIo nothing that runs on this clock waits for anything outside the process: then the event loop,
   * which takes longer to go round than most timers do, goes round once for many of them
   */
  constructor(options: { readonly startMs?: number; readonly withoutIo?: boolean } = {}) {
    this.#wallOffsetMs = options.startMs ?? startMsDefault;
    this.#firingsPerLoop = options.withoutIo ? firingsPerLoopMax : 1;
  }

  nowMs(): number {
    return Math.floor(this.#wallOffsetMs + this.#elapsedMs);
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  setTimer(delayMs: number, task: () => void): () => void {
    if (Number.isNaN(delayMs)) throw new TypeError('a timer needs a delay in milliseconds');
    const timer: Timer = { atMs: this.#elapsedMs + Math.max(0, delayMs), sequence: this.#sequence++, task };
    heapPush(this.#timers, timer);
    return () => {
      if (timer.task === null) return;
      timer.task = null;
      this.#cancelled++;
      this.#dropCancelled();
    };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  /** Timers set and neither fired nor cancelled. */
  get pendingTimers(): number {
    return this.#timers.length - this.#cancelled;
  }

  /** Moves the wall clock alone, as an operator or a time server would: forwards or backwards. */
  jumpWallClock(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /** Lets so much time pass, firing what falls due on the way. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#elapsedMs + byMs;
    await this.#turnUntil(() => !this.#fireNext(untilMs));
    this.#elapsedMs = Math.max(this.#elapsedMs, untilMs);
  }

  /** Lets time pass until the condition holds; throws when it does not within `limitMs`. */
  async runUntil(condition: () => boolean, limitMs: number): Promise<void> {
    const untilMs = this.#elapsedMs + limitMs;
    await this.#turnUntil(() => {
      if (condition()) return true;
      if (this.#fireNext(untilMs)) return false;
      throw new Error(`the condition did not come true within ${limitMs} ms of virtual time`);
    });
  }

  /** Lets time pass until the promise is settled, and hands on its outcome; throws when `limitMs` is not enough. */
  async run<T>(promise: Promise<T>, limitMs: number): Promise<T> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    await this.runUntil(() => settled, limitMs);
    return promise;
  }

  /**
   * Calls `turn` over and over until it says that it is done, each time once all that the last time set in motion has come to
   * rest: Node runs every promise callback that there is between two immediates, those of one round of the event loop too.
   */
  #turnUntil(turn: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      let isDone = false;
      const takeTurn = (): void => {
        if (isDone) return;
        try {
          isDone = turn();
          if (isDone) resolve();
        } catch (error) {
          isDone = true;
          reject(error);
        }
      };
      const takeTurns = (count: number): void => {
        if (isDone) return;
        for (let left = count; left > 0; left--) setImmediate(takeTurn);
        // Most waits are short.
        setImmediate(takeTurns, Math.min(2 * count, this.#firingsPerLoop));
      };
      takeTurns(1);
    });
  }

  #fireNext(untilMs: number): boolean {
    const timer = this.#nextLive();
    if (timer === undefined || timer.atMs > untilMs) return false;
    heapPop(this.#timers);
    this.#countFiring(timer.atMs);
    this.#elapsedMs = timer.atMs;
    const task = timer.task;
    timer.task = null;
    task?.();
    return true;
  }

  #countFiring(atMs: number): void {
    this.#firingsAtInstant = atMs === this.#instantMs ? this.#firingsAtInstant + 1 : 1;
    this.#instantMs = atMs;
    if (this.#firingsAtInstant > firingsPerInstantMax) {
      throw new Error(`more than ${firingsPerInstantMax} timers fired at ${atMs} ms: time cannot pass`);
    }
  }

  #nextLive(): Timer | undefined {
    while (this.#timers[0]?.task === null) {
      heapPop(this.#timers);
      this.#cancelled--;
    }
    return this.#timers[0];
  }

  /** Deadlines are set by the thousand and nearly all are cancelled: without this the heap would grow with them. */
  #dropCancelled(): void {
    if (this.#cancelled * 2 <= this.#timers.length) return;
    this.#timers = this.#timers.filter((timer) => timer.task !== null).sort(earlier);
    this.#cancelled = 0;
  }
}

function earlier(a: Timer, b: Timer): number {
  return a.atMs - b.atMs || a.sequence - b.sequence;
}

function heapPush(heap: Timer[], timer: Timer): void {
  let index = heap.push(timer) - 1;
  while (index > 0) {
    const above = (index - 1) >> 1;
    const parent = heap[above] as Timer;
    if (earlier(parent, timer) <= 0) break;
    heap[index] = parent;
    index = above;
  }
  heap[index] = timer;
}

function heapPop(heap: Timer[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let index = 0;
  for (;;) {
    let below = 2 * index + 1;
    if (below >= heap.length) break;
    if (below + 1 < heap.length && earlier(heap[below + 1] as Timer, heap[below] as Timer) < 0) below++;
    const child = heap[below] as Timer;
    if (earlier(last, child) <= 0) break;
    heap[index] = child;
    index = below;
  }
  heap[index] = last;
}
