import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { PeerId } from '../../../crdt/ids.ts';
import type { Clock } from '../../ports/clock.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type {
  ByteStream,
  GossipReceiver,
  Network,
  NetworkMember,
  PeerChange,
  StreamHandler,
} from '../../ports/network.ts';
import type { MemoryStream } from './byte-stream.ts';
import type { ConnectionEnd } from './connection.ts';
import { Connection } from './connection.ts';
import { LinkGates } from './link-gates.ts';
import type { LinkModel } from './links.ts';
import { steadyLinks } from './links.ts';

/** Gossip larger than this is refused, as the production adapter does. */
const gossipBytesMax = 128 * 1024;
/**
 * Messages are not passed on at once, as in production: at each of some beats some peers are told which there were, and who
 * lacks one gets it. gossipsub's `Dlazy`, `mcacheGossip` and heartbeat.
 */
const toldPeers = 3;
const toldBeats = 3;
const beatMs = 1_000;
/** How many gossip messages a node remembers, so that each is passed on once. */
const seenGossipMax = 4_096;
/** For how long it does, in milliseconds: gossipsub's `GossipsubSeenTTL`. */
const seenGossipMsDefault = 120_000;
/** Streams a peer may have open to one protocol when its handler names no number. */
const inboundStreamsMaxDefault = 32;

export interface MemoryHubDependencies {
  readonly clock: Clock;
}

export interface MemoryHubOptions {
  /** Steady links of 1 ms when absent. */
  readonly links?: LinkModel;
  /** For how long a node remembers a gossip message: the same bytes are a new message to it after that; 120,000 ms when absent. */
  readonly seenGossipMs?: number;
}

export interface MemoryNodeOptions {
  /** Who is a member in this node's eyes; everyone when absent. */
  readonly admits?: (peer: PeerId) => boolean;
}

/** A message that others are told of at the next beats. */
interface RecentGossip {
  readonly topic: string;
  readonly data: Uint8Array;
  beatsLeft: number;
}

interface Handler {
  readonly run: StreamHandler;
  readonly inboundStreamsMax: number;
}

/**
 * The links between the nodes of one process. Everything that travels is scheduled through the clock, so a
 * run on a virtual clock is the same every time. The link model decides delays and losses; partitions are cut here.
 */
export class MemoryHub {
  readonly clock: Clock;
  readonly links: LinkModel;
  readonly gates = new LinkGates();
  readonly seenGossipMs: number;
  readonly #running = new Map<PeerId, MemoryNetwork>();
  readonly #connections = new Map<string, Connection>();
  readonly #connecting = new Set<string>();
  readonly #cut = new Set<string>();
  readonly #gossipIds = new WeakMap<Uint8Array, string>();

  constructor(dependencies: MemoryHubDependencies, options: MemoryHubOptions = {}) {
    this.clock = dependencies.clock;
    this.links = options.links ?? steadyLinks(1);
    this.seenGossipMs = options.seenGossipMs ?? seenGossipMsDefault;
  }

  /** A node's network on this hub. A peer has one running network at a time. */
  join(peer: PeerId, options: MemoryNodeOptions = {}): MemoryNetwork {
    return new MemoryNetwork(this, peer, options);
  }

  /** Cuts every link between the two groups; links within a group, and to others, stay. */
  partition(groupA: Iterable<PeerId>, groupB: Iterable<PeerId>): void {
    const others = [...groupB];
    for (const a of groupA) for (const b of others) if (a !== b) this.#cut.add(linkKey(a, b));
    this.refresh();
  }

  /** Lifts every cut, one-way cuts too; the nodes connect again after the links' delay. */
  heal(): void {
    this.#cut.clear();
    this.gates.unmuteAll();
    this.refresh();
  }

  /** Nothing arrives from the one at the other any more, though the reverse does, until both notice that the link is dead. */
  cutOneWay(from: PeerId, to: PeerId): void {
    this.gates.mute(from, to);
    const connection = this.#connections.get(linkKey(from, to));
    if (connection !== undefined) this.#loseLater(connection);
  }

  /** Keeps whatever travels from the one to the other until `release`. */
  hold(from: PeerId, to: PeerId): void {
    this.gates.hold(from, to);
  }

  release(from: PeerId, to: PeerId): void {
    for (const arrive of this.gates.release(from, to)) this.clock.setTimer(0, arrive);
    this.refresh();
  }

  /** Drops the connection between two nodes, with what is on its way; they connect again by themselves. */
  dropConnection(a: PeerId, b: PeerId): void {
    const connection = this.#connections.get(linkKey(a, b));
    if (connection?.carrying) this.#sever(connection);
  }

  /** Closes what is cut or not admitted any more, and connects what may be connected. */
  refresh(): void {
    const nodes = [...this.#running.values()];
    for (const [index, a] of nodes.entries()) for (const b of nodes.slice(index + 1)) this.#refreshLink(a, b);
  }

  /** Messages are named by their data, as in production: the same bytes twice are one message. */
  gossipId(data: Uint8Array): string {
    // The very same array reaches every node many times over; it is never changed.
    let id = this.#gossipIds.get(data);
    if (id === undefined) {
      id = createHash('sha256').update(data).digest('base64');
      this.#gossipIds.set(data, id);
    }
    return id;
  }

  /** Who could be reached by a node and does not admit it. */
  refusing(node: MemoryNetwork): PeerId[] {
    return [...this.#running.values()]
      .filter((each) => each !== node && node.admits(each.localPeer) && !each.admits(node.localPeer))
      .filter((each) => !this.#cut.has(linkKey(node.localPeer, each.localPeer)))
      .map((each) => each.localPeer);
  }

  attach(node: MemoryNetwork): void {
    assert(!this.#running.has(node.localPeer), 'a peer runs once');
    this.#running.set(node.localPeer, node);
    this.refresh();
  }

  detach(node: MemoryNetwork): void {
    this.#running.delete(node.localPeer);
    for (const connection of [...this.#connections.values()]) {
      if (!connection.joins(node)) continue;
      this.#connections.delete(connection.key);
      connection.close(node, this.links.streamDelayMs(node.localPeer, connection.otherEnd(node).localPeer, 0));
    }
  }

  /** A node whose power failed: nothing of it runs on, and the others notice in their time. */
  forget(node: MemoryNetwork): void {
    this.#running.delete(node.localPeer);
    for (const connection of [...this.#connections.values()]) {
      if (!connection.joins(node)) continue;
      this.#connections.delete(connection.key);
      connection.abandon(node, this.links.noticeDelayMs(node.localPeer, connection.otherEnd(node).localPeer));
    }
  }

  #refreshLink(a: MemoryNetwork, b: MemoryNetwork): void {
    const key = linkKey(a.localPeer, b.localPeer);
    const connection = this.#connections.get(key);
    if (connection !== undefined) {
      if (!this.#isAllowed(a, b) && connection.carrying) this.#sever(connection);
      return;
    }
    if (!this.#mayConnect(a, b) || this.#connecting.has(key)) return;
    this.#connecting.add(key);
    this.clock.setTimer(this.links.connectDelayMs(a.localPeer, b.localPeer), () => {
      this.#connecting.delete(key);
      this.#connect(key, a.localPeer, b.localPeer);
    });
  }

  #connect(key: string, peerA: PeerId, peerB: PeerId): void {
    // Either end may have been restarted in the meantime.
    const a = this.#running.get(peerA);
    const b = this.#running.get(peerB);
    if (a === undefined || b === undefined || this.#connections.has(key) || !this.#mayConnect(a, b)) return;
    const connection = new Connection(this, key, a, b);
    this.#connections.set(key, connection);
    a.connected(connection);
    b.connected(connection);
  }

  /** Nothing passes from now on; the two ends learn of it after the notice delay, and may connect again then. */
  #sever(connection: Connection): void {
    connection.carrying = false;
    this.#loseLater(connection);
  }

  #loseLater(connection: Connection): void {
    const { a, b } = connection;
    this.clock.setTimer(this.links.noticeDelayMs(a.localPeer, b.localPeer), () => {
      connection.carrying = false;
      if (this.#connections.get(connection.key) === connection) this.#connections.delete(connection.key);
      connection.lost(a);
      connection.lost(b);
      this.refresh();
    });
  }

  /** A link that does not answer in one direction keeps the connection it has, and gets no new one. */
  #mayConnect(a: MemoryNetwork, b: MemoryNetwork): boolean {
    return this.#isAllowed(a, b) && !this.gates.obstructs(a.localPeer, b.localPeer);
  }

  #isAllowed(a: MemoryNetwork, b: MemoryNetwork): boolean {
    return !this.#cut.has(linkKey(a.localPeer, b.localPeer)) && a.admits(b.localPeer) && b.admits(a.localPeer);
  }
}

/** One node's `Network` on a `MemoryHub`. */
export class MemoryNetwork implements Network, ConnectionEnd {
  readonly localPeer: PeerId;
  readonly #hub: MemoryHub;
  readonly #options: MemoryNodeOptions;
  readonly #connections = new Map<PeerId, Connection>();
  /** Connections that this node takes for alive: some may be dead already, and some replaced. */
  readonly #notLost = new Set<Connection>();
  readonly #handlers = new Map<string, Handler>();
  readonly #inboundStreams = new Map<string, number>();
  readonly #topics = new Map<string, GossipReceiver>();
  readonly #listeners = new Set<(change: PeerChange) => void>();
  /** When each message was first seen, the oldest first. */
  readonly #seenGossip = new Map<string, number>();
  #recentGossip: RecentGossip[] = [];
  #cancelBeat: (() => void) | undefined;
  #beats = 0;
  /** Everyone, until members are named. */
  #members: ReadonlySet<PeerId> | undefined;
  #running = false;

  constructor(hub: MemoryHub, localPeer: PeerId, options: MemoryNodeOptions) {
    this.#hub = hub;
    this.localPeer = localPeer;
    this.#options = options;
  }

  setMembers(members: readonly NetworkMember[]): void {
    this.#members = new Set(members.map(({ peerId }) => peerId));
    if (this.#running) this.#hub.refresh();
  }

  async start(): Promise<void> {
    assert(!this.#running, 'a network is started once');
    this.#running = true;
    this.#hub.attach(this);
  }

  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#running = false;
    this.#fallSilent();
    this.#hub.detach(this);
    for (const connection of [...this.#notLost]) connection.lost(this);
  }

  /** Power loss: no stream of this node settles any more, and nothing it says is heard. */
  crash(): void {
    if (!this.#running) return;
    this.#running = false;
    this.#fallSilent();
    this.#hub.forget(this);
  }

  /** Nobody dials in memory: it names the node, as a real address would. */
  addresses(): readonly string[] {
    return this.#running ? [`/memory/${this.localPeer}`] : [];
  }

  connectedPeers(): readonly PeerId[] {
    return [...this.#connections.keys()];
  }

  turnedAwayBy(): readonly PeerId[] {
    return this.#running ? this.#hub.refusing(this) : [];
  }

  onPeerChange(listener: (change: PeerChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  handle(protocol: string, handler: StreamHandler, options: { readonly inboundStreamsMax?: number } = {}): void {
    assert(!this.#handlers.has(protocol), 'a protocol has one handler');
    this.#handlers.set(protocol, {
      run: handler,
      inboundStreamsMax: options.inboundStreamsMax ?? inboundStreamsMaxDefault,
    });
  }

  async open(peer: PeerId, protocol: string, signal?: AbortSignal): Promise<ByteStream> {
    signal?.throwIfAborted();
    const connection = this.#connections.get(peer);
    if (connection === undefined) throw new MeshError('peer_unreachable', `not connected to ${peer}`);
    const { near, far } = connection.createStream(this);
    const accepted = new Promise<ByteStream>((resolve, reject) => {
      near.onFailure((reason) =>
        reject(new MeshError('peer_unreachable', `${protocol} could not be opened`, { cause: reason })),
      );
      this.#roundTrip(connection, peer, () => {
        if (connection.otherEnd(this).accept(protocol, far)) return () => resolve(near);
        return () => near.reset(new MeshError('peer_unreachable', `the peer refused ${protocol}`));
      });
    });
    if (signal === undefined) return accepted;
    const onAbort = (): void => near.reset(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await accepted;
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  subscribe(topic: string, receive: GossipReceiver): () => void {
    assert(!this.#topics.has(topic), 'a topic has one subscriber');
    this.#topics.set(topic, receive);
    return () => this.#topics.delete(topic);
  }

  async publish(topic: string, data: Uint8Array): Promise<number> {
    if (data.byteLength > gossipBytesMax) {
      throw new MeshError(
        'too_large',
        `a gossip message of ${data.byteLength} bytes, at most ${gossipBytesMax} are sent`,
      );
    }
    if (!this.#firstSight(data)) return 0;
    this.#remember(topic, data);
    let recipients = 0;
    for (const connection of this.#connections.values()) {
      if (!connection.otherEnd(this).subscribes(topic)) continue;
      recipients += 1;
      this.#tell(connection, topic, data);
    }
    return recipients;
  }

  subscribes(topic: string): boolean {
    return this.#topics.has(topic);
  }

  admits(peer: PeerId): boolean {
    return (this.#members?.has(peer) ?? true) && (this.#options.admits?.(peer) ?? true);
  }

  connected(connection: Connection): void {
    const peer = connection.otherEnd(this).localPeer;
    this.#connections.set(peer, connection);
    this.#notLost.add(connection);
    this.#announce({ kind: 'connected', peer });
  }

  disconnected(connection: Connection): void {
    this.#notLost.delete(connection);
    const peer = connection.otherEnd(this).localPeer;
    if (this.#connections.get(peer) !== connection) return;
    this.#connections.delete(peer);
    this.#announce({ kind: 'disconnected', peer });
  }

  accept(protocol: string, stream: MemoryStream): boolean {
    const handler = this.#handlers.get(protocol);
    if (!this.#running || handler === undefined) return false;
    const slot = `${protocol} ${stream.remotePeer}`;
    const open = this.#inboundStreams.get(slot) ?? 0;
    if (open >= handler.inboundStreamsMax) return false;
    this.#inboundStreams.set(slot, open + 1);
    const finished = (): void => {
      this.#inboundStreams.set(slot, (this.#inboundStreams.get(slot) ?? 1) - 1);
    };
    handler.run(stream).then(finished, (error: unknown) => {
      finished();
      stream.reset(error instanceof Error ? error : new Error(String(error)));
    });
    return true;
  }

  #announce(change: PeerChange): void {
    for (const listener of [...this.#listeners]) listener(change);
  }

  /** Runs `there` at the peer after the link's delay, and what it returns back here after another. */
  #roundTrip(connection: Connection, peer: PeerId, there: () => () => void): void {
    const { links } = this.#hub;
    connection.carry(this, links.streamDelayMs(this.localPeer, peer, 0), () => {
      const here = there();
      connection.carry(connection.otherEnd(this), links.streamDelayMs(peer, this.localPeer, 0), here);
    });
  }

  #tell(connection: Connection, topic: string, data: Uint8Array): void {
    const other = connection.otherEnd(this);
    for (const delayMs of this.#hub.links.gossipDelaysMs(this.localPeer, other.localPeer, data.byteLength)) {
      connection.carry(this, delayMs, () => other.receiveGossip(topic, data, this.localPeer));
    }
  }

  #fallSilent(): void {
    this.#cancelBeat?.();
    this.#cancelBeat = undefined;
    this.#recentGossip = [];
  }

  #remember(topic: string, data: Uint8Array): void {
    if (!this.#running) return;
    this.#recentGossip.push({ topic, data, beatsLeft: toldBeats });
    this.#cancelBeat ??= this.#hub.clock.setTimer(beatMs, () => this.#beat());
  }

  #beat(): void {
    this.#beats += 1;
    const told = this.#nextNeighbours();
    for (const recent of this.#recentGossip) {
      recent.beatsLeft -= 1;
      for (const connection of told) {
        const other = connection.otherEnd(this);
        if (other.subscribes(recent.topic) && !other.hasHeard(recent.data))
          this.#tell(connection, recent.topic, recent.data);
      }
    }
    this.#recentGossip = this.#recentGossip.filter(({ beatsLeft }) => beatsLeft > 0);
    const isOver = this.#recentGossip.length === 0;
    this.#cancelBeat = isOver ? undefined : this.#hub.clock.setTimer(beatMs, () => this.#beat());
  }

  /** Some of the connected peers, at each beat others. */
  #nextNeighbours(): readonly Connection[] {
    const all = [...this.#connections.values()];
    if (all.length <= toldPeers) return all;
    return Array.from({ length: toldPeers }, (_, at) => all[(this.#beats * toldPeers + at) % all.length] as Connection);
  }

  /** Whether it had this message lately, forgotten since or not: nobody is told of the same message in circles. */
  hasHeard(data: Uint8Array): boolean {
    return this.#heardWithin(data, seenGossipMsDefault);
  }

  receiveGossip(topic: string, data: Uint8Array, from: PeerId): void {
    const receive = this.#topics.get(topic);
    if (!this.#running || receive === undefined || !this.#firstSight(data)) return;
    const verdict = receive(data, from);
    if (verdict === 'accept') this.#remember(topic, data);
    if (typeof verdict === 'string') return;
    void verdict.then((later) => {
      if (later === 'accept' && this.#running) this.#remember(topic, data);
    });
  }

  #heardWithin(data: Uint8Array, ms: number): boolean {
    const seenMs = this.#seenGossip.get(this.#hub.gossipId(data));
    return seenMs !== undefined && this.#hub.clock.monotonicMs() - seenMs < ms;
  }

  /** True for a message that is new, or was seen so long ago that it is forgotten. */
  #firstSight(data: Uint8Array): boolean {
    if (this.#heardWithin(data, this.#hub.seenGossipMs)) return false;
    const id = this.#hub.gossipId(data);
    this.#seenGossip.delete(id);
    this.#seenGossip.set(id, this.#hub.clock.monotonicMs());
    if (this.#seenGossip.size > seenGossipMax) {
      const [oldest] = this.#seenGossip.keys();
      if (oldest !== undefined) this.#seenGossip.delete(oldest);
    }
    return true;
  }
}

function linkKey(a: PeerId, b: PeerId): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}
