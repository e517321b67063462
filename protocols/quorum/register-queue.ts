/**
 * One task at a time for each register, in the order they came, and a bounded number waiting. Two rounds of one node
 * for one register would only outbid each other.
 */
export class RegisterQueue {
  readonly #waitingMax: number;
  readonly #waitingPerRegisterMax: number;
  readonly #lines = new Map<string, { last: Promise<unknown>; length: number }>();
  #waiting = 0;

  constructor(options: { readonly waitingMax: number; readonly waitingPerRegisterMax: number }) {
    this.#waitingMax = options.waitingMax;
    this.#waitingPerRegisterMax = options.waitingPerRegisterMax;
  }

  /** The task's result, or undefined at once when too many wait. Rejects with what the task rejects with. */
  run<T>(register: string, task: () => Promise<T>): Promise<T> | undefined {
    const line = this.#lines.get(register) ?? { last: Promise.resolve(), length: 0 };
    if (this.#waiting >= this.#waitingMax || line.length >= this.#waitingPerRegisterMax) return undefined;
    this.#lines.set(register, line);
    line.length += 1;
    this.#waiting += 1;
    const result = line.last.then(task).finally(() => {
      line.length -= 1;
      this.#waiting -= 1;
      if (line.length === 0) this.#lines.delete(register);
    });
    line.last = result.catch(() => undefined);
    return result;
  }
}
