import type { Clock } from '../ports/clock.ts';
import { MeshError } from '../ports/mesh-error.ts';

/** Counts the operations under way, so that a stop can let them finish and keep new ones out. */
export class WriteGate {
  readonly #clock: Clock;
  #underWay = 0;
  #closed = false;
  #emptied: () => void = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many operations are under way. */
  get underWay(): number {
    return this.#underWay;
  }

  /** Runs an operation; throws `MeshError` `shutting_down` once the gate is closed. */
  async pass<T>(operation: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new MeshError('shutting_down', 'the node is stopping: write to another one');
    this.#underWay += 1;
    try {
      return await operation();
    } finally {
      this.#underWay -= 1;
      if (this.#underWay === 0) this.#emptied();
    }
  }

  /** Keeps new operations out and waits for those under way. Resolves with how many did not end in time. */
  async close(waitMsMax: number): Promise<number> {
    this.#closed = true;
    if (this.#underWay === 0) return 0;
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.setTimer(waitMsMax, resolve);
      this.#emptied = () => {
        cancel();
        resolve();
      };
    });
    return this.#underWay;
  }
}
