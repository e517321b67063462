import type { Kv, KvReader, KvTransaction } from '../ports/kv.ts';
import type { MeshEvent } from './api.ts';
import { decodeRow, encodeRow } from './rows.ts';
import { eventKey, eventRange, numberOfKey } from './storage-keys.ts';

/** Events kept for readers that come back; at some 300 bytes each this is about 30 MiB. */
const eventsKeptMax = 100_000;
const eventsReadPerTurn = 256;

/** An event before it has its number. */
export type EventBody = MeshEvent extends infer Event ? (Event extends MeshEvent ? Omit<Event, 'id'> : never) : never;

/**
 * What happened on this node, numbered and written in the same transaction as what it tells of. A reader
 * holds nothing but its place: it reads rows, so a slow one costs no memory, and one that comes back goes
 * on where it was, across restarts too. One that stays away past `eventsKeptMax` events resumes at the
 * oldest that is kept.
 */
export class EventLog {
  readonly #kv: Kv;
  #lastWritten: number;
  /** The greatest number that is on disk: readers are shown nothing a crash could take back. */
  #lastFlushed: number;
  readonly #waiting = new Set<() => void>();

  constructor(kv: Kv) {
    this.#kv = kv;
    this.#lastWritten = lastEventId(kv);
    this.#lastFlushed = this.#lastWritten;
  }

  /** Writes events; call `publish` with the returned number once the transaction is on disk. */
  append(transaction: KvTransaction, events: readonly EventBody[]): number {
    for (const event of events) {
      this.#lastWritten += 1;
      transaction.put(eventKey(this.#lastWritten), encodeRow(event));
      if (this.#lastWritten > eventsKeptMax) transaction.delete(eventKey(this.#lastWritten - eventsKeptMax));
    }
    return this.#lastWritten;
  }

  /** Lets readers see everything up to `id`. */
  publish(id: number): void {
    if (id <= this.#lastFlushed) return;
    this.#lastFlushed = id;
    for (const wake of [...this.#waiting]) wake();
  }

  /** The number of the newest event a reader could have seen. */
  last(): number {
    return this.#lastFlushed;
  }

  /**
   * Events after a number, in order, then live ones until the signal aborts. A number that no reader was shown yet is
   * another node's, or was lost with a disk: then all events that are kept come, since waiting until the numbers reach it
   * would be silence about what happened.
   */
  async *read(after: number, signal: AbortSignal): AsyncGenerator<MeshEvent> {
    let seen = after > this.#lastFlushed ? 0 : after;
    while (!signal.aborted) {
      const page = this.#page(seen);
      for (const event of page) {
        yield event;
        seen = event.id;
        if (signal.aborted) return;
      }
      if (page.length === 0) await this.#more(seen, signal);
    }
  }

  #page(after: number): MeshEvent[] {
    const page: MeshEvent[] = [];
    for (const [key, row] of this.#kv.range({ ...eventRange(after), limit: eventsReadPerTurn })) {
      const id = numberOfKey(key);
      if (id > this.#lastFlushed) break;
      page.push({ id, ...decodeRow<EventBody>(row, `event ${id}`) });
    }
    return page;
  }

  #more(after: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake, { once: true });
      if (signal.aborted || this.#lastFlushed > after) wake();
    });
  }
}

function lastEventId(reader: KvReader): number {
  for (const [key] of reader.range({ ...eventRange(0), limit: 1, reverse: true })) return numberOfKey(key);
  return 0;
}
