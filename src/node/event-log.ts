import type { Kv, KvReader, KvTransaction } from '../ports/kv.ts';
import type { MeshEvent } from './api.ts';
import { decodeRow, encodeRow } from './rows.ts';
import { eventKey, eventRange, numberOfKey } from './storage-keys.ts';

/** Events kept at least for readers that come back; at some 200 bytes each this is about 20 MiB. */
const eventsKeptMax = 100_000;
/** Events of one row: so many have room in a page of the database, and are decoded together. */
const eventsPerRowMax = 16;
/** Those past the bound are dropped whenever so many more were written. */
const droppedEvery = 1_024;
/** Rows dropped in one transaction: all that became too many since the last time, one event each. */
const droppedRowsMax = 2 * droppedEvery;
const rowsReadPerTurn = 32;

/** An event before it has its number. */
export type EventBody = MeshEvent extends infer Event ? (Event extends MeshEvent ? Omit<Event, 'id'> : never) : never;

/**
 * What happened on this node, numbered and written in the same transaction as what it tells of. A reader
 * holds nothing but its place: it reads rows, so a slow one costs no memory, and one that comes back goes
 * on where it was, across restarts too. One that stays away past `eventsKeptMax` events resumes at the
 * oldest that is kept. Events of one transaction share rows, since a row costs as much as the events in it:
 * each is under the number of its last event, and the numbers of those before it precede that.
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
    // The last number may be of a transaction that failed: no row has it, and readers would look for one for ever.
    if (events.length === 0) return this.#lastFlushed;
    const before = this.#lastWritten;
    for (let start = 0; start < events.length; start += eventsPerRowMax) {
      const row = events.slice(start, start + eventsPerRowMax);
      this.#lastWritten += row.length;
      transaction.put(eventKey(this.#lastWritten), encodeRow(row));
    }
    const isDue = Math.floor(before / droppedEvery) < Math.floor(this.#lastWritten / droppedEvery);
    if (isDue && this.#lastWritten > eventsKeptMax) dropThrough(transaction, this.#lastWritten - eventsKeptMax);
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
      const last = this.#lastFlushed;
      const page = this.#page(seen);
      for (const event of page) {
        yield event;
        seen = event.id;
        if (signal.aborted) return;
      }
      if (page.length > 0) continue;
      // Numbers up to there that no row has are of transactions that failed.
      seen = last;
      await this.#more(seen, signal);
    }
  }

  #page(after: number): MeshEvent[] {
    const page: MeshEvent[] = [];
    for (const [key, row] of this.#kv.range({ ...eventRange(after), limit: rowsReadPerTurn })) {
      const last = numberOfKey(key);
      const events = eventsOf(decodeRow<EventBody | EventBody[]>(row, `events up to ${last}`));
      for (const [at, event] of events.entries()) {
        const id = last - events.length + 1 + at;
        if (id > this.#lastFlushed) return page;
        if (id > after) page.push({ id, ...event });
      }
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

/** Rows that were written before events shared them are one event each. */
function eventsOf(row: EventBody | EventBody[]): EventBody[] {
  return Array.isArray(row) ? row : [row];
}

function dropThrough(transaction: KvTransaction, id: number): void {
  const dropped = { start: eventKey(0), end: eventKey(id + 1), limit: droppedRowsMax };
  for (const key of Array.from(transaction.range(dropped), ([each]) => each)) transaction.delete(key);
}

function lastEventId(reader: KvReader): number {
  for (const [key] of reader.range({ ...eventRange(0), limit: 1, reverse: true })) return numberOfKey(key);
  return 0;
}
