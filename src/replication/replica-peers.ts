import type { PeerId } from '../../crdt/ids.ts';
import { ReplicaClient } from '../../protocols/replicas/client.ts';
import { leaseMsMax, replicasProtocol } from '../../protocols/replicas/limits.ts';
import { KeptChannel } from '../../protocols/wire/kept-channel.ts';
import type { Clock } from '../ports/clock.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Network } from '../ports/network.ts';

/** How long one question may take that costs no reads of content. */
const talkDeadlineMs = 60_000;
/** How long somebody who asks about the mesh waits for one coordinator: for what it knows, and for what it has to go through. */
const viewDeadlineMs = 8_000;
const surveyDeadlineMs = 50_000;
/** Conversations that wait for one stream. */
const queuedMax = 32;

/**
 * Questions, challenges (which take as long as their contents are large) and orders to challenge others have a stream
 * each, and so have questions about the mesh: about what is known, for an audit, and about what has to be gone through.
 * Who is to check others challenges them in turn: on one stream, nodes that have each other checked would wait for one
 * another in a circle.
 */
const deadlinesMs = {
  talk: talkDeadlineMs,
  prove: leaseMsMax,
  check: leaseMsMax,
  view: viewDeadlineMs,
  audit: surveyDeadlineMs,
  survey: surveyDeadlineMs,
} as const;
export type Purpose = keyof typeof deadlinesMs;
/** Somebody waits for these: their time runs from the question on, however many wait for the same stream. */
const waitedFor: ReadonlySet<Purpose> = new Set(['view', 'audit', 'survey']);

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
   * must do no harm. Rejects with `MeshError`: `peer_unreachable` also when too many wait already, `timeout` when the turn of
   * a question that somebody waits for does not come, or does not end, in its time.
   */
  async ask<T>(peer: PeerId, purpose: Purpose, converse: (client: ReplicaClient) => Promise<T>): Promise<T> {
    this.#stopping.signal.throwIfAborted();
    if (!this.isConnected(peer)) throw new MeshError('peer_unreachable', `not connected to ${peer}`);
    const line = this.#line(peer, purpose);
    if (line.queued >= queuedMax) throw new MeshError('peer_unreachable', `too much is asked of ${peer} already`);
    line.queued += 1;
    let isLate = false;
    const asked = line.last.then(() => {
      if (isLate) throw new MeshError('timeout', `${peer} had no time for it`);
      return line.channel.use((channel) => converse(new ReplicaClient(channel)), this.#stopping.signal);
    });
    const ended = (): void => {
      line.queued -= 1;
    };
    line.last = asked.then(ended, ended);
    if (!waitedFor.has(purpose)) return asked;
    return this.#withinMs(deadlinesMs[purpose], asked, () => {
      isLate = true;
      return new MeshError('timeout', `${peer} did not answer in time`);
    });
  }

  async #withinMs<T>(ms: number, asked: Promise<T>, onLate: () => MeshError): Promise<T> {
    let cancel = (): void => undefined;
    const late = new Promise<never>((_, reject) => {
      cancel = this.#clock.setTimer(ms, () => reject(onLate()));
    });
    try {
      return await Promise.race([asked, late]);
    } finally {
      cancel();
    }
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
