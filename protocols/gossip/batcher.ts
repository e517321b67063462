import type { Clock } from '../../src/ports/clock.ts';
import { encodeGossip, type GossipHint, type GossipRoom, gossipBytesMax } from './messages.ts';

/** How long a hint may wait for company. */
const batchDelayMs = 25;
/** Room left for the envelope and the hashes of a hint. */
const hintOverheadBytes = 64;
const batchBytesMax = gossipBytesMax - 4 * 1024;
const batchHintsMax = 256;

interface Batch {
  readonly hints: GossipHint[];
  bytes: number;
  dueMs: number;
  cancelTimer: () => void;
}

/** Gathers hints for up to 25 ms, or as long as each may wait, so that a burst of writes is a few messages. */
export class HintBatcher {
  readonly #clock: Clock;
  readonly #publish: (room: GossipRoom, message: Uint8Array) => void;
  readonly #batches = new Map<GossipRoom, Batch>();

  constructor(dependencies: {
    readonly clock: Clock;
    readonly publish: (room: GossipRoom, message: Uint8Array) => void;
  }) {
    this.#clock = dependencies.clock;
    this.#publish = dependencies.publish;
  }

  /**
   * Adds a hint for a room, to be sent within `delayMs` at the latest. One that is too large for a message goes without its
   * contents, or without its records as well.
   */
  add(room: GossipRoom, hint: GossipHint, delayMs: number = batchDelayMs): void {
    const added = fitting(hint);
    const bytes = bytesOf(added);
    let batch = this.#batches.get(room);
    if (batch !== undefined && (batch.bytes + bytes > batchBytesMax || batch.hints.length === batchHintsMax)) {
      this.#send(room);
      batch = undefined;
    }
    if (batch === undefined) {
      batch = { hints: [], bytes: 0, dueMs: Number.POSITIVE_INFINITY, cancelTimer: () => undefined };
      this.#batches.set(room, batch);
    }
    const dueMs = this.#clock.monotonicMs() + delayMs;
    if (dueMs < batch.dueMs) {
      batch.cancelTimer();
      batch.dueMs = dueMs;
      batch.cancelTimer = this.#clock.setTimer(delayMs, () => this.#send(room));
    }
    batch.hints.push(added);
    batch.bytes += bytes;
  }

  /** Sends what is waiting. */
  flush(): void {
    for (const room of [...this.#batches.keys()]) this.#send(room);
  }

  #send(room: GossipRoom): void {
    const batch = this.#batches.get(room);
    if (batch === undefined) return;
    this.#batches.delete(room);
    batch.cancelTimer();
    this.#publish(room, encodeGossip(batch.hints));
  }
}

function fitting(hint: GossipHint): GossipHint {
  if (bytesOf(hint) <= batchBytesMax) return hint;
  const { contents: _contents, ...rest } = hint;
  return bytesOf(rest) <= batchBytesMax ? rest : { doc: hint.doc, heads: hint.heads, records: [] };
}

function bytesOf(hint: GossipHint): number {
  let bytes = hintOverheadBytes + 34 * hint.heads.length;
  for (const carried of [...hint.records, ...(hint.contents ?? []), ...(hint.certificates ?? [])])
    bytes += carried.length + 8;
  return bytes;
}
