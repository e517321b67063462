import type { PeerId } from '../../crdt/ids.ts';

/**
 * The mesh as one node sees it: authenticated peers, byte streams and publish/subscribe.
 * The adapter keeps connections to the members by itself (dialling with backoff) and refuses everyone
 * else; the node above never dials.
 */
export interface Network {
  readonly localPeer: PeerId;
  /**
   * Says who the members are from now on, this node among them or not: the adapter connects to those it can reach, and
   * at once closes the connections to everyone else. May be called before `start`.
   */
  setMembers(members: readonly NetworkMember[]): void;
  start(): Promise<void>;
  /** Closes every connection; open streams fail. Resolves within a bound of the adapter's. */
  stop(): Promise<void>;
  /** Multiaddrs at which this node listens, without its peer id; known once it is started. */
  addresses(): readonly string[];
  /** The members connected now. */
  connectedPeers(): readonly PeerId[];
  /**
   * Members that cannot be connected to because they refuse this node, as far as the last attempt at each showed: they
   * take a connection and close it before it is of any use, as they do with strangers.
   */
  turnedAwayBy(): readonly PeerId[];
  /** Calls back on every change, after `connectedPeers` shows it. Returns the unsubscriber. */
  onPeerChange(listener: (change: PeerChange) => void): () => void;
  /** Serves a protocol. A handler that rejects resets its stream; it is handed at most `inboundStreamsMax` at once a peer. */
  handle(protocol: string, handler: StreamHandler, options?: { readonly inboundStreamsMax?: number }): void;
  /** Opens a stream. Rejects with `MeshError` `peer_unreachable` (or the signal's reason). */
  open(peer: PeerId, protocol: string, signal?: AbortSignal): Promise<ByteStream>;
  /** Receives a topic's messages, its own excepted. The verdict decides whether a message is passed on. */
  subscribe(topic: string, receive: GossipReceiver): () => void;
  /** Publishes best effort and says how many peers it was handed to. Never rejects for want of peers. */
  publish(topic: string, data: Uint8Array): Promise<number>;
}

/** A member as far as reaching it goes. */
export interface NetworkMember {
  readonly peerId: PeerId;
  /** Multiaddrs; may be empty, and then the member has to connect by itself. */
  readonly addresses: readonly string[];
}

export interface PeerChange {
  readonly kind: 'connected' | 'disconnected';
  readonly peer: PeerId;
}

/** `accept` passes a message on, `ignore` drops it silently, `reject` drops it and is held against the peer that sent it. */
export type GossipVerdict = 'accept' | 'ignore' | 'reject';

/** Judges a message, at once or when its signatures have been verified; the receiver bounds how many it has under way. */
export type GossipReceiver = (data: Uint8Array, from: PeerId) => GossipVerdict | Promise<GossipVerdict>;

export type StreamHandler = (stream: ByteStream) => Promise<void>;

/**
 * A bidirectional stream of bytes with a peer. It has no flow control of its own worth relying on:
 * `protocols/wire` puts receiver-granted credits above it.
 */
export interface ByteStream {
  readonly remotePeer: PeerId;
  /** The next bytes in order, cut anywhere; null once the peer has ended its side. Rejects when the stream fails. One call at a time. */
  read(): Promise<Uint8Array | null>;
  /**
   * Resolves when more may be written; rejects when the stream fails or makes no progress for long. The bytes belong to the
   * stream afterwards; `onReleased` tells when they do no more.
   */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Calls back, at once or later, when nobody reads the memory of what has been written so far any more. Never does once the
   * stream has failed, nor where that is not known: then the memory is left to the garbage collector.
   */
  onReleased(listener: () => void): void;
  /** Ends this side's writing; reading goes on. */
  end(): Promise<void>;
  /** Drops the stream at once, both ways; pending calls reject. May be called at any time, repeatedly. */
  reset(reason: Error): void;
}
