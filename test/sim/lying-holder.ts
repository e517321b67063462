import { rawHash } from '../../crdt/digest.ts';
import { blobsProtocol } from '../../protocols/blobs/limits.ts';
import { replicasProtocol } from '../../protocols/replicas/limits.ts';
import type { CheckAnswer, ProofAnswer } from '../../protocols/replicas/messages.ts';
import { type ReplicaSource, serveReplicas } from '../../protocols/replicas/server.ts';
import type { ViewSource } from '../../protocols/replicas/views.ts';
import type { FollowedSet } from '../../protocols/wire/set-following.ts';
import type { NodeAdapters } from '../../src/node/node-parts.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import type { Network, StreamHandler } from '../../src/ports/network.ts';
import { valueOfSize } from '../../src/replication/journaled-set.ts';
import type { Draw } from './draw.ts';
import type { VersionLibrary } from './version-library.ts';

/** Claims in one answer. */
const claimedMax = 200;
const proofBytes = 32;
const feedName = 'everything';

const silent = (): never => {
  throw new MeshError('timeout', 'it says nothing of this');
};
const views: ViewSource = {
  status: silent,
  plan: () => undefined,
  audit: async () => silent(),
  copies: () => undefined,
  drain: async () => undefined,
  preview: async () => undefined,
};

export interface LiarOptions {
  readonly draw: Draw;
  readonly library: VersionLibrary;
  /** Is told of each lie. */
  readonly onLie: (kind: 'inventory' | 'proof' | 'check') => void;
}

/** A holder that claims every content there is, proves it with what is no proof, and tells untrue things of others. */
export function lyingHolder({ draw, library, onLie }: LiarOptions): ReplicaSource {
  const claims = (): { key: Uint8Array; value: Uint8Array }[] => {
    const contents = new Map(
      Array.from(library.all(), ({ version }) => version.record.content)
        .filter((content) => content !== null)
        .map(({ manifest, size }) => [manifest, size] as const),
    );
    return [...contents].map(([manifest, size]) => ({ key: rawHash(manifest), value: valueOfSize(size) }));
  };
  const inventory: FollowedSet = {
    // Each version that anybody wrote is one more change: whoever follows it believes that all of it is here.
    feed: async (feed, after) => {
      if (feed === null) return { feed: feedName, last: 0, through: 0, entries: null };
      onLie('inventory');
      const all = claims();
      const entries = all.slice(after, after + claimedMax);
      return { feed: feedName, last: all.length, through: after + entries.length, entries };
    },
    ranges: async (questions) => questions.map(() => ({ kind: 'same' })),
  };
  return {
    inventory,
    prove: async (_peer, { items }) =>
      items.map((): ProofAnswer => {
        if (draw.chance(0.2)) return draw.pick(['lacking', 'busy']);
        onLie('proof');
        return draw.random.bytes(proofBytes);
      }),
    order: async (_peer, orders) => orders.length,
    check: async (_peer, checks) =>
      checks.map((): CheckAnswer => {
        onLie('check');
        return draw.pick(['proved', 'lacking', 'wrong']);
      }),
    views,
  };
}

/** A node that is sound but for what it says of the contents it holds. */
export function withLies(adapters: NodeAdapters, options: () => LiarOptions): NodeAdapters {
  const { network, clock } = adapters;
  return serving(adapters, (protocol, handler, limits) => {
    if (protocol !== replicasProtocol) network.handle(protocol, handler, limits);
    else network.handle(protocol, (stream) => serveReplicas(stream, lyingHolder(options()), { clock }), limits);
  });
}

/** A node of which whatever it is asked about contents breaks off while `isBroken`; for the rest it is there and well. */
export function withBrokenTransfers(adapters: NodeAdapters, isBroken: () => boolean): NodeAdapters {
  const { network } = adapters;
  return serving(adapters, (protocol, handler, limits) => {
    const check = (): void => {
      if (isBroken()) throw new MeshError('stream_failed', 'the link broke');
    };
    const breaking: StreamHandler = (stream) => {
      return handler({
        remotePeer: stream.remotePeer,
        read: async () => {
          const bytes = await stream.read();
          check();
          return bytes;
        },
        write: async (bytes) => {
          check();
          await stream.write(bytes);
        },
        onReleased: (listener) => stream.onReleased(listener),
        end: () => stream.end(),
        reset: (reason) => stream.reset(reason),
      });
    };
    const isAboutContents = protocol === replicasProtocol || protocol === blobsProtocol;
    network.handle(protocol, isAboutContents ? breaking : handler, limits);
  });
}

/** The same adapters, serving protocols as `handle` does. */
function serving(adapters: NodeAdapters, handle: Network['handle']): NodeAdapters {
  const { network } = adapters;
  return {
    ...adapters,
    network: {
      localPeer: network.localPeer,
      setMembers: (members) => network.setMembers(members),
      start: () => network.start(),
      stop: () => network.stop(),
      addresses: () => network.addresses(),
      connectedPeers: () => network.connectedPeers(),
      turnedAwayBy: () => network.turnedAwayBy(),
      onPeerChange: (listener) => network.onPeerChange(listener),
      handle,
      open: (...stream) => network.open(...stream),
      subscribe: (...topic) => network.subscribe(...topic),
      publish: (...message) => network.publish(...message),
    },
  };
}
