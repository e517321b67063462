import type { DocId, PeerId } from '../../crdt/ids.ts';
import { Batcher } from '../../protocols/quorum/batcher.ts';
import { SyncClient, type SyncSink } from '../../protocols/sync/client.ts';
import { syncProtocol } from '../../protocols/sync/messages.ts';
import type { Channel } from '../../protocols/wire/channel.ts';
import { KeptChannel } from '../../protocols/wire/kept-channel.ts';
import type { Clock } from '../ports/clock.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Network } from '../ports/network.ts';

/** Documents asked for at once; what comes meanwhile shares the next request. */
const documentsMax = 64;
const queuedMax = 4_096;
/** A vote, or a read, waits no longer than this. */
const pullDeadlineMs = 4_500;

interface Dependencies {
  readonly network: Network;
  readonly clock: Clock;
  readonly sinkOf: (peer: PeerId) => SyncSink;
}

interface Lane {
  readonly kept: KeptChannel;
  readonly batcher: Batcher<DocId, boolean>;
}

/**
 * Fetches single documents from a peer at once, for a vote or a read that waits for them: by sync's protocol, but on a
 * stream that is kept open, since a new one costs a round trip more.
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
   * Takes in what the peer has of a document; what came is on disk when this resolves, with whether the peer can tell
   * what there is of it: it has the document's slot whole. Rejects with `MeshError`
   * (`peer_unreachable`, `stream_failed`, `timeout`, `protocol_violation`) or the signal's reason.
   */
  async pull(peer: PeerId, doc: DocId, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    const pulled = this.#laneTo(peer).batcher.ask(doc);
    if (pulled === undefined) throw new MeshError('timeout', 'too many documents wait to be fetched');
    const isWhole = await pulled;
    signal.throwIfAborted();
    return isWhole;
  }

  #laneTo(peer: PeerId): Lane {
    const known = this.#lanes.get(peer);
    if (known !== undefined) return known;
    const { sinkOf } = this.#dependencies;
    const kept = new KeptChannel(this.#dependencies, { peer, protocol: syncProtocol, deadlineMs: pullDeadlineMs });
    const batcher = new Batcher<DocId, boolean>(
      async (docs) => {
        const pull = (channel: Channel): Promise<DocId[]> =>
          new SyncClient(channel, sinkOf(peer)).pullDocuments([...new Set(docs)]);
        const partial = await kept.use(pull, this.#stopping.signal);
        return docs.map((doc) => !partial.includes(doc));
      },
      { itemsMax: documentsMax, queuedMax, lanes: 1 },
    );
    const lane = { kept, batcher };
    this.#lanes.set(peer, lane);
    return lane;
  }

  #drop(peer: PeerId, reason: Error): void {
    this.#lanes.get(peer)?.kept.close(reason);
    this.#lanes.delete(peer);
  }
}
