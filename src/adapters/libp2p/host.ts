import { createHash } from 'node:crypto';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import type { GossipSub } from '@libp2p/gossipsub';
import { gossipsub, StrictNoSign } from '@libp2p/gossipsub';
import { identify } from '@libp2p/identify';
import type { ConnectionGater, Libp2p } from '@libp2p/interface';
import { noise } from '@libp2p/noise';
import { ping } from '@libp2p/ping';
import { tcp } from '@libp2p/tcp';
import { createLibp2p } from 'libp2p';
import type { PeerId } from '../../../crdt/ids.ts';
import { boundedYamux } from './bounded-yamux.ts';
import { nativeTls } from './native-tls.ts';

/** Connections past which libp2p closes some: room for two to each of 256 members. */
const connectionsMax = 512;
/** libp2p's own threshold of five a second and host resets a swarm on one machine. */
const inboundConnectionsPerSecondMax = 1_000;
const pendingInboundConnectionsMax = 128;
const addressDialTimeoutMs = 5_000;
/** Streams of all protocols a connection carries each way. */
const streamsPerConnectionMax = 1_024;
/** Streams a peer may open before the connection has been handed to the protocols. */
const earlyStreamsMax = 64;
/** Wide enough that yamux's own window never holds back what a channel has credit for. */
const streamWindowBytes = 2 * 1024 * 1024;
/** An RPC of gossipsub may answer for many messages at once; one that is longer breaks its stream. */
const gossipRpcBytesMax = 8 * 1024 * 1024;
/** Unsent gossip a slow peer may cause before its gossip stream is dropped. */
const unsentGossipBytesMax = 16 * 1024 * 1024;

/**
 * To how many peers a message is passed on (gossipsub v1.1's D and its bounds): none. A node is connected to every member
 * it can reach and tells all of them itself; with the default of 6, each of ten nodes heard a message six times. Some peers
 * are told once a second what there was, so that who missed it can ask; and what that misses, sync brings.
 */
const passingOn = { D: 0, Dlo: 0, Dhi: 0, Dout: 0, Dscore: 0, Dlazy: 3 } as const;

export type Host = Libp2p<{ identify: unknown; ping: unknown; gossip: GossipSub }>;

export interface HostOptions {
  /** 32 bytes: the node's ed25519 seed. */
  readonly seed: Uint8Array;
  /** Multiaddrs to listen on. */
  readonly listen: readonly string[];
  readonly gater: ConnectionGater;
  /** At most 0; the lower, the less gossipsub has to do with the peer. */
  readonly gossipScore: (peer: PeerId) => number;
}

/** The libp2p node as this mesh wants it, not started yet. */
export async function createHost(options: HostOptions): Promise<Host> {
  return createLibp2p({
    start: false,
    privateKey: await generateKeyPairFromSeed('Ed25519', options.seed),
    addresses: { listen: [...options.listen] },
    transports: [tcp()],
    connectionEncrypters: [nativeTls(), noise()],
    streamMuxers: [
      boundedYamux(
        {
          maxInboundStreams: streamsPerConnectionMax,
          maxOutboundStreams: streamsPerConnectionMax,
          maxEarlyStreams: earlyStreamsMax,
          streamOptions: { initialStreamWindowSize: streamWindowBytes, maxStreamWindowSize: streamWindowBytes },
        },
        streamWindowBytes,
      ),
    ],
    connectionGater: options.gater,
    connectionManager: {
      maxConnections: connectionsMax,
      inboundConnectionThreshold: inboundConnectionsPerSecondMax,
      maxIncomingPendingConnections: pendingInboundConnectionsMax,
      addressDialTimeout: addressDialTimeoutMs,
    },
    // It aborts a connection on one missed ping; the connection book counts misses instead.
    connectionMonitor: { enabled: false },
    services: {
      identify: identify(),
      ping: ping(),
      gossip: gossipsub({
        globalSignaturePolicy: StrictNoSign,
        msgIdFn: (message) => createHash('sha256').update(message.data).digest(),
        allowPublishToZeroTopicPeers: true,
        ignoreDuplicatePublishError: true,
        fallbackToFloodsub: false,
        emitSelf: false,
        batchPublish: true,
        floodPublish: true,
        ...passingOn,
        // Telling a peer not to pass on what is this small would cost as much as the message.
        idontwantMinDataSize: gossipRpcBytesMax,
        tagMeshPeers: false,
        maxInboundDataLength: gossipRpcBytesMax,
        maxOutboundBufferSize: unsentGossipBytesMax,
        scoreParams: {
          // Members on one machine share an address, which says nothing about them.
          IPColocationFactorWeight: 0,
          appSpecificScore: (peer) => options.gossipScore(peer as PeerId),
          appSpecificWeight: 1,
        },
      }),
    },
  });
}
