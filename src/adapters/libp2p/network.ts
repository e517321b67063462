import type { Connection, Stream } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import type { PeerId } from '../../../crdt/ids.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Counter, Gauge, Metrics } from '../../ports/metrics.ts';
import type {
  ByteStream,
  GossipReceiver,
  Network,
  NetworkMember,
  PeerChange,
  StreamHandler,
} from '../../ports/network.ts';
import type { Random } from '../../ports/random.ts';
import type { HeartbeatOptions } from './connection-book.ts';
import { ConnectionBook } from './connection-book.ts';
import { Dialer } from './dialer.ts';
import { createGater } from './gater.ts';
import { Gossip, GossipPenalties } from './gossip.ts';
import type { Host } from './host.ts';
import { createHost } from './host.ts';
import { Libp2pStream } from './stream.ts';

const heartbeatDefault: HeartbeatOptions = { intervalMs: 5_000, timeoutMs: 5_000, missesMax: 3 };
/** How often membership is looked at again, for who is to be dialled and who is to be dropped. */
const refreshIntervalMs = 2_000;
const openTimeoutMs = 10_000;
const stopTimeoutMs = 3_000;
/** Streams a peer may have open to one protocol when its handler names no number. */
const inboundStreamsMaxDefault = 32;
/** Streams this node may have open to a peer over one protocol; how many it wants is the protocol's to decide. */
const outboundStreamsMax = 512;
/** How long a stream may outlive the handler that is done with it before it is reset. */
const lingerMs = 10_000;
/** A connection this young may not have its gossip stream yet. */
const gossipGraceMs = 15_000;

export interface Libp2pNetworkDependencies {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly random: Random;
}

export interface Libp2pNetworkOptions {
  /** 32 bytes: the node's ed25519 seed, from which its peer id follows. */
  readonly seed: Uint8Array;
  /** Multiaddrs to listen on, as `/ip4/127.0.0.1/tcp/7500`. */
  readonly listen: readonly string[];
  /**
   * The members until `setMembers` says otherwise, this node among them or not. Read again and again; who is not in
   * it gets nothing.
   */
  readonly members: () => readonly NetworkMember[];
  readonly heartbeat?: HeartbeatOptions;
}

/** A node on the mesh, not started yet. */
export async function createLibp2pNetwork(
  dependencies: Libp2pNetworkDependencies,
  options: Libp2pNetworkOptions,
): Promise<Libp2pNetwork> {
  const penalties = new GossipPenalties(dependencies);
  const cut = new Set<PeerId>();
  const refused = dependencies.metrics.counter({
    name: 'anabranch_connections_refused_total',
    help: 'Connections refused because the peer is no member, or cut off.',
  });
  const roll: Roll = { members: options.members };
  const admits = (peer: PeerId): boolean => !cut.has(peer) && roll.members().some(({ peerId }) => peerId === peer);
  const gater = createGater(admits, (peer) => {
    refused.add(1);
    dependencies.log.debug('connection:refused', { peer });
  });
  const gossipScore = (peer: PeerId): number => penalties.score(peer);
  const host = await createHost({ seed: options.seed, listen: options.listen, gater, gossipScore });
  const gossip = new Gossip(host.services.gossip, { ...dependencies, penalties });
  return new Libp2pNetwork(host, gossip, { cut, roll }, dependencies, options);
}

/** Who the members are, shared with the gater. */
interface Roll {
  members: () => readonly NetworkMember[];
}

/** The mesh over libp2p: TCP, TLS 1.3 (or Noise), yamux and gossipsub, between members only. */
export class Libp2pNetwork implements Network {
  readonly localPeer: PeerId;
  readonly #host: Host;
  readonly #gossip: Gossip;
  readonly #cut: Set<PeerId>;
  readonly #roll: Roll;
  readonly #deps: Libp2pNetworkDependencies;
  readonly #options: Libp2pNetworkOptions;
  readonly #book: ConnectionBook;
  readonly #dialer: Dialer;
  readonly #listeners = new Set<(change: PeerChange) => void>();
  readonly #inboundStreams = new Map<string, number>();
  readonly #dials: Counter;
  readonly #connected: Gauge;
  #cancelRefresh: (() => void) | undefined;

  constructor(
    host: Host,
    gossip: Gossip,
    { cut, roll }: { readonly cut: Set<PeerId>; readonly roll: Roll },
    dependencies: Libp2pNetworkDependencies,
    options: Libp2pNetworkOptions,
  ) {
    const { clock, log, metrics, random } = dependencies;
    this.localPeer = host.peerId.toString() as PeerId;
    this.#host = host;
    this.#gossip = gossip;
    this.#cut = cut;
    this.#roll = roll;
    this.#deps = dependencies;
    this.#options = options;
    const onChange = (change: PeerChange): void => this.#onChange(change);
    const isDefective = (connections: readonly Connection[]): boolean => lacksGossip(connections);
    this.#book = new ConnectionBook({ clock, log, onChange, isDefective }, options.heartbeat ?? heartbeatDefault);
    this.#dialer = new Dialer({
      clock,
      random,
      localPeer: this.localPeer,
      wanted: () => this.#wanted(),
      isConnected: (peer) => this.#book.isConnected(peer),
      dial: (target, signal) => this.#dial(target, signal),
    });
    this.#dials = metrics.counter({
      name: 'anabranch_dials_total',
      help: 'Attempts to connect to a member, by outcome: opened or failed.',
      labels: ['outcome'],
    });
    this.#connected = metrics.gauge({ name: 'anabranch_connected_peers', help: 'Members connected now.' });
    host.addEventListener('connection:open', ({ detail }) => this.#book.opened(detail));
    host.addEventListener('connection:close', ({ detail }) => this.#book.closed(detail));
  }

  setMembers(members: readonly NetworkMember[]): void {
    const before = new Map(this.#roll.members().map(({ peerId, addresses }) => [peerId, addresses.join(' ')]));
    this.#roll.members = () => members;
    if (this.#cancelRefresh === undefined) return;
    this.#refresh();
    // The delay between attempts was earned at the addresses of before.
    const moved = members.filter(({ peerId, addresses }) => before.get(peerId) !== addresses.join(' '));
    this.#dialer.retryNow(moved.map(({ peerId }) => peerId));
  }

  /** Rejects with `MeshError` `io_error` when an address cannot be listened on. */
  async start(): Promise<void> {
    try {
      await this.#host.start();
    } catch (cause) {
      throw new MeshError('io_error', `cannot listen on ${this.#options.listen.join(', ')}`, { cause });
    }
    this.#gossip.start();
    this.#refresh();
  }

  async stop(): Promise<void> {
    this.#cancelRefresh?.();
    this.#cancelRefresh = undefined;
    this.#dialer.stop();
    this.#gossip.stop();
    this.#book.drop(() => true, new MeshError('shutting_down', 'this node is stopping'));
    let cancelTimeout = (): void => undefined;
    const timeout = new Promise<void>((resolve) => {
      cancelTimeout = this.#deps.clock.setTimer(stopTimeoutMs, () => {
        this.#deps.log.warn('network:stop_timed_out', { timeoutMs: stopTimeoutMs });
        resolve();
      });
    });
    await Promise.race([timeout, Promise.resolve(this.#host.stop())]);
    cancelTimeout();
  }

  addresses(): readonly string[] {
    return this.#host.getMultiaddrs().map((address) => withoutPeer(address.toString()));
  }

  connectedPeers(): readonly PeerId[] {
    return this.#book.connectedPeers();
  }

  turnedAwayBy(): readonly PeerId[] {
    return this.#book.turnedAwayBy(this.#wanted().map(({ peerId }) => peerId));
  }

  onPeerChange(listener: (change: PeerChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  handle(protocol: string, handler: StreamHandler, options: { readonly inboundStreamsMax?: number } = {}): void {
    const inboundStreamsMax = options.inboundStreamsMax ?? inboundStreamsMaxDefault;
    const serve = (stream: Stream, connection: Connection): void => {
      this.#serve(protocol, handler, inboundStreamsMax, stream, connection.remotePeer.toString() as PeerId);
    };
    // libp2p counts a connection's streams; a peer may have several connections, so the peer's are counted in `#serve`.
    this.#host
      .handle(protocol, serve, { maxInboundStreams: inboundStreamsMax + 1, maxOutboundStreams: outboundStreamsMax })
      .catch((error: unknown) => this.#deps.log.error('protocol:not_registered', { protocol, error }));
  }

  async open(peer: PeerId, protocol: string, signal?: AbortSignal): Promise<ByteStream> {
    signal?.throwIfAborted();
    const connection = this.#book.connectionTo(peer);
    if (connection === undefined) throw new MeshError('peer_unreachable', `not connected to ${peer}`);
    const late = new AbortController();
    const cancel = this.#deps.clock.setTimer(openTimeoutMs, () => late.abort());
    try {
      const stream = await connection.newStream(protocol, {
        signal: signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]),
        maxOutboundStreams: outboundStreamsMax,
      });
      return new Libp2pStream(stream, peer, this.#deps);
    } catch (cause) {
      signal?.throwIfAborted();
      throw new MeshError('peer_unreachable', `${protocol} could not be opened to ${peer}`, { cause });
    } finally {
      cancel();
    }
  }

  subscribe(topic: string, receive: GossipReceiver): () => void {
    return this.#gossip.subscribe(topic, receive);
  }

  publish(topic: string, data: Uint8Array): Promise<number> {
    return this.#gossip.publish(topic, data);
  }

  /**
   * For development: closes the connections to exactly these peers and refuses new ones until a later call
   * leaves them out, when they are dialled at once. Whether anything can call it is the composition's to decide.
   */
  async setCut(peers: ReadonlySet<PeerId>): Promise<void> {
    const lifted = [...this.#cut].filter((peer) => !peers.has(peer));
    this.#cut.clear();
    for (const peer of peers) this.#cut.add(peer);
    this.#book.drop((peer) => peers.has(peer), new MeshError('peer_unreachable', 'cut off'));
    if (this.#cancelRefresh !== undefined) this.#dialer.retryNow(lifted);
  }

  #wanted(): readonly NetworkMember[] {
    return this.#roll.members().filter(({ peerId }) => peerId !== this.localPeer && !this.#cut.has(peerId));
  }

  #refresh(): void {
    this.#cancelRefresh?.();
    const members = new Set(this.#roll.members().map(({ peerId }) => peerId));
    this.#book.drop((peer) => !members.has(peer), new MeshError('peer_unreachable', 'no longer a member'));
    this.#dialer.refresh();
    this.#cancelRefresh = this.#deps.clock.setTimer(refreshIntervalMs, () => this.#refresh());
  }

  async #dial({ peerId, addresses }: NetworkMember, signal: AbortSignal): Promise<void> {
    try {
      const targets = addresses.map((address) => multiaddr(`${withoutPeer(address)}/p2p/${peerId}`));
      await this.#host.dial(targets, { signal });
      this.#dials.add(1, { outcome: 'opened' });
    } catch (error) {
      this.#dials.add(1, { outcome: 'failed' });
      this.#book.notReached(peerId);
      this.#deps.log.debug('dial:failed', { peer: peerId, error });
      throw error;
    }
  }

  #onChange(change: PeerChange): void {
    this.#deps.log.info(`peer:${change.kind}`, { peer: change.peer });
    this.#connected.set(this.#book.connectedPeers().length);
    this.#dialer.refresh();
    for (const listener of [...this.#listeners]) listener(change);
  }

  #serve(protocol: string, handler: StreamHandler, streamsMax: number, raw: Stream, peer: PeerId): void {
    const stream = new Libp2pStream(raw, peer, this.#deps);
    const slot = `${protocol} ${peer}`;
    const open = this.#inboundStreams.get(slot) ?? 0;
    if (open >= streamsMax) {
      this.#deps.log.warn('stream:refused', { peer, protocol, streamsMax });
      stream.reset(new MeshError('stream_failed', `a peer has at most ${streamsMax} streams of ${protocol}`));
      return;
    }
    this.#inboundStreams.set(slot, open + 1);
    handler(stream)
      .then(
        () => this.#linger(stream),
        (error: unknown) => {
          this.#deps.log.debug('stream:handler_failed', { peer, protocol, error });
          stream.reset(error instanceof Error ? error : new Error(String(error)));
        },
      )
      .finally(() => {
        const rest = (this.#inboundStreams.get(slot) ?? 1) - 1;
        if (rest === 0) this.#inboundStreams.delete(slot);
        else this.#inboundStreams.set(slot, rest);
      });
  }

  /** The peer may still have to end its side; a stream that nobody serves is not kept for it for ever. */
  #linger(stream: Libp2pStream): void {
    const cancel = this.#deps.clock.setTimer(lingerMs, () => {
      stream.reset(new MeshError('timeout', 'the stream was not ended'));
    });
    stream.onClosed(cancel);
  }
}

function withoutPeer(address: string): string {
  return address.replace(/\/p2p\/[^/]+$/, '');
}

/**
 * gossipsub opens its stream to a peer once a connection; when that stream breaks while the connection lasts,
 * or its connection closes beside another one, the peer is without gossip until it is connected anew.
 */
function lacksGossip(connections: readonly Connection[]): boolean {
  const youngestMs = Math.max(...connections.map(({ timeline }) => timeline.open));
  if (Date.now() - youngestMs < gossipGraceMs) return false;
  return !connections.some(({ streams }) =>
    streams.some(({ direction, protocol }) => direction === 'outbound' && protocol.startsWith('/meshsub/')),
  );
}
