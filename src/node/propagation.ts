import type { NodeId, PeerId } from '../../crdt/ids.ts';
import type { Version } from '../../crdt/version.ts';
import type { Clock } from '../ports/clock.ts';
import type { Histogram, Metrics } from '../ports/metrics.ts';
import { clockOffsetMs, type TimeSample, timeSamplesMax } from './clock-offset.ts';
import type { MemberDirectory } from './member-directory.ts';

const bucketsSeconds = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60];

/**
 * Measures how long versions take from being written elsewhere to being on disk here. The writers' clocks are
 * compared with this one at every sync round; versions of a node whose clock is not known yet are left out. For
 * display only: nothing is decided by it.
 */
export class PropagationMonitor {
  readonly #clock: Clock;
  readonly #members: MemberDirectory;
  readonly #delays: Histogram;
  /** Of members only, so bounded by their number. */
  readonly #samples = new Map<NodeId, readonly TimeSample[]>();

  constructor(dependencies: { readonly clock: Clock; readonly members: MemberDirectory; readonly metrics: Metrics }) {
    this.#clock = dependencies.clock;
    this.#members = dependencies.members;
    this.#delays = dependencies.metrics.histogram({
      name: 'anabranch_propagation_seconds',
      help: "From a version's writing on another node, by that node's clock less its estimated offset, to being on disk here.",
      labels: ['via'],
      buckets: bucketsSeconds,
    });
  }

  /** A peer said what time it is. */
  heardTime(peer: PeerId, sample: TimeSample): void {
    const member = this.#members.byPeer(peer);
    if (member === undefined) return;
    const known = this.#samples.get(member.nodeId) ?? [];
    this.#samples.set(member.nodeId, [...known, sample].slice(-timeSamplesMax));
  }

  /** How far a member's clock is ahead of this one, in milliseconds; undefined while that is not known. */
  offsetMs(node: NodeId): number | undefined {
    return clockOffsetMs(this.#samples.get(node) ?? []);
  }

  /** These versions are on disk now. */
  arrived(versions: readonly Version[], via: 'gossip' | 'quorum' | 'sync'): void {
    const nowMs = this.#clock.nowMs();
    for (const { record } of versions) {
      const offsetMs = this.offsetMs(record.node);
      if (offsetMs === undefined) continue;
      this.#delays.observe(Math.max(0, nowMs - (record.time - offsetMs)) / 1_000, { via });
    }
  }
}
