import type { PeerId } from '../../crdt/ids.ts';
import { ReplicaClient } from '../../protocols/replicas/client.ts';
import { leaseMsMax, replicasProtocol } from '../../protocols/replicas/limits.ts';
import { withDeadline } from '../../protocols/wire/deadline.ts';
import { KeptChannel } from '../../protocols/wire/kept-channel.ts';
import type { Clock } from '../ports/clock.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Network } from '../ports/network.ts';

/** How long one question may take that costs no reads of content. */
const talkDeadlineMs = 60_000;
/** Who checks others for us waits for each of them as long as we would: longer than for one who does not answer. */
const checkDeadlineMs = 150_000;
/** How long somebody who asks about the mesh waits for one coordinator: for what it knows, and for what it has to go through. */
const viewDeadlineMs = 8_000;
const surveyDeadlineMs = 50_000;
/** Conversations that wait for one stream. */
const queuedMax = 32;

/**
 * Questions, challenges (who asks says how long they may take: their contents may be large) and orders to challenge others
 * have a stream each, and so have questions about the mesh: about what is known, for an audit, and about what has to be gone through.
 * Who is to check others challenges them in turn: on one stream, nodes that have each other checked would wait for one
 * another in a circle.
 */
const deadlinesMs = {
  talk: talkDeadlineMs,
  prove: leaseMsMax,
  check: checkDeadlineMs,
  view: viewDeadlineMs,
  audit: surveyDeadlineMs,
  survey: surveyDeadlineMs,
} as const;
export type Purpose = keyof typeof deadlinesMs;

/** How long a question may take, its wait for the stream included, where that is not its purpose's; and what ends it early. */
export interface AskOptions {
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal | undefined;
}

interface Line {
  readonly channel: KeptChannel;
  last: Promise<unknown>;
  queued: number;
}

/** The streams of the replicas protocol to the peers, opened when there is something to ask and kept. */
export class ReplicaPeers {
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #lines = new Map<string, Line>();
  readonly #stopping = new AbortController();
  #unsubscribe: () => void = () => undefined;

  constructor(dependencies: { readonly network: Network; readonly clock: Clock }) {
    this.#network = dependencies.network;
    this.#clock = dependencies.clock;
  }

  start(): void {
    this.#unsubscribe = this.#network.onPeerChange(({ kind, peer }) => {
      if (kind === 'disconnected') this.#close(peer, new MeshError('peer_unreachable', `${peer} has gone`));
    });
  }

  stop(): void {
    this.#unsubscribe();
    this.#stopping.abort(new MeshError('shutting_down', 'the node is stopping'));
    for (const { channel } of this.#lines.values()) channel.close(this.#stopping.signal.reason as Error);
    this.#lines.clear();
  }

  isConnected(peer: PeerId): boolean {
    return this.#network.connectedPeers().includes(peer);
  }

  /**
   * Holds a conversation with a peer, after those that were begun before; it may be begun a second time, so repeating it
   * must do no harm. Rejects with `MeshError`: `peer_unreachable` also when too many wait already, `timeout` when its turn
   * does not come, or it does not end, in its time; and with the signal's reason.
   */
  async ask<T>(
    peer: PeerId,
    purpose: Purpose,
    converse: (client: ReplicaClient) => Promise<T>,
    { deadlineMs = deadlinesMs[purpose], signal }: AskOptions = {},
  ): Promise<T> {
    this.#stopping.signal.throwIfAborted();
    signal?.throwIfAborted();
    if (!this.isConnected(peer)) throw new MeshError('peer_unreachable', `not connected to ${peer}`);
    const line = this.#line(peer, purpose);
    if (line.queued >= queuedMax) throw new MeshError('peer_unreachable', `too much is asked of ${peer} already`);
    line.queued += 1;
    const isTimed = purpose !== 'talk';
    const untilMs = isTimed ? this.#clock.monotonicMs() + deadlineMs : Number.POSITIVE_INFINITY;
    const begin = (ended: AbortSignal): Promise<T> => {
      const asked = line.last.then(() => {
        ended.throwIfAborted();
        // The timers of several may be due together.
        if (this.#clock.monotonicMs() >= untilMs) throw new MeshError('timeout', `${peer} had no time for it`);
        return line.channel.use((channel) => converse(new ReplicaClient(channel)), ended);
      });
      const done = (): void => {
        line.queued -= 1;
      };
      line.last = asked.then(done, done);
      return asked;
    };
    const stopped = this.#stopping.signal;
    const ended = signal === undefined ? stopped : AbortSignal.any([stopped, signal]);
    // What costs no reads waits for its turn for as long as that takes; from then on the channel bounds it.
    return isTimed ? withDeadline(this.#clock, deadlineMs, begin, ended) : begin(ended);
  }

  #line(peer: PeerId, purpose: Purpose): Line {
    const name = `${peer} ${purpose}`;
    const known = this.#lines.get(name);
    if (known !== undefined) return known;
    const options = { peer, protocol: replicasProtocol, deadlineMs: deadlinesMs[purpose] };
    const channel = new KeptChannel({ network: this.#network, clock: this.#clock }, options);
    const line: Line = { channel, last: Promise.resolve(), queued: 0 };
    this.#lines.set(name, line);
    return line;
  }

  #close(peer: PeerId, reason: Error): void {
    for (const purpose of Object.keys(deadlinesMs)) {
      const name = `${peer} ${purpose}`;
      this.#lines.get(name)?.channel.close(reason);
      this.#lines.delete(name);
    }
  }
}
