import type { Clock } from '../ports/clock.ts';
import type { AuditReport } from './auditor.ts';

/** An audit on demand is followed by a rest that is so many times as long as it took. */
const restShare = 3;
/** And never longer than this: an audit that took long because a holder was silent is not the last word on it. */
const restMsMax = 60_000;

export interface DemandedAuditsDependencies {
  /** Makes an audit that begins now, or once the one that runs is done. */
  readonly audit: () => Promise<Pick<AuditReport, 'tookMs'>>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}

/**
 * The audits that others ask for, whoever and however often: each has every holder read, so they take at most a quarter of
 * the time, unless they take long. Who asks while one is waited for gets that one, and who asks in the rest after it what it found.
 */
export class DemandedAudits {
  readonly #dependencies: DemandedAuditsDependencies;
  #running: Promise<void> | undefined;
  #restUntilMs = Number.NEGATIVE_INFINITY;

  constructor(dependencies: DemandedAuditsDependencies) {
    this.#dependencies = dependencies;
  }

  /** Resolves once there is a report that is recent enough. Rejects as the audit does; then the next who asks gets another. */
  async ask(): Promise<void> {
    if (this.#running === undefined && this.#dependencies.clock.monotonicMs() < this.#restUntilMs) return;
    this.#running ??= this.#run();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { audit, clock } = this.#dependencies;
    try {
      const { tookMs } = await audit();
      this.#restUntilMs = clock.monotonicMs() + Math.min(restMsMax, restShare * tookMs);
    } finally {
      this.#running = undefined;
    }
  }
}
