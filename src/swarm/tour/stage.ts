import type { Narrator, TourNode } from './tour-types.ts';

/** The step that did not hold has been told already. */
export class TourStopped extends Error {}

export interface StepResult<T> {
  /** What held, in a sentence or two. */
  readonly outcome: string;
  readonly value: T;
}

/** Numbers the steps, times them, and tells how each ended. */
export class Stage {
  readonly narrator: Narrator;
  readonly signal: AbortSignal;
  #steps = 0;

  constructor(narrator: Narrator, signal: AbortSignal) {
    this.narrator = narrator;
    this.signal = signal;
  }

  /** Rejects with `TourStopped` when the step does not hold, or with the signal's reason. */
  async step<T>(title: string, explanation: string, run: () => Promise<StepResult<T>>): Promise<T> {
    this.#steps += 1;
    this.narrator.stepBegins(this.#steps, title, explanation);
    const startedMs = performance.now();
    try {
      const { outcome, value } = await run();
      this.narrator.stepHeld(outcome, performance.now() - startedMs);
      return value;
    } catch (error) {
      this.signal.throwIfAborted();
      const reason = error instanceof Error ? error.message : String(error);
      this.narrator.stepFailed(reason, performance.now() - startedMs);
      throw new TourStopped(reason, { cause: error });
    }
  }
}

/** Names in a sentence: "n1, n2, and n3". */
export function listOf(nodes: readonly TourNode[]): string {
  return new Intl.ListFormat('en').format(nodes.map(({ name }) => name));
}
