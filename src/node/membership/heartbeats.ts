import type { ClusterId, NodeId, PeerId } from '../../../crdt/ids.ts';
import { peerIdOf, type Signer } from '../../../crdt/signature.ts';
import {
  decodeHeartbeat,
  encodeHeartbeat,
  type Heartbeat,
  heartbeatTopic,
  type SignedHeartbeat,
  verifyHeartbeat,
} from '../../../protocols/membership/heartbeat.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Counter, Metrics } from '../../ports/metrics.ts';
import type { GossipVerdict, Network } from '../../ports/network.ts';
import type { Random } from '../../ports/random.ts';

/** Heartbeats of one node are looked at no faster than so many to an interval: each costs a verification. */
const perIntervalMax = 20;
/** Each interval is drawn from this share less than the mean to as much more, so that nodes do not beat in step. */
const jitterShare = 0.1;
/** A new connection brings the next heartbeat forward by up to so many parts of the interval that is left of it. */
const earlyShare = 5;

/** What this node says in a heartbeat beside its name and number. */
export type OwnState = Omit<Heartbeat, 'nodeId' | 'sequence'>;

/** The newest heartbeat of a node. */
export interface HeardHeartbeat {
  readonly heartbeat: Heartbeat;
  /** On the monotonic clock here. */
  readonly atMs: number;
}

interface Dependencies {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly signer: Signer;
  readonly log: Log;
  readonly metrics: Metrics;
  /** The key of a member; undefined for who is none. */
  readonly keyOf: (nodeId: NodeId) => Uint8Array | undefined;
  /** Sequence of the newest descriptor known of a node; 0 when none is. */
  readonly descriptorOf: (nodeId: NodeId) => number;
  /** A heartbeat that holds has come, from its node itself or by way of others. */
  readonly heard: (heartbeat: Heartbeat, from: PeerId) => void;
}

interface Options {
  readonly nodeId: NodeId;
  readonly cluster: ClusterId;
  readonly intervalMs: () => number;
}

/**
 * Says every few seconds that this node lives, and hears it of others. A heartbeat is believed once: it carries the
 * sequence of the descriptor its node stands by, raised at every start, and a count that only grows, so one that is
 * played again is seen to be old. Only a node itself may begin anew: its disk was put back or wiped, and whoever knew
 * its last descriptor may be gone as well.
 */
export class Heartbeats {
  readonly #dependencies: Dependencies;
  readonly #options: Options;
  readonly #heard = new Map<NodeId, HeardHeartbeat>();
  readonly #unsubscribers: (() => void)[] = [];
  readonly #counted: Counter;
  #sequence = 0;
  #lastMs = Number.NEGATIVE_INFINITY;
  #nextMs = Number.NEGATIVE_INFINITY;

  constructor(dependencies: Dependencies, options: Options) {
    this.#dependencies = dependencies;
    this.#options = options;
    this.#counted = dependencies.metrics.counter({
      name: 'anabranch_heartbeats_total',
      help: 'Heartbeats: sent; received; stale (older than one that was heard, or too soon after it); foreign (of no member known here); refused.',
      labels: ['outcome'],
    });
  }

  start(): void {
    const { network, clock } = this.#dependencies;
    this.#unsubscribers.push(
      network.subscribe(heartbeatTopic(this.#options.cluster), (data, from) => this.#receive(data, from)),
      network.onPeerChange(({ kind }) => {
        // Who has just come hears soon what there is to know of this node.
        if (kind === 'connected') {
          const early = Math.max(clock.monotonicMs(), this.#lastMs + this.#options.intervalMs() / earlyShare);
          this.#nextMs = Math.min(this.#nextMs, early);
        }
      }),
    );
  }

  stop(): void {
    for (const unsubscribe of this.#unsubscribers.splice(0)) unsubscribe();
  }

  isDue(): boolean {
    return this.#dependencies.clock.monotonicMs() >= this.#nextMs;
  }

  /** Sends one now. */
  send(state: OwnState): void {
    const { network, clock, random, signer, log } = this.#dependencies;
    const { nodeId, cluster, intervalMs } = this.#options;
    this.#sequence += 1;
    this.#lastMs = clock.monotonicMs();
    this.#nextMs = this.#lastMs + intervalMs() * (1 - jitterShare + 2 * jitterShare * random.fraction());
    const message = encodeHeartbeat({ ...state, nodeId, sequence: this.#sequence }, signer, cluster);
    this.#counted.add(1, { outcome: 'sent' });
    network
      .publish(heartbeatTopic(cluster), message)
      .catch((error: unknown) => log.debug('heartbeat:not_sent', { error }));
  }

  /** The newest heartbeat heard of a node. */
  of(nodeId: NodeId): HeardHeartbeat | undefined {
    return this.#heard.get(nodeId);
  }

  /** Forgets those who are no members any more. */
  prune(): void {
    for (const nodeId of this.#heard.keys()) {
      if (this.#dependencies.keyOf(nodeId) === undefined) this.#heard.delete(nodeId);
    }
  }

  #receive(data: Uint8Array, from: PeerId): GossipVerdict {
    const { log, heard, clock } = this.#dependencies;
    const decoded = decodeHeartbeat(data);
    const outcome = decoded.ok ? this.#judge(decoded.value, from) : decoded.error;
    if (decoded.ok && outcome === 'received') {
      const { heartbeat } = decoded.value;
      this.#counted.add(1, { outcome });
      this.#heard.set(heartbeat.nodeId, { heartbeat, atMs: clock.monotonicMs() });
      heard(heartbeat, from);
      return 'accept';
    }
    if (outcome === 'stale' || outcome === 'foreign') {
      this.#counted.add(1, { outcome });
      return 'ignore';
    }
    this.#counted.add(1, { outcome: 'refused' });
    log.warn('heartbeat:refused', { from, reason: outcome });
    return 'reject';
  }

  /** `received`, `stale`, `foreign`, or what is wrong with it. The signature comes last: it costs most. */
  #judge(signed: SignedHeartbeat, from: PeerId): string {
    const { keyOf, descriptorOf, clock } = this.#dependencies;
    const { nodeId, descriptor, sequence } = signed.heartbeat;
    if (nodeId === this.#options.nodeId) return 'stale';
    const key = keyOf(nodeId);
    if (key === undefined) return 'foreign';
    if (descriptor < descriptorOf(nodeId)) return 'stale';
    const last = this.#heard.get(nodeId);
    if (last !== undefined) {
      const { heartbeat, atMs } = last;
      // Who lost its disk may begin anew below a descriptor that nobody else has. Its own connection is no replay of it.
      const isOlder = descriptor < heartbeat.descriptor && peerIdOf(key) !== from;
      if (isOlder || (descriptor === heartbeat.descriptor && sequence <= heartbeat.sequence)) return 'stale';
      if (clock.monotonicMs() - atMs < this.#options.intervalMs() / perIntervalMax) return 'stale';
    }
    return verifyHeartbeat(signed, this.#options.cluster, key) ? 'received' : `not signed by node ${nodeId}`;
  }
}
