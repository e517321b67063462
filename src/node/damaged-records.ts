import { toBase32 } from '../../crdt/digest.ts';
import type { VersionId } from '../../crdt/ids.ts';
import type { Kv, KvTransaction } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Gauge, Metrics } from '../ports/metrics.ts';
import { damagedKey, damagedRange } from './storage-keys.ts';

/** Damaged records that are remembered; one more is found again when it is read again. */
const rememberedMax = 16_384;

interface Dependencies {
  readonly kv: Kv;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * The versions whose stored record was found to be no longer what its id says, whoever read it: remembered until the
 * record is mended, over restarts too, so that it is fetched again and an operator sees it meanwhile.
 */
export class DamagedRecords {
  readonly #dependencies: Dependencies | undefined;
  readonly #gauge: Gauge | undefined;
  readonly #ids = new Set<VersionId>();
  #unwritten: VersionId[] = [];

  /** Without a store nothing is remembered over a restart. */
  constructor(dependencies?: Dependencies) {
    this.#dependencies = dependencies;
    this.#gauge = dependencies?.metrics.gauge({
      name: 'anabranch_records_damaged',
      help: 'Versions whose stored record was found damaged and is not mended yet.',
    });
  }

  /** Takes up what an earlier life found, less what `isSound` says is as it should be by now: another disk, for one. */
  async open(isSound: (id: VersionId) => boolean): Promise<void> {
    const { kv } = this.#dependencies ?? {};
    if (kv === undefined) return;
    const known = Array.from(
      kv.range({ ...damagedRange, limit: rememberedMax }),
      ([key]) => toBase32(key.subarray(1)) as VersionId,
    );
    for (const id of known) this.#ids.add(id);
    const mended = known.filter(isSound);
    if (mended.length > 0) {
      await kv.transact((transaction) => {
        for (const id of mended) this.mended(transaction, id);
      });
      this.forget(mended);
    }
    this.#gauge?.set(this.#ids.size);
  }

  list(): readonly VersionId[] {
    return [...this.#ids];
  }

  get count(): number {
    return this.#ids.size;
  }

  /** A record was read and is damaged. It is written down a little later, since readers cannot. */
  found(id: VersionId): void {
    if (this.#ids.has(id) || this.#ids.size >= rememberedMax) return;
    this.#ids.add(id);
    this.#gauge?.set(this.#ids.size);
    if (this.#dependencies === undefined) return;
    this.#unwritten.push(id);
    if (this.#unwritten.length === 1) void Promise.resolve().then(() => this.#write());
  }

  /** The record is whole again with the caller's transaction, which may come to nothing: `forget` is called once it has not. */
  mended(transaction: KvTransaction, id: VersionId): void {
    transaction.delete(damagedKey(id));
  }

  /** Records that were mended by transactions that are on disk. */
  forget(ids: readonly VersionId[]): void {
    for (const id of ids) this.#ids.delete(id);
    this.#gauge?.set(this.#ids.size);
  }

  async #write(): Promise<void> {
    const { kv, log } = this.#dependencies as Dependencies;
    const found = this.#unwritten;
    this.#unwritten = [];
    try {
      await kv.transact((transaction) => {
        for (const id of found) if (this.#ids.has(id)) transaction.put(damagedKey(id), new Uint8Array(0));
      });
    } catch (error) {
      if (error instanceof MeshError && error.code === 'shutting_down') return;
      // It is remembered all the same until the node stops, and found again after that when it is read.
      log.warn('record:damage_not_noted', { versions: found.length, error });
    }
  }
}
