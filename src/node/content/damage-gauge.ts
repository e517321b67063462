import type { Log } from '../../ports/log.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Gauge, Metrics } from '../../ports/metrics.ts';
import type { KvBatcher } from './kv-batcher.ts';
import type { MendingCounts } from './mending.ts';

interface Dependencies {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly batcher: Pick<KvBatcher, 'add'>;
  readonly counts: () => MendingCounts;
}

/** Shows how many contents are damaged. Counting goes through their rows, so it is done once for all that changes together. */
export class DamageGauge {
  readonly #dependencies: Dependencies;
  readonly #gauge: Gauge;
  #isComing = false;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
    this.#gauge = dependencies.metrics.gauge({
      name: 'anabranch_content_damaged',
      help: 'Contents that were whole on this disk and lack something now, until they are mended or dropped.',
      labels: ['kind'],
    });
  }

  show(): void {
    for (const [kind, count] of Object.entries(this.#dependencies.counts())) this.#gauge.set(count, { kind });
  }

  /** A transaction that is under way changes them: they are counted after the batch that follows it. */
  changed(): void {
    if (this.#isComing) return;
    this.#isComing = true;
    void this.#showLater();
  }

  async #showLater(): Promise<void> {
    try {
      await this.#dependencies.batcher.add(() => undefined);
      this.#isComing = false;
      this.show();
    } catch (error) {
      this.#isComing = false;
      if (error instanceof MeshError && error.code === 'shutting_down') return;
      // The next change shows what there is.
      this.#dependencies.log.warn('content:damage_not_counted', { error });
    }
  }
}
