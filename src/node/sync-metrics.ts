import type { SyncRound } from '../../protocols/sync/client.ts';
import type { Counter, Histogram, Metrics } from '../ports/metrics.ts';

/** What one sync round did. */
export interface SyncTally {
  /** What it was to do: single documents, the peer's feed, or ranges. */
  readonly kind: 'gaps' | 'feed' | 'ranges';
  /** Bytes both ways on its stream. */
  bytes: number;
  /** Undefined while no stream is open. */
  round: Readonly<SyncRound> | undefined;
}

const labels = ['kind', 'outcome'] as const;
/** From 1 KiB to 256 MiB. */
const bytesBuckets = Array.from({ length: 10 }, (_, step) => 1_024 * 4 ** step);
const tripsBuckets = [1, 2, 3, 4, 6, 10, 30, 100, 300];
const documentsBuckets = [0, 1, 10, 100, 1_000, 10_000, 100_000];

/** What the rounds of this node come to, by how they ended. */
export class SyncMetrics {
  readonly #rounds: Counter;
  readonly #records: Counter;
  readonly #bytes: Histogram;
  readonly #trips: Histogram;
  readonly #documents: Histogram;

  constructor(metrics: Metrics) {
    this.#rounds = metrics.counter({
      name: 'anabranch_sync_rounds_total',
      help: 'Sync rounds started by this node, by how they ended.',
      labels: ['outcome'],
    });
    this.#records = metrics.counter({
      name: 'anabranch_sync_records_total',
      help: 'Records that sync brought to this node.',
    });
    this.#bytes = metrics.histogram({
      name: 'anabranch_sync_round_bytes',
      help: 'Bytes of one sync round both ways, records included.',
      labels,
      buckets: bytesBuckets,
    });
    this.#trips = metrics.histogram({
      name: 'anabranch_sync_round_comparisons',
      help: 'Questions of one sync round about the feed or about ranges.',
      labels,
      buckets: tripsBuckets,
    });
    this.#documents = metrics.histogram({
      name: 'anabranch_sync_round_documents',
      help: 'Documents one sync round found to differ.',
      labels,
      buckets: documentsBuckets,
    });
  }

  /** A round is over; a failed one counts with what it did until then. */
  ended(outcome: string, { kind, bytes, round }: SyncTally): void {
    this.#rounds.add(1, { outcome });
    if (round === undefined) return;
    this.#records.add(round.recordsReceived);
    this.#bytes.observe(bytes, { kind, outcome });
    this.#trips.observe(round.comparisons, { kind, outcome });
    this.#documents.observe(round.documentsDiffering, { kind, outcome });
  }
}
