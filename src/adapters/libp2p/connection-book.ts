import type { Connection } from '@libp2p/interface';
import type { PeerId } from '../../../crdt/ids.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { PeerChange } from '../../ports/network.ts';
import { Libp2pStream } from './stream.ts';

const pingProtocol = '/ipfs/ping/1.0.0';
const pingBytes = 32;

export interface HeartbeatOptions {
  /** Between two pings on a connection. */
  readonly intervalMs: number;
  /** A ping without an answer for so long is a miss. */
  readonly timeoutMs: number;
  /** So many misses in a row and the connection is dropped. */
  readonly missesMax: number;
}

export interface ConnectionBookDependencies {
  readonly clock: Clock;
  readonly log: Log;
  readonly onChange: (change: PeerChange) => void;
  /** Called after each answered ping; true drops the peer's connections, because something else on them is broken. */
  readonly isDefective: (connections: readonly Connection[]) => boolean;
}

interface Entry {
  readonly connection: Connection;
  readonly peer: PeerId;
  readonly gone: AbortController;
  /** True once the peer has answered a ping: an open connection alone may be one the peer is about to refuse. */
  proved: boolean;
  /** It was this node that closed it. */
  dropped: boolean;
}

/**
 * The open connections. A peer counts as connected from the first answered ping on its first connection
 * until its last proved connection closes, however many it has in between (two nodes may dial each other at once).
 */
export class ConnectionBook {
  readonly #deps: ConnectionBookDependencies;
  readonly #heartbeat: HeartbeatOptions;
  readonly #peers = new Map<PeerId, Entry[]>();
  /** Those who closed the last connection that was dialled to them before they had answered anything. */
  readonly #turnedAwayBy = new Set<PeerId>();

  constructor(dependencies: ConnectionBookDependencies, heartbeat: HeartbeatOptions) {
    this.#deps = dependencies;
    this.#heartbeat = heartbeat;
  }

  opened(connection: Connection): void {
    const peer = connection.remotePeer.toString() as PeerId;
    const entry: Entry = { connection, peer, gone: new AbortController(), proved: false, dropped: false };
    const entries = this.#peers.get(peer) ?? [];
    this.#peers.set(peer, [...entries, entry]);
    if (connection.status === 'open') void this.#watch(entry);
    else this.closed(connection);
  }

  closed(connection: Connection): void {
    const peer = connection.remotePeer.toString() as PeerId;
    const entries = this.#peers.get(peer) ?? [];
    const entry = entries.find((candidate) => candidate.connection === connection);
    if (entry === undefined) return;
    const wasConnected = this.isConnected(peer);
    entry.gone.abort();
    if (!entry.proved && !entry.dropped && connection.direction === 'outbound') this.#turnedAwayBy.add(peer);
    const rest = entries.filter((candidate) => candidate !== entry);
    if (rest.length === 0) this.#peers.delete(peer);
    else this.#peers.set(peer, rest);
    if (wasConnected && !this.isConnected(peer)) this.#deps.onChange({ kind: 'disconnected', peer });
  }

  /** Members of those named who turned this node away when it last dialled them. */
  turnedAwayBy(members: readonly PeerId[]): PeerId[] {
    return members.filter((peer) => this.#turnedAwayBy.has(peer) && !this.isConnected(peer));
  }

  /** A dial has failed: whether the peer would refuse is not known any more. */
  notReached(peer: PeerId): void {
    this.#turnedAwayBy.delete(peer);
  }

  isConnected(peer: PeerId): boolean {
    return this.connectionTo(peer) !== undefined;
  }

  connectedPeers(): PeerId[] {
    return [...this.#peers.keys()].filter((peer) => this.isConnected(peer));
  }

  /** The oldest proved connection, so that all streams to a peer share one while it lasts. */
  connectionTo(peer: PeerId): Connection | undefined {
    return this.#peers.get(peer)?.find((entry) => entry.proved)?.connection;
  }

  /** Drops every connection to the peers that `unwanted` names, at once. */
  drop(unwanted: (peer: PeerId) => boolean, reason: MeshError): void {
    for (const [peer, entries] of [...this.#peers]) {
      if (!unwanted(peer)) continue;
      this.#turnedAwayBy.delete(peer);
      for (const entry of entries) {
        entry.dropped = true;
        entry.connection.abort(reason);
      }
    }
  }

  async #watch(entry: Entry): Promise<void> {
    const { clock, log } = this.#deps;
    const { signal } = entry.gone;
    for (let misses = 0; misses < this.#heartbeat.missesMax; ) {
      try {
        await this.#ping(entry);
        misses = 0;
      } catch {
        misses += 1;
      }
      if (signal.aborted) return;
      if (misses === 0 && !this.#onAnswer(entry)) return;
      await clock.sleep(this.#heartbeat.intervalMs, signal).catch(() => undefined);
      if (signal.aborted) return;
    }
    log.warn('connection:stalled', { peer: entry.peer, misses: this.#heartbeat.missesMax });
    entry.dropped = true;
    entry.connection.abort(new MeshError('timeout', `${this.#heartbeat.missesMax} pings without an answer`));
  }

  /** False when the connection was given up. */
  #onAnswer(entry: Entry): boolean {
    const entries = this.#peers.get(entry.peer) ?? [];
    if (!entry.proved) {
      const wasConnected = this.isConnected(entry.peer);
      entry.proved = true;
      this.#turnedAwayBy.delete(entry.peer);
      if (!wasConnected) this.#deps.onChange({ kind: 'connected', peer: entry.peer });
      return true;
    }
    if (!this.#deps.isDefective(entries.map(({ connection }) => connection))) return true;
    this.#deps.log.warn('connection:defective', { peer: entry.peer });
    this.drop((peer) => peer === entry.peer, new MeshError('stream_failed', 'the gossip stream to the peer was lost'));
    return false;
  }

  async #ping({ connection, peer, gone }: Entry): Promise<void> {
    const { clock } = this.#deps;
    // Not `AbortSignal.any`: one that somebody listens to lives as long as the connection, and the stream with it.
    const ended = new AbortController();
    const end = (): void => ended.abort(new MeshError('timeout', 'no pong'));
    const cancel = clock.setTimer(this.#heartbeat.timeoutMs, end);
    gone.signal.addEventListener('abort', end, { once: true });
    try {
      const { signal } = ended;
      const stream = new Libp2pStream(await connection.newStream(pingProtocol, { signal }), peer, { clock });
      signal.addEventListener('abort', () => stream.reset(new MeshError('timeout', 'no pong')), { once: true });
      await stream.write(crypto.getRandomValues(new Uint8Array(pingBytes)));
      for (let received = 0; received < pingBytes; ) {
        const bytes = await stream.read();
        if (bytes === null) {
          const cutShort = new MeshError('stream_failed', 'the ping was cut short');
          // Else this side of it stays open, and libp2p lets there be no other ping.
          stream.reset(cutShort);
          throw cutShort;
        }
        received += bytes.byteLength;
      }
      await stream.end();
    } finally {
      cancel();
      gone.signal.removeEventListener('abort', end);
    }
  }
}
