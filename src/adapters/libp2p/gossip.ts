import type { GossipSub } from '@libp2p/gossipsub';
import { TopicValidatorResult } from '@libp2p/gossipsub';
import type { PeerId } from '../../../crdt/ids.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Counter, Metrics } from '../../ports/metrics.ts';
import type { GossipReceiver, GossipVerdict } from '../../ports/network.ts';

/** gossipsub drops what is too large for it without an error, so it is refused here, by name. */
const gossipBytesMax = 128 * 1024;
/** What one rejected message costs the peer that sent it; gossipsub stops listening to a peer below -80. */
const rejectionPenalty = 10;
/** A penalty has halved after this. */
const penaltyHalfLifeMs = 60_000;

const results: Readonly<Record<GossipVerdict, TopicValidatorResult>> = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject,
};

/** What peers' rejected messages have cost them, fading with time. Kept for members only, so bounded by their number. */
export class GossipPenalties {
  readonly #clock: Clock;
  readonly #penalties = new Map<PeerId, { readonly points: number; readonly atMs: number }>();

  constructor(dependencies: { readonly clock: Clock }) {
    this.#clock = dependencies.clock;
  }

  add(peer: PeerId): void {
    this.#penalties.set(peer, { points: rejectionPenalty - this.score(peer), atMs: this.#clock.monotonicMs() });
  }

  /** At most 0. */
  score(peer: PeerId): number {
    const penalty = this.#penalties.get(peer);
    if (penalty === undefined) return 0;
    return -penalty.points * 0.5 ** ((this.#clock.monotonicMs() - penalty.atMs) / penaltyHalfLifeMs);
  }
}

export interface GossipDependencies {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly penalties: GossipPenalties;
}

/** Publish/subscribe over gossipsub: verdicts are its topic validators. */
export class Gossip {
  readonly #pubsub: GossipSub;
  readonly #deps: GossipDependencies;
  readonly #received: Counter;
  readonly #sent: Counter;
  readonly #topics = new Set<string>();
  #running = false;

  constructor(pubsub: GossipSub, dependencies: GossipDependencies) {
    this.#pubsub = pubsub;
    this.#deps = dependencies;
    this.#received = dependencies.metrics.counter({
      name: 'anabranch_gossip_received_total',
      help: 'Gossip messages received, by what was made of them: accept, ignore or reject.',
      labels: ['verdict'],
    });
    this.#sent = dependencies.metrics.counter({
      name: 'anabranch_gossip_sent_total',
      help: 'Gossip messages published, by whether any peer was there to take them: some or none.',
      labels: ['recipients'],
    });
  }

  /** Takes up the subscriptions made before the node was started. */
  start(): void {
    this.#running = true;
    for (const topic of this.#topics) this.#pubsub.subscribe(topic);
  }

  stop(): void {
    this.#running = false;
  }

  subscribe(topic: string, receive: GossipReceiver): () => void {
    if (this.#topics.has(topic)) throw new Error(`a topic has one subscriber, and ${topic} has one`);
    this.#topics.add(topic);
    // gossipsub waits for a verdict that is not there yet, message by message.
    this.#pubsub.topicValidators.set(topic, async (peer, message) => {
      return results[await this.#judge(receive, message.data, peer.toString() as PeerId)];
    });
    if (this.#running) this.#pubsub.subscribe(topic);
    return () => {
      if (!this.#topics.delete(topic)) return;
      this.#pubsub.topicValidators.delete(topic);
      if (this.#running) this.#pubsub.unsubscribe(topic);
    };
  }

  async publish(topic: string, data: Uint8Array): Promise<number> {
    if (data.byteLength > gossipBytesMax) {
      const message = `a gossip message of ${data.byteLength} bytes, at most ${gossipBytesMax} are sent`;
      throw new MeshError('too_large', message);
    }
    if (!this.#running) return 0;
    const { recipients } = await this.#pubsub.publish(topic, data);
    this.#sent.add(1, { recipients: recipients.length > 0 ? 'some' : 'none' });
    return recipients.length;
  }

  async #judge(receive: GossipReceiver, data: Uint8Array, from: PeerId): Promise<GossipVerdict> {
    let verdict: GossipVerdict;
    try {
      verdict = await receive(data, from);
    } catch (error) {
      this.#deps.log.error('gossip:receiver_failed', { from, error });
      verdict = 'ignore';
    }
    if (verdict === 'reject') this.#deps.penalties.add(from);
    this.#received.add(1, { verdict });
    return verdict;
  }
}
