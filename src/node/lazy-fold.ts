import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';

export interface LazyFoldOptions {
  /** What is folded, in the log. */
  readonly what: string;
  /** Changes that wait at most until they are folded without anybody asking. */
  readonly backlogMax: number;
  /** Takes in every change that is on disk when it begins. */
  readonly fold: () => Promise<void>;
}

/**
 * Has numbered changes taken into what is made of them when somebody is about to read that, or when many wait: many at a
 * time, since each by itself would cost as much as all else that a small write does.
 */
export class LazyFold {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: LazyFoldOptions;
  #plannedAt: number;
  #folding: Promise<void> | undefined;

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Log }, options: LazyFoldOptions) {
    this.#clock = clock;
    this.#log = log;
    this.#options = options;
    this.#plannedAt = options.backlogMax;
  }

  /** A change is about to be written. */
  noted(change: number): void {
    if (change < this.#plannedAt) return;
    this.#plannedAt = change + this.#options.backlogMax;
    this.#clock.setTimer(0, () => {
      this.#run().catch((error: unknown) => {
        if (error instanceof MeshError && error.code === 'shutting_down') return;
        this.#log.warn('fold:failed', { what: this.#options.what, error });
      });
    });
  }

  /** Resolves once every change that was on disk at the call is taken in. Rejects as the store does. */
  async settled(): Promise<void> {
    // One that is under way may have begun before the newest change.
    if (this.#folding !== undefined) await this.#folding;
    await this.#run();
  }

  /** Resolves when nothing is being folded, also when that failed. */
  async idle(): Promise<void> {
    await this.#folding?.catch(() => undefined);
  }

  #run(): Promise<void> {
    this.#folding ??= this.#options.fold().finally(() => {
      this.#folding = undefined;
    });
    return this.#folding;
  }
}
