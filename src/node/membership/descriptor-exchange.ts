import type { ClusterId, NodeId, PeerId } from '../../../crdt/ids.ts';
import { decodeDescriptor, type SignedDescriptor } from '../../../crdt/membership-descriptor.ts';
import { pullDescriptors } from '../../../protocols/membership/client.ts';
import {
  decodeDescriptorGossip,
  descriptorTopic,
  encodeDescriptorGossip,
  membershipProtocol,
} from '../../../protocols/membership/messages.ts';
import { serveMembership } from '../../../protocols/membership/server.ts';
import { Channel } from '../../../protocols/wire/channel.ts';
import { withDeadline } from '../../../protocols/wire/deadline.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Counter, Metrics } from '../../ports/metrics.ts';
import type { GossipVerdict, Network } from '../../ports/network.ts';
import type { Random } from '../../ports/random.ts';
import type { Descriptors } from './descriptors.ts';

const inboundStreamsMax = 4;
const pullDeadlineMs = 10_000;
/** Peers that are asked at once: what one has, the next has mostly too. */
const pullsAtOnceMax = 2;
/** A peer is asked again no sooner than this, and twice as late each time it had nothing new. */
const pullGapMsMin = 2_000;
const pullGapMsMax = 300_000;
/** A peer that sent what can never be valid waits at least this long. */
const faultGapMs = 60_000;
/** How long a new peer's heartbeat is waited for, which mostly shows that there is nothing to ask. */
const connectDelayMs = 3_000;

interface Dependencies {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly descriptors: Descriptors;
  /** Whether the control log here has this node as a member. */
  readonly isMember: (nodeId: NodeId) => boolean;
}

/** What is known of asking one peer. */
interface Asked {
  notBeforeMs: number;
  /** Times in a row that it had nothing new, or did not answer. */
  inVain: number;
  isRunning: boolean;
  /** A digest of it was heard, equal or not, since it was connected. */
  isHeard: boolean;
  cancelTimer: () => void;
}

/**
 * Spreads descriptors: a new one is gossiped by its node, and whoever hears from a peer's heartbeat that it holds
 * others compares with it and fetches what is newer there. Each side pulls for itself, so in the end all hold the same.
 */
export class DescriptorExchange {
  readonly #dependencies: Dependencies;
  readonly #cluster: ClusterId;
  readonly #peers = new Map<PeerId, Asked>();
  readonly #stopping = new AbortController();
  readonly #unsubscribers: (() => void)[] = [];
  readonly #counted: Counter;
  #running = 0;

  constructor(dependencies: Dependencies, cluster: ClusterId) {
    this.#dependencies = dependencies;
    this.#cluster = cluster;
    this.#counted = dependencies.metrics.counter({
      name: 'anabranch_descriptors_total',
      help: 'Descriptors of nodes: issued here, taken from others, known already, foreign (of no member known here), or refused.',
      labels: ['outcome'],
    });
  }

  /** Serves and listens; called before the network starts. */
  start(): void {
    const { network, clock, descriptors } = this.#dependencies;
    const serve = (stream: Parameters<typeof serveMembership>[0]): Promise<void> =>
      serveMembership(stream, () => descriptors.set, { clock });
    network.handle(membershipProtocol, serve, { inboundStreamsMax });
    this.#unsubscribers.push(
      network.subscribe(descriptorTopic(this.#cluster), (data, from) => this.#receive(data, from)),
      network.onPeerChange(({ kind, peer }) => {
        if (kind === 'connected') this.#join(peer);
        else this.#leave(peer);
      }),
    );
  }

  stop(): void {
    this.#stopping.abort(new MeshError('shutting_down', 'the node is stopping'));
    for (const unsubscribe of this.#unsubscribers.splice(0)) unsubscribe();
    for (const peer of [...this.#peers.keys()]) this.#leave(peer);
  }

  /** Tells everyone of this node's own new descriptor. */
  announce(signed: SignedDescriptor): void {
    const { network, log } = this.#dependencies;
    this.#counted.add(1, { outcome: 'issued' });
    const { sequence, addresses } = signed.descriptor;
    log.debug('membership:issued', { sequence, addresses });
    void network.publish(descriptorTopic(this.#cluster), encodeDescriptorGossip([signed]));
  }

  /** A connected peer says of what it holds that it has this digest. */
  heardDigest(peer: PeerId, digest: Uint8Array): void {
    const asked = this.#peers.get(peer);
    if (asked === undefined) return;
    asked.isHeard = true;
    if (this.#holdsSame(digest)) asked.inVain = 0;
    else this.#pullSoon(peer, asked);
  }

  #holdsSame(digest: Uint8Array): boolean {
    return Buffer.from(digest).equals(this.#dependencies.descriptors.digest());
  }

  #join(peer: PeerId): void {
    const { clock, random } = this.#dependencies;
    if (this.#peers.has(peer)) return;
    const asked: Asked = {
      notBeforeMs: Number.NEGATIVE_INFINITY,
      inVain: 0,
      isRunning: false,
      isHeard: false,
      cancelTimer: () => undefined,
    };
    this.#peers.set(peer, asked);
    asked.cancelTimer = clock.setTimer(connectDelayMs * (1 + random.fraction()), () => {
      if (!asked.isHeard) this.#pullSoon(peer, asked);
    });
  }

  #leave(peer: PeerId): void {
    this.#peers.get(peer)?.cancelTimer();
    this.#peers.delete(peer);
  }

  /** Asks a peer, unless it was asked lately or enough others are being asked: its next heartbeat brings it up again. */
  #pullSoon(peer: PeerId, asked: Asked): void {
    const { clock } = this.#dependencies;
    if (asked.isRunning || this.#running >= pullsAtOnceMax || clock.monotonicMs() < asked.notBeforeMs) return;
    asked.isRunning = true;
    this.#running += 1;
    void this.#pull(peer, asked).finally(() => {
      asked.isRunning = false;
      this.#running -= 1;
    });
  }

  async #pull(peer: PeerId, asked: Asked): Promise<void> {
    const { clock, random, log } = this.#dependencies;
    let gapMs = 0;
    try {
      const pulled = await this.#exchange(peer);
      asked.inVain = pulled > 0 ? 0 : asked.inVain + 1;
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      asked.inVain += 1;
      const isFault = error instanceof MeshError && error.code === 'protocol_violation';
      if (isFault) {
        this.#counted.add(1, { outcome: 'refused' });
        gapMs = faultGapMs;
      }
      log[isFault ? 'warn' : 'debug']('membership:not_pulled', { peer, error });
    }
    const backoffMs = Math.min(pullGapMsMax, pullGapMsMin * 2 ** Math.min(asked.inVain, 10));
    asked.notBeforeMs = clock.monotonicMs() + Math.max(gapMs, backoffMs * (0.5 + random.fraction() / 2));
  }

  #exchange(peer: PeerId): Promise<number> {
    const { network, clock, descriptors, isMember } = this.#dependencies;
    return withDeadline(
      clock,
      pullDeadlineMs,
      async (signal) => {
        const channel = new Channel(await network.open(peer, membershipProtocol, signal), { clock }, { signal });
        try {
          const sink = {
            held: () => descriptors.set,
            wants: isMember,
            take: (signed: readonly SignedDescriptor[]) => this.#take(signed),
          };
          const pulled = await pullDescriptors(channel, sink);
          await channel.end();
          return pulled;
        } catch (error) {
          channel.reset(error instanceof Error ? error : new Error(String(error)));
          throw error;
        }
      },
      this.#stopping.signal,
    );
  }

  async #take(signed: readonly SignedDescriptor[]): Promise<string | undefined> {
    const forged = await this.#dependencies.descriptors.takeAll(signed);
    this.#counted.add(signed.length - forged.length, { outcome: 'taken' });
    return forged.length === 0 ? undefined : `that of node ${forged[0]} is not signed by it`;
  }

  #receive(data: Uint8Array, from: PeerId): GossipVerdict {
    const judged = this.#judge(data);
    if (typeof judged !== 'string') {
      this.#dependencies.descriptors.keep(judged);
      this.#counted.add(judged.length, { outcome: 'taken' });
      return 'accept';
    }
    if (judged === 'known' || judged === 'foreign') {
      this.#counted.add(1, { outcome: judged });
      return 'ignore';
    }
    this.#counted.add(1, { outcome: 'refused' });
    this.#dependencies.log.warn('membership:refused', { from, reason: judged });
    return 'reject';
  }

  /** The new ones of a message; that there are none, and why; or what is wrong with it. */
  #judge(data: Uint8Array): readonly SignedDescriptor[] | string {
    const texts = decodeDescriptorGossip(data);
    if (!texts.ok) return texts.error;
    const fresh: SignedDescriptor[] = [];
    let isForeign = false;
    for (const text of texts.value) {
      const decoded = decodeDescriptor(text);
      if (!decoded.ok) return decoded.error;
      const verdict = this.#dependencies.descriptors.judge(decoded.value);
      if (verdict === 'forged') return `the descriptor of ${decoded.value.descriptor.nodeId} is not signed by it`;
      if (verdict === 'new') fresh.push(decoded.value);
      isForeign ||= verdict === 'foreign';
    }
    if (fresh.length > 0) return fresh;
    return isForeign ? 'foreign' : 'known';
  }
}
