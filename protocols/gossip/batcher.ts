import type { Clock } from '../../src/ports/clock.ts';
import { encodeGossip, type GossipHint, gossipBytesMax } from './messages.ts';

/** How long a hint may wait for company. */
const batchDelayMs = 25;
/** Room left for the envelope and the hashes of a hint. */
const hintOverheadBytes = 64;
const batchBytesMax = gossipBytesMax - 4 * 1024;
const batchHintsMax = 256;

interface Batch {
  readonly hints: GossipHint[];
  bytes: number;
  readonly cancelTimer: () => void;
}

/** Gathers hints for up to 25 ms, so that a burst of writes is a few messages. */
export class HintBatcher {
  readonly #clock: Clock;
  readonly #publish: (slot: number, message: Uint8Array) => void;
  readonly #batches = new Map<number, Batch>();

  constructor(dependencies: {
    readonly clock: Clock;
    readonly publish: (slot: number, message: Uint8Array) => void;
  }) {
    this.#clock = dependencies.clock;
    this.#publish = dependencies.publish;
  }

  /** Adds a hint for a slot. One whose records are too large for a message goes without them. */
  add(slot: number, hint: GossipHint): void {
    const fits = bytesOf(hint) <= batchBytesMax;
    const added = fits ? hint : { doc: hint.doc, heads: hint.heads, records: [] };
    const bytes = bytesOf(added);
    let batch = this.#batches.get(slot);
    if (batch !== undefined && (batch.bytes + bytes > batchBytesMax || batch.hints.length === batchHintsMax)) {
      this.#send(slot);
      batch = undefined;
    }
    if (batch === undefined) {
      batch = { hints: [], bytes: 0, cancelTimer: this.#clock.setTimer(batchDelayMs, () => this.#send(slot)) };
      this.#batches.set(slot, batch);
    }
    batch.hints.push(added);
    batch.bytes += bytes;
  }

  /** Sends what is waiting. */
  flush(): void {
    for (const slot of [...this.#batches.keys()]) this.#send(slot);
  }

  #send(slot: number): void {
    const batch = this.#batches.get(slot);
    if (batch === undefined) return;
    this.#batches.delete(slot);
    batch.cancelTimer();
    this.#publish(slot, encodeGossip(batch.hints));
  }
}

function bytesOf(hint: GossipHint): number {
  let bytes = hintOverheadBytes + 34 * hint.heads.length;
  for (const carried of [...hint.records, ...(hint.contents ?? [])]) bytes += carried.length + 8;
  return bytes;
}
