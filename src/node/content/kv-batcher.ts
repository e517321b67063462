import type { Kv, KvTransaction } from '../../ports/kv.ts';

interface PendingChange {
  change(transaction: KvTransaction): void;
  resolve(): void;
  reject(error: unknown): void;
}

/**
 * Gathers small changes into one transaction: while one is being flushed the next fills up, so the price
 * of a flush is shared by all that came meanwhile. Changes apply in the order they were added.
 */
export class KvBatcher {
  readonly #kv: Kv;
  #pending: PendingChange[] = [];
  #running: Promise<void> | undefined;

  constructor(kv: Kv) {
    this.#kv = kv;
  }

  /** Resolves when the change is flushed; rejects, like everything in the same batch, when it could not be kept. */
  add(change: (transaction: KvTransaction) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ change, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // One turn later, so that what is added in this turn shares the first transaction too.
    await Promise.resolve();
    while (this.#pending.length > 0) {
      const batch = this.#pending;
      this.#pending = [];
      try {
        await this.#kv.transact((transaction) => {
          for (const { change } of batch) change(transaction);
        });
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#running = undefined;
  }
}
