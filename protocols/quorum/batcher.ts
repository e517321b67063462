/** Limits of a `Batcher`. */
export interface BatcherOptions {
  /** Items of one batch. */
  readonly itemsMax: number;
  /** Items that may wait. */
  readonly queuedMax: number;
  /** Batches under way at once. */
  readonly lanes: number;
}

interface Waiting<Item, Answer> {
  readonly item: Item;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Gathers what is asked of one peer while an earlier batch is under way into the next one, as group commit does:
 * under load many registers share a message and a flush, and a single one never waits.
 */
export class Batcher<Item, Answer> {
  readonly #exchange: (items: readonly Item[]) => Promise<readonly Answer[]>;
  readonly #options: BatcherOptions;
  readonly #queue: Waiting<Item, Answer>[] = [];
  #running = 0;

  /** `exchange` resolves with one answer an item, in order. */
  constructor(exchange: (items: readonly Item[]) => Promise<readonly Answer[]>, options: BatcherOptions) {
    this.#exchange = exchange;
    this.#options = options;
  }

  /** The item's answer; undefined at once when too many wait. Rejects with what its batch rejected with. */
  ask(item: Item): Promise<Answer> | undefined {
    if (this.#queue.length >= this.#options.queuedMax) return undefined;
    return new Promise((resolve, reject) => {
      this.#queue.push({ item, resolve, reject });
      if (this.#running < this.#options.lanes) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running += 1;
    // What is asked in the same turn goes into the same batch.
    await null;
    for (let batch = this.#take(); batch.length > 0; batch = this.#take()) {
      try {
        const answers = await this.#exchange(batch.map(({ item }) => item));
        for (const [at, { resolve }] of batch.entries()) resolve(answers[at] as Answer);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#running -= 1;
  }

  #take(): Waiting<Item, Answer>[] {
    return this.#queue.splice(0, this.#options.itemsMax);
  }
}
