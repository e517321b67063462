import type { DocId, PeerId } from '../../../crdt/ids.ts';
import { Batcher } from '../../../protocols/quorum/batcher.ts';
import { SyncClient, type SyncSink } from '../../../protocols/sync/client.ts';
import { syncProtocol } from '../../../protocols/sync/messages.ts';
import { Channel } from '../../../protocols/wire/channel.ts';
import { withDeadline } from '../../../protocols/wire/deadline.ts';
import type { Clock } from '../../ports/clock.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Network } from '../../ports/network.ts';

/** Documents asked for at once; what comes meanwhile shares the next request. */
const documentsMax = 64;
const queuedMax = 4_096;
/** A vote waits no longer than this for what its head names. */
const pullDeadlineMs = 4_500;

interface Dependencies {
  readonly network: Network;
  readonly clock: Clock;
  readonly sinkOf: (peer: PeerId) => SyncSink;
}

interface Lane {
  channel: Channel | undefined;
  readonly batcher: Batcher<DocId, undefined>;
}

/**
 * Fetches single documents from a peer at once, for a vote that waits for them: by sync's protocol, but on a stream that
 * is kept open, since a new one costs a round trip more.
 */
export class DocumentPuller {
  readonly #dependencies: Dependencies;
  readonly #lanes = new Map<PeerId, Lane>();
  readonly #stopping = new AbortController();
  #unsubscribe: () => void = () => undefined;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  start(): void {
    this.#unsubscribe = this.#dependencies.network.onPeerChange(({ kind, peer }) => {
      if (kind === 'disconnected') this.#drop(peer, new MeshError('stream_failed', 'the peer is gone'));
    });
  }

  stop(): void {
    const reason = new MeshError('shutting_down', 'the node is stopping');
    this.#unsubscribe();
    this.#stopping.abort(reason);
    for (const peer of [...this.#lanes.keys()]) this.#drop(peer, reason);
  }

  /**
   * Takes in what the peer has of a document; what came is on disk when this resolves. Rejects with `MeshError`
   * (`peer_unreachable`, `stream_failed`, `timeout`, `protocol_violation`) or the signal's reason.
   */
  async pull(peer: PeerId, doc: DocId, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const pulled = this.#laneTo(peer).batcher.ask(doc);
    if (pulled === undefined) throw new MeshError('timeout', 'too many documents wait to be fetched');
    await pulled;
    signal.throwIfAborted();
  }

  #laneTo(peer: PeerId): Lane {
    const known = this.#lanes.get(peer);
    if (known !== undefined) return known;
    const lane: Lane = {
      channel: undefined,
      batcher: new Batcher(
        async (docs) => {
          await this.#exchange(peer, lane, [...new Set(docs)]);
          return docs.map(() => undefined);
        },
        { itemsMax: documentsMax, queuedMax, lanes: 1 },
      ),
    };
    this.#lanes.set(peer, lane);
    return lane;
  }

  async #exchange(peer: PeerId, lane: Lane, docs: readonly DocId[]): Promise<void> {
    const wasOpen = lane.channel !== undefined;
    try {
      await this.#pullOnce(peer, lane, docs);
    } catch (error) {
      // The kept stream may have ended long ago; that is noticed only now.
      const isStale = wasOpen && error instanceof MeshError && error.code === 'stream_failed';
      if (!isStale || this.#stopping.signal.aborted) throw error;
      await this.#pullOnce(peer, lane, docs);
    }
  }

  async #pullOnce(peer: PeerId, lane: Lane, docs: readonly DocId[]): Promise<void> {
    const { clock, sinkOf } = this.#dependencies;
    try {
      await withDeadline(
        clock,
        pullDeadlineMs,
        async (signal) => {
          lane.channel ??= await this.#open(peer, signal);
          await new SyncClient(lane.channel, sinkOf(peer)).pullDocuments(docs);
        },
        this.#stopping.signal,
      );
    } catch (error) {
      lane.channel?.reset(error instanceof Error ? error : new Error(String(error)));
      lane.channel = undefined;
      throw error;
    }
  }

  async #open(peer: PeerId, signal: AbortSignal): Promise<Channel> {
    const { network, clock } = this.#dependencies;
    const channel = new Channel(await network.open(peer, syncProtocol, signal), { clock });
    if (signal.aborted) {
      channel.reset(signal.reason as Error);
      throw signal.reason;
    }
    return channel;
  }

  #drop(peer: PeerId, reason: Error): void {
    const lane = this.#lanes.get(peer);
    this.#lanes.delete(peer);
    lane?.channel?.reset(reason);
  }
}
