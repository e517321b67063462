import type { DocId, VersionId } from '../../crdt/ids.ts';
import type { Version } from '../../crdt/version.ts';

/** Bounds of the waiting room: past either, what has waited longest is dropped and found again by sync. */
export interface ParkingLimits {
  readonly recordsMax: number;
  readonly bytesMax: number;
}

const defaultLimits: ParkingLimits = { recordsMax: 10_000, bytesMax: 16 * 1_048_576 };

/** A version that waits for its parents. */
export interface ParkedRecord {
  readonly version: Version;
  readonly doc: DocId;
}

/** Records whose parents are not here yet. In memory only: losing it costs another exchange, never a version. */
export class ParkedRecords {
  readonly #limits: ParkingLimits;
  readonly #records = new Map<VersionId, ParkedRecord>();
  readonly #waitingFor = new Map<VersionId, Set<VersionId>>();
  #bytes = 0;

  constructor(limits: ParkingLimits = defaultLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#records.size;
  }

  add(parked: ParkedRecord, missing: readonly VersionId[]): void {
    const { version } = parked;
    if (this.#records.has(version.id)) return;
    this.#records.set(version.id, parked);
    this.#bytes += version.text.length;
    for (const parent of missing) {
      const children = this.#waitingFor.get(parent);
      if (children === undefined) this.#waitingFor.set(parent, new Set([version.id]));
      else children.add(version.id);
    }
    for (const id of this.#records.keys()) {
      if (this.#records.size <= this.#limits.recordsMax && this.#bytes <= this.#limits.bytesMax) break;
      this.#remove(id);
    }
  }

  /** Takes out the records that waited for a version which has arrived; they may wait for others still. */
  takeWaitingFor(parent: VersionId): ParkedRecord[] {
    const taken: ParkedRecord[] = [];
    for (const id of this.#waitingFor.get(parent) ?? []) {
      const record = this.#records.get(id);
      if (record === undefined) continue;
      taken.push(record);
      this.#remove(id);
    }
    return taken;
  }

  #remove(id: VersionId): void {
    const record = this.#records.get(id);
    if (record === undefined) return;
    this.#records.delete(id);
    this.#bytes -= record.version.text.length;
    for (const parent of record.version.record.parents) {
      const children = this.#waitingFor.get(parent);
      if (children === undefined) continue;
      children.delete(id);
      if (children.size === 0) this.#waitingFor.delete(parent);
    }
  }
}
