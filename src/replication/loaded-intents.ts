import type { BlobHash, VersionId } from '../../crdt/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv, KvKey, KvTransaction } from '../ports/kv.ts';
import type { Gauge, Metrics } from '../ports/metrics.ts';
import type { Random } from '../ports/random.ts';
import { firstHash, intentKey, intentRange, secondHash } from './storage-keys.ts';

/** Intents in memory; the others wait on disk, and take the place of those that have waited longest in vain. */
const loadedMax = 16_384;
/** Rows taken up in one turn, so that nothing else waits for it. */
const loadedPerTurnMax = 512;
/** The first wait for the holders to have fetched what was written; it doubles up to the greatest. */
export const askAfterMsMin = 50;
const askAfterMsMax = 60_000;
/** How long an intent is in memory at least before others may take its place: long enough for every wait there is. */
const loadedMsMin = 120_000;
/** Rows that are counted while not all of them are in memory. */
const countedMax = 10_000;
/** A write that is not in the store after waits that have come to this will not be. */
const unwrittenMsMax = 10_000;
/** How often intents on disk alone are looked for. */
const loadEveryMs = 5_000;

/** A write whose content others are to hold. */
export interface WriteIntent {
  readonly ns: string;
  readonly key: string;
  readonly version: VersionId;
  readonly manifest: BlobHash;
  readonly sizeBytes: number;
}

export interface LoadedIntent {
  readonly intent: WriteIntent;
  /** When it was taken into memory. */
  readonly sinceMs: number;
  waitMs: number;
  dueMs: number;
  /** All have proved it, and this node's own copy is being dropped. */
  isLeaving: boolean;
}

type IntentRow = Pick<WriteIntent, 'ns' | 'key' | 'sizeBytes'>;

interface Dependencies {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
}

/**
 * The rows of write intents, and those of them that are in memory with the time when each is to be asked about next. What
 * finds no room there stays on disk, and is taken up in passes over the rows.
 */
export class LoadedIntents {
  readonly #dependencies: Dependencies;
  readonly #loaded = new Map<string, LoadedIntent>();
  readonly #pending: Gauge;
  /** The last row that was loaded in the pass over the disk that is under way. */
  #loadedTo: KvKey | undefined;
  /** False while there may be rows that are only on disk. */
  #isAllLoaded = false;
  /** A write found no room in memory since that pass began. */
  #isOverflown = false;
  #loadAgainMs = 0;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
    this.#pending = dependencies.metrics.gauge({
      name: 'anabranch_write_intents',
      help: 'Writes of this node in memory whose desired holders have not all proved their copies.',
    });
  }

  get size(): number {
    return this.#loaded.size;
  }

  /** In the order they were taken up. */
  values(): Iterable<LoadedIntent> {
    return this.#loaded.values();
  }

  get(intent: WriteIntent): LoadedIntent | undefined {
    return this.#loaded.get(nameOf(intent));
  }

  /** Brings the metric up to date. */
  show(): void {
    this.#pending.set(this.#loaded.size);
  }

  /** Notes a write in its own transaction. False when it found no room in memory, and is on disk alone. */
  note(transaction: KvTransaction, intent: WriteIntent): boolean {
    const { ns, key, version, manifest, sizeBytes } = intent;
    const row: IntentRow = { ns, key, sizeBytes };
    transaction.put(intentKey(manifest, version), Buffer.from(JSON.stringify(row)));
    if (this.#loaded.size >= loadedMax && !this.#unloadFirst()) {
      this.#leaveOnDisk();
      return false;
    }
    this.#load(intent, this.#dependencies.clock.monotonicMs() + askAfterMsMin);
    return true;
  }

  /** Deletes the rows of intents that are done with. */
  async forget(done: readonly WriteIntent[]): Promise<void> {
    if (done.length === 0) return;
    await this.#dependencies.kv.transact((transaction) => {
      for (const { manifest, version } of done) transaction.delete(intentKey(manifest, version));
    });
    for (const intent of done) this.#loaded.delete(nameOf(intent));
    this.show();
  }

  /** How many there are, those on disk among them up to a bound, and how many of those in memory have waited for long. */
  waiting(): { readonly count: number; readonly late: number } {
    const onDisk = this.#isAllLoaded
      ? 0
      : countOf(this.#dependencies.kv.range({ ...intentRange(), limit: countedMax }));
    let late = 0;
    for (const { waitMs } of this.#loaded.values()) if (waitMs >= askAfterMsMax) late += 1;
    return { count: Math.max(this.#loaded.size, onDisk), late };
  }

  /** When the next is due, or rows are to be taken up; infinity when there is neither. */
  nextDueMs(): number {
    let dueMs = this.#isAllLoaded ? Number.POSITIVE_INFINITY : this.#loadAgainMs;
    for (const loaded of this.#loaded.values()) if (!loaded.isLeaving) dueMs = Math.min(dueMs, loaded.dueMs);
    return dueMs;
  }

  /** All are to be asked about soon. */
  hurry(): void {
    const soonMs = this.#dependencies.clock.monotonicMs() + askAfterMsMin;
    for (const loaded of this.#loaded.values()) {
      loaded.waitMs = askAfterMsMin;
      loaded.dueMs = Math.min(loaded.dueMs, soonMs);
    }
  }

  /** None is asked about, and nothing taken up, for the greatest wait there is. */
  postpone(): void {
    const dueMs = this.#dependencies.clock.monotonicMs() + askAfterMsMax;
    for (const loaded of this.#loaded.values()) loaded.dueMs = dueMs;
    this.#loadAgainMs = dueMs;
  }

  /** One is to be asked about again, after twice the wait of before. */
  wait(loaded: LoadedIntent): void {
    const { clock, random } = this.#dependencies;
    loaded.waitMs = Math.min(askAfterMsMax, loaded.waitMs * 2);
    loaded.dueMs = clock.monotonicMs() + loaded.waitMs * (0.75 + random.fraction() / 2);
  }

  /** A write whose transaction is still under way is waited for a while; one whose transaction failed never was. */
  isWritten(loaded: LoadedIntent): boolean {
    const { manifest, version } = loaded.intent;
    if (this.#dependencies.kv.get(intentKey(manifest, version)) !== undefined) return true;
    if (loaded.waitMs <= unwrittenMsMax) this.wait(loaded);
    else {
      this.#loaded.delete(nameOf(loaded.intent));
      // A disk that was slower still has the row after all by the next pass.
      this.#leaveOnDisk();
    }
    return false;
  }

  /** Takes up rows that no transaction of this life has put in memory, or that had no room there. */
  takeUp(): void {
    const { kv, clock } = this.#dependencies;
    const nowMs = clock.monotonicMs();
    if (this.#isAllLoaded || nowMs < this.#loadAgainMs) return;
    this.#loadAgainMs = nowMs + loadEveryMs;
    while (this.#loaded.size > loadedMax / 2) if (!this.#unloadFirst()) return;
    const range = { ...intentRange(this.#loadedTo), limit: loadedPerTurnMax };
    let count = 0;
    for (const [key, row] of kv.range(range)) {
      const { ns, key: name, sizeBytes } = JSON.parse(Buffer.from(row).toString()) as IntentRow;
      const [manifest, version] = [firstHash<BlobHash>(key), secondHash<VersionId>(key)];
      this.#load({ ns, key: name, version, manifest, sizeBytes }, nowMs);
      this.#loadedTo = key;
      count += 1;
    }
    if (count === loadedPerTurnMax) {
      this.#loadAgainMs = nowMs;
      return;
    }
    this.#isAllLoaded = !this.#isOverflown;
    this.#isOverflown = false;
    this.#loadedTo = undefined;
  }

  #load(intent: WriteIntent, dueMs: number): void {
    const name = nameOf(intent);
    if (this.#loaded.has(name)) return;
    const sinceMs = this.#dependencies.clock.monotonicMs();
    this.#loaded.set(name, { intent, sinceMs, waitMs: askAfterMsMin, dueMs, isLeaving: false });
    this.show();
  }

  /**
   * Takes the oldest intent out of memory when its holders have been asked for long; false when they have not. What no
   * holder can prove, because one stays away or there are too few, must not keep newer writes from being asked for.
   */
  #unloadFirst(): boolean {
    const [first] = this.#loaded;
    if (first === undefined) return false;
    const [name, { sinceMs }] = first;
    if (this.#dependencies.clock.monotonicMs() - sinceMs < loadedMsMin) return false;
    this.#loaded.delete(name);
    this.#leaveOnDisk();
    return true;
  }

  /** There is a row that is not in memory, and that the pass over the disk may have gone past. */
  #leaveOnDisk(): void {
    this.#isAllLoaded = false;
    this.#isOverflown = true;
  }
}

function countOf(rows: Iterable<unknown>): number {
  let count = 0;
  for (const _ of rows) count += 1;
  return count;
}

function nameOf({ manifest, version }: WriteIntent): string {
  return `${manifest} ${version}`;
}
