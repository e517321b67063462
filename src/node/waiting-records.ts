import type { PeerId, VersionId } from '../../crdt/ids.ts';

/** A record that names a place in the control log which this node has not come to. */
export interface WaitingRecord {
  readonly id: VersionId;
  readonly text: Uint8Array | string;
  readonly from: PeerId;
  /** The entry that it waits for. */
  readonly seq: number;
}

/** Bounds of the room: past either, what has waited longest is dropped, and sync finds it again. */
const recordsMax = 10_000;
const bytesMax = 16 * 1_048_576;

/** Records that wait for the control log. In memory only: losing one costs another exchange, never a version. */
export class WaitingRecords {
  readonly #records = new Map<VersionId, WaitingRecord>();
  #bytes = 0;

  get size(): number {
    return this.#records.size;
  }

  add(record: WaitingRecord): void {
    if (this.#records.has(record.id)) return;
    this.#records.set(record.id, record);
    this.#bytes += record.text.length;
    for (const oldest of this.#records.values()) {
      if (this.#records.size <= recordsMax && this.#bytes <= bytesMax) break;
      this.#remove(oldest);
    }
  }

  /** Takes out those that can be judged now that the log has come to an entry, by the peer they came from. */
  takeUpTo(seq: number): ReadonlyMap<PeerId, readonly WaitingRecord[]> {
    const ready = [...this.#records.values()].filter((record) => record.seq <= seq);
    for (const record of ready) this.#remove(record);
    return Map.groupBy(ready, ({ from }) => from);
  }

  #remove(record: WaitingRecord): void {
    if (this.#records.delete(record.id)) this.#bytes -= record.text.length;
  }
}
