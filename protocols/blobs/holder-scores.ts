import type { PeerId } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Log } from '../../src/ports/log.ts';
import type { MeshError } from '../../src/ports/mesh-error.ts';
import type { Counter, Metrics } from '../../src/ports/metrics.ts';
import type { Random } from '../../src/ports/random.ts';
import type { HolderScore } from './ranking.ts';
import {
  unknownHolder,
  withFailure,
  withFreshConnection,
  withLatency,
  withSuccess,
  withThroughput,
} from './ranking.ts';

/** Holders remembered; the one met longest ago makes room. */
const scoresMax = 1_024;

/** What the scores need from their node. */
export interface HolderScoresDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Remembers each holder's score while the process runs, and reports what is held against it. */
export class HolderScores {
  readonly #dependencies: HolderScoresDependencies;
  readonly #failures: Counter;
  readonly #scores = new Map<PeerId, HolderScore>();

  constructor(dependencies: HolderScoresDependencies) {
    this.#dependencies = dependencies;
    this.#failures = dependencies.metrics.counter({
      name: 'anabranch_blobs_holder_failures_total',
      help: 'Transfers that failed, by the error code; protocol_violation is held against the holder.',
      labels: ['code'],
    });
  }

  of(peer: PeerId): HolderScore {
    return this.#scores.get(peer) ?? unknownHolder;
  }

  latency(peer: PeerId, latencyMs: number): void {
    this.#set(peer, withLatency(this.of(peer), latencyMs));
  }

  throughput(peer: PeerId, bytes: number, waitedMs: number): void {
    this.#set(peer, withThroughput(this.of(peer), bytes, waitedMs));
  }

  success(peer: PeerId): void {
    this.#set(peer, withSuccess(this.of(peer)));
  }

  connected(peer: PeerId): void {
    this.#set(peer, withFreshConnection(this.of(peer)));
  }

  failure(peer: PeerId, error: MeshError): void {
    const isFault = error.code === 'protocol_violation';
    this.#failures.add(1, { code: error.code });
    if (isFault) this.#dependencies.log.warn('blobs:holder_faulted', { peer, error });
    else this.#dependencies.log.debug('blobs:holder_failed', { peer, error });
    const { clock, random } = this.#dependencies;
    this.#set(
      peer,
      withFailure(this.of(peer), isFault ? 'fault' : 'transient', clock.monotonicMs(), random.fraction()),
    );
  }

  #set(peer: PeerId, score: HolderScore): void {
    if (this.#scores.size >= scoresMax && !this.#scores.has(peer)) {
      const oldest = this.#scores.keys().next().value;
      if (oldest !== undefined) this.#scores.delete(oldest);
    }
    this.#scores.set(peer, score);
  }
}
