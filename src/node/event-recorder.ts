import type { Kv } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import type { EventBody, EventLog } from './event-log.ts';

/** Events waiting to be written; past it the oldest are dropped, for they tell of what has happened and cause nothing. */
const waitingMax = 10_000;

/** Writes events that belong to no other transaction, many at a time. */
export class EventRecorder {
  readonly #kv: Kv;
  readonly #events: EventLog;
  readonly #log: Log;
  #waiting: EventBody[] = [];
  #writing: Promise<void> | undefined;

  constructor(dependencies: { readonly kv: Kv; readonly events: EventLog; readonly log: Log }) {
    this.#kv = dependencies.kv;
    this.#events = dependencies.events;
    this.#log = dependencies.log;
  }

  record(event: EventBody): void {
    this.#waiting.push(event);
    if (this.#waiting.length > waitingMax) this.#waiting.shift();
    this.#writing ??= this.#write();
  }

  /** Resolves when what was recorded is on disk, or could not be written. */
  async drain(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
  }

  async #write(): Promise<void> {
    // Begins in a later turn, so that what happens together is written together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        this.#events.publish(await this.#kv.transact((transaction) => this.#events.append(transaction, batch)));
      } catch (error) {
        this.#log.warn('events:not-written', { count: batch.length, error });
      }
    }
    this.#writing = undefined;
  }
}
