import type { BlobHash, NodeId, PeerId, VersionId } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { ByteStream } from '../../src/ports/network.ts';
import type { Channel } from '../wire/channel.ts';
import { idOf } from '../wire/ids.ts';
import { packAnswer, packChanges, unpackRange } from '../wire/item-sets.ts';
import { serveRequests } from '../wire/requests.ts';
import type { FollowedSet } from '../wire/set-following.ts';
import { workingEveryMs } from './limits.ts';
import {
  type CheckAnswer,
  decodeReplicaRequest,
  encodeReplicaMessage,
  type ProofAnswer,
  packProof,
  type ReplicaRequest,
  type ReplicaResponse,
} from './messages.ts';
import { answerView, type ViewSource } from './views.ts';

/** A challenge: the content, and the byte offsets whose chunks are to be proved; every chunk without them. */
export interface Challenge {
  readonly manifest: BlobHash;
  readonly points?: readonly number[];
}

/** Challenges that share a nonce. */
export interface ChallengeGroup {
  readonly nonce: Uint8Array;
  /** For how long who answers binds itself not to drop what it proves; not at all without it. */
  readonly leaseMs?: number;
  readonly items: readonly Challenge[];
}

/** A content that should be held where the order goes, and who has it. */
export interface Order {
  readonly ns: string;
  readonly key: string;
  readonly version: VersionId;
  readonly manifest: BlobHash;
  readonly holders: readonly NodeId[];
}

/** Another holder that is to be challenged about a content. */
export interface CheckOrder {
  readonly manifest: BlobHash;
  readonly node: NodeId;
  readonly points: readonly number[];
}

/** What the answering side does. */
export interface ReplicaSource {
  /** This node's inventory: the contents it holds whole, and their sizes. */
  readonly inventory: FollowedSet;
  /** Proves contents, one outcome for each. Never rejects for a content that is damaged or gone. */
  prove(peer: PeerId, challenges: ChallengeGroup): Promise<readonly ProofAnswer[]>;
  /** Takes up what holds of a peer's orders; resolves with how many that were. */
  order(peer: PeerId, orders: readonly Order[]): Promise<number>;
  /** Challenges other holders for a peer, one outcome for each. */
  check(peer: PeerId, checks: readonly CheckOrder[]): Promise<readonly CheckAnswer[]>;
  /** What it tells of replication in the whole mesh. */
  readonly views: ViewSource;
}

/**
 * Answers a peer's questions about replicas on one stream, one after the other, until the peer ends it. While an answer
 * takes long, the peer is told that it is being worked on. Rejects with the channel's `MeshError`; a request that
 * cannot be read is a `protocol_violation`. Once the signal is aborted nothing is told any more: the node stops.
 */
export async function serveReplicas(
  stream: ByteStream,
  source: ReplicaSource,
  dependencies: { readonly clock: Clock; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  await serveRequests(
    stream,
    {
      protocol: 'replicas',
      decode: decodeReplicaRequest,
      answer: async (channel, request) => {
        const response = await withSignsOfLife(channel, dependencies, () =>
          answer(source, request, channel.remotePeer),
        );
        await channel.send(encodeReplicaMessage(response));
      },
    },
    dependencies,
  );
}

async function withSignsOfLife<T>(
  channel: Channel,
  { clock, signal }: { readonly clock: Clock; readonly signal?: AbortSignal | undefined },
  work: () => Promise<T>,
): Promise<T> {
  let isOver = signal?.aborted === true;
  let cancelTimer = (): void => undefined;
  const tell = (): void => {
    if (isOver) return;
    cancelTimer = clock.setTimer(workingEveryMs, () => {
      // A channel that has failed says so to the next send that somebody waits for.
      channel.send(encodeReplicaMessage({ t: 'working' })).then(tell, () => undefined);
    });
  };
  const stop = (): void => {
    isOver = true;
    cancelTimer();
  };
  signal?.addEventListener('abort', stop, { once: true });
  tell();
  try {
    return await work();
  } finally {
    signal?.removeEventListener('abort', stop);
    stop();
  }
}

async function answer(source: ReplicaSource, request: ReplicaRequest, peer: PeerId): Promise<ReplicaResponse> {
  switch (request.t) {
    case 'feed': {
      const { feed, last, through, entries } = await source.inventory.feed(request.feed, request.after);
      return { t: 'feed', feed, last, through, entries: entries === null ? null : packChanges(entries) };
    }
    case 'ranges': {
      const answers = await source.inventory.ranges(request.ranges.map(unpackRange));
      return { t: 'ranges', answers: answers.map(packAnswer) };
    }
    case 'prove': {
      const { nonce, lease, items } = request;
      const group = { nonce, ...(lease === undefined ? {} : { leaseMs: lease }), items: items.map(challengeOf) };
      const answers = await source.prove(peer, group);
      return { t: 'proofs', answers: answers.map(packProof) };
    }
    case 'order':
      return { t: 'ordered', taken: await source.order(peer, request.items.map(orderOf)) };
    case 'check': {
      const checks = request.items.map((item) => ({ ...item, manifest: idOf<BlobHash>(item.manifest) }));
      return { t: 'checked', results: [...(await source.check(peer, checks))] };
    }
    default:
      return answerView(source.views, request, peer);
  }
}

type ProveItem = Extract<ReplicaRequest, { t: 'prove' }>['items'][number];
type OrderItem = Extract<ReplicaRequest, { t: 'order' }>['items'][number];

function challengeOf({ manifest, points }: ProveItem): Challenge {
  return { manifest: idOf<BlobHash>(manifest), ...(points === undefined ? {} : { points }) };
}

function orderOf({ ns, key, version, manifest, holders }: OrderItem): Order {
  return { ns, key, version: idOf<VersionId>(version), manifest: idOf<BlobHash>(manifest), holders };
}
