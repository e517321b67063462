import type { NodeId, PeerId } from '../../crdt/ids.ts';
import { orderHoldersMax, ordersMax } from '../../protocols/replicas/limits.ts';
import type { Order } from '../../protocols/replicas/server.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Counter, Gauge, Metrics } from '../ports/metrics.ts';
import { type PlannedPull, plannedPullsMax } from './plan.ts';
import type { ReplicaIndex } from './replica-index.ts';
import type { ReplicaPeers } from './replica-peers.ts';

/** How often the queue has the nodes that fetch asked what has arrived, and orders what is next. */
const turnEveryMs = 250;
/** Sooner when the last ones are about to arrive, after such a share of the time that is left: what waits for them waits little longer. */
const endShare = 1 / 4;
const endTurnMsMin = 50;
/** Looking for what has arrived keeps to a tenth of a node's time: a turn rests for so many times as long as that took. */
const restShare = 9;
/** Orders of one node that are under way; more are sent as these arrive. */
const underWayMax = 1_024;
/** An order that has not arrived after so long is sent again: whoever got it may not have seen yet that it holds. */
const orderAgainMs = 60_000;
/** The weight of the last turn in the measured rate. */
const rateShare = 0.1;

export interface RepairQueueDependencies {
  readonly index: Pick<ReplicaIndex, 'holds'>;
  readonly peers: ReplicaPeers;
  readonly peerOf: (node: NodeId) => PeerId | undefined;
  readonly self: NodeId;
  /** Takes up orders to this node itself; resolves with how many. */
  readonly takeOwn: (orders: readonly Order[]) => Promise<number>;
  /** Brings the index up to date about a node, as far as that can be had. Never rejects. */
  readonly refresh: (node: NodeId) => Promise<unknown>;
  /** Everything that was ordered has arrived. */
  readonly onDone: () => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** How far the repairs have come. */
export interface RepairProgress {
  readonly pulls: number;
  readonly bytes: number;
  /** Measured over what has arrived; 0 until something has, and when nothing is under way. */
  readonly bytesPerSecond: number;
  /** Milliseconds until all of it should be there; null while that is not known. */
  readonly etaMs: number | null;
}

interface Entry {
  readonly pull: PlannedPull;
  /** When it was ordered last; undefined before. */
  orderedMs: number | undefined;
}

/**
 * The repairs of the last plan: each is ordered from the node that is to fetch, and waited for until the replica index
 * shows it there. An order is a hint: who gets it looks for itself whether it should hold the content.
 */
export class RepairQueue {
  readonly #dependencies: RepairQueueDependencies;
  readonly #entries = new Map<string, Entry>();
  readonly #pending: Gauge;
  readonly #repairedBytes: Counter;
  #cancelTimer: (() => void) | undefined;
  #turning: Promise<void> = Promise.resolve();
  #bytesPerSecond = 0;
  #lastTurnMs: number | undefined;
  /** The last look found something. */
  #hasArrived = false;
  /** How long the last look took. */
  #lookedMs = 0;
  #running = false;

  constructor(dependencies: RepairQueueDependencies) {
    this.#dependencies = dependencies;
    this.#pending = dependencies.metrics.gauge({
      name: 'anabranch_repairs_pending',
      help: 'Copies that the last plan of this coordinator ordered and that are not there yet.',
    });
    this.#repairedBytes = dependencies.metrics.counter({
      name: 'anabranch_repaired_bytes_total',
      help: 'Bytes of content that arrived where a plan of this coordinator ordered them.',
    });
  }

  start(): void {
    this.#running = true;
    this.#pending.set(0);
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    await this.#turning;
  }

  /** Takes the place of what the plan before said; what was ordered already stays so. */
  replace(pulls: readonly PlannedPull[]): void {
    const before = new Map(this.#entries);
    this.#entries.clear();
    for (const pull of pulls.slice(0, plannedPullsMax)) {
      if (pull.isWaiting) continue;
      this.#entries.set(nameOf(pull), { pull, orderedMs: before.get(nameOf(pull))?.orderedMs });
    }
    this.#pending.set(this.#entries.size);
    this.#plan(0);
  }

  /** Whether a pull of the plan is to be done yet. */
  isPending(pull: PlannedPull): boolean {
    return this.#entries.has(nameOf(pull));
  }

  progress(): RepairProgress {
    let bytes = 0;
    for (const { pull } of this.#entries.values()) bytes += pull.subject.sizeBytes;
    // The rate of the last repairs says how long the next may take, and is nobody's when there are none.
    const rate = this.#entries.size === 0 ? 0 : this.#bytesPerSecond;
    const etaMs = bytes === 0 ? 0 : rate > 0 ? Math.ceil((bytes / rate) * 1_000) : null;
    return { pulls: this.#entries.size, bytes, bytesPerSecond: Math.round(rate), etaMs };
  }

  #plan(delayMs: number): void {
    if (!this.#running || this.#entries.size === 0 || this.#cancelTimer !== undefined) return;
    this.#cancelTimer = this.#dependencies.clock.setTimer(delayMs, () => {
      this.#turning = this.#turn()
        .catch((error: unknown) => this.#dependencies.log.warn('repairs:turn_failed', { error }))
        .then(() => {
          this.#cancelTimer = undefined;
          this.#plan(Math.max(this.#restMs(), restShare * this.#lookedMs));
        });
    });
  }

  /** What does not arrive says nothing of when it will. */
  #restMs(): number {
    const { etaMs } = this.progress();
    if (!this.#hasArrived || etaMs === null) return turnEveryMs;
    return Math.min(turnEveryMs, Math.max(endTurnMsMin, etaMs * endShare));
  }

  async #turn(): Promise<void> {
    const { clock, onDone, refresh } = this.#dependencies;
    const ordered = [...this.#entries.values()].filter(({ orderedMs }) => orderedMs !== undefined);
    await Promise.all(Array.from(new Set(ordered.map(({ pull }) => pull.to)), refresh));
    const lookedFromMs = clock.monotonicMs();
    this.#takeArrived();
    this.#lookedMs = clock.monotonicMs() - lookedFromMs;
    if (this.#entries.size === 0) {
      onDone();
      return;
    }
    const nowMs = clock.monotonicMs();
    const due: Entry[] = [];
    const underWay = new Map<NodeId, number>();
    for (const entry of this.#entries.values()) {
      const { to } = entry.pull;
      const isUnderWay = entry.orderedMs !== undefined && nowMs - entry.orderedMs < orderAgainMs;
      const before = underWay.get(to) ?? 0;
      if (before >= underWayMax) continue;
      underWay.set(to, before + 1);
      if (!isUnderWay) due.push(entry);
    }
    const byNode = Map.groupBy(due, ({ pull }) => pull.to);
    await Promise.all(Array.from(byNode, ([node, entries]) => this.#order(node, entries)));
  }

  #takeArrived(): void {
    const { index, clock } = this.#dependencies;
    let arrivedBytes = 0;
    for (const [name, { pull, orderedMs }] of this.#entries) {
      // The others may have arrived by themselves; that is seen once they are ordered.
      if (orderedMs === undefined || !index.holds(pull.to, pull.subject.manifest)) continue;
      this.#entries.delete(name);
      arrivedBytes += pull.subject.sizeBytes;
    }
    this.#hasArrived = arrivedBytes > 0;
    const nowMs = clock.monotonicMs();
    if (this.#lastTurnMs !== undefined && nowMs > this.#lastTurnMs) {
      const rate = (arrivedBytes / (nowMs - this.#lastTurnMs)) * 1_000;
      const isFirst = this.#bytesPerSecond === 0;
      this.#bytesPerSecond = isFirst ? rate : this.#bytesPerSecond * (1 - rateShare) + rate * rateShare;
    }
    this.#lastTurnMs = this.#entries.size === 0 ? undefined : nowMs;
    this.#repairedBytes.add(arrivedBytes);
    this.#pending.set(this.#entries.size);
  }

  async #order(node: NodeId, entries: readonly Entry[]): Promise<void> {
    const { peers, peerOf, self, takeOwn, clock, log } = this.#dependencies;
    for (let start = 0; start < entries.length; start += ordersMax) {
      const part = entries.slice(start, start + ordersMax);
      const orders = part.map(({ pull }) => orderOf(pull));
      try {
        const peer = peerOf(node);
        if (node === self) await takeOwn(orders);
        else if (peer === undefined) return;
        else await peers.ask(peer, 'talk', (client) => client.order(orders));
        for (const entry of part) entry.orderedMs = clock.monotonicMs();
      } catch (error) {
        // It is ordered again in the next turn.
        log.debug('repairs:not_ordered', { node, error });
        return;
      }
    }
  }
}

function nameOf({ subject, to }: PlannedPull): string {
  return `${subject.manifest} ${to}`;
}

function orderOf({ subject: { ns, key, version, manifest }, from }: PlannedPull): Order {
  return { ns, key, version, manifest, holders: from.slice(0, orderHoldersMax) };
}
