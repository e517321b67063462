import { defaultChunking } from '../../../crdt/chunking.ts';
import type { NodeId, PeerId } from '../../../crdt/ids.ts';
import type { Content } from '../../../crdt/version.ts';
import { BlobFetcher } from '../../../protocols/blobs/fetcher.ts';
import { blobsProtocol, inboundStreamsMax } from '../../../protocols/blobs/limits.ts';
import { serveBlobs } from '../../../protocols/blobs/server.ts';
import type { BlobStore } from '../../ports/blob-store.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Kv, KvTransaction } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Counter, Metrics } from '../../ports/metrics.ts';
import type { ByteStream, Network } from '../../ports/network.ts';
import type { Random } from '../../ports/random.ts';
import type { Outcome } from '../api.ts';
import { ByteBudget } from './byte-budget.ts';
import { type ContentReaderDependencies, openContent } from './content-reader.ts';
import { ContentStore } from './content-store.ts';
import { ingest, type StagedContent } from './ingest.ts';
import { KvBatcher } from './kv-batcher.ts';
import type { ByteRange } from './manifest-walk.ts';
import { type ContentSubject, PullJobs } from './pull-jobs.ts';
import { type HoldersOf, Puller } from './puller.ts';
import { ReadSlots } from './read-slots.ts';
import { likelyChunkOf, smallBlobsOf } from './small-content.ts';

export type { StagedContent } from './ingest.ts';
export type { ContentSubject } from './pull-jobs.ts';

/** Bytes on their way from bodies to disk, over all that ingest at a time. */
const ingestingBytesMax = 16 * 1024 * 1024;

export interface ContentPlaneDependencies {
  readonly kv: Kv;
  readonly blobs: BlobStore;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface ContentPlaneOptions {
  readonly holdersOf: HoldersOf;
  /** The peer that is a node now: the writer of a version has its content. */
  readonly peerOf: (node: NodeId) => PeerId | undefined;
  /** Whether this node is to hold the content of a version. */
  readonly shouldHold: (subject: ContentSubject) => boolean;
}

/** Everything about content on one node: taking it in, keeping it, reading it, serving it to peers and pulling it from them. */
export class ContentPlane {
  readonly #dependencies: ContentPlaneDependencies;
  readonly #options: ContentPlaneOptions;
  readonly #jobs: PullJobs;
  readonly #batcher: KvBatcher;
  readonly #store: ContentStore;
  readonly #fetcher: BlobFetcher;
  readonly #puller: Puller;
  readonly #slots = new ReadSlots();
  readonly #reading: ContentReaderDependencies;
  readonly #ingestBudget = new ByteBudget(ingestingBytesMax);
  readonly #servedBytes: Counter;
  readonly #listeners = new Set<(subject: ContentSubject) => void>();
  readonly #stopping = new AbortController();
  #unsubscribe: () => void = () => undefined;

  constructor(dependencies: ContentPlaneDependencies, options: ContentPlaneOptions) {
    const { kv, blobs, network, clock, random, log, metrics } = dependencies;
    this.#dependencies = dependencies;
    this.#options = options;
    this.#jobs = new PullJobs({ kv, log });
    this.#batcher = new KvBatcher(kv);
    const store = new ContentStore({ kv, batcher: this.#batcher, blobs, log, metrics });
    this.#store = store;
    store.onDamaged((hash, sizeBytes) => {
      this.#batcher
        .add((transaction) => this.#jobs.wantBlob(transaction, hash, sizeBytes))
        .then(
          () => this.kick(),
          (error: unknown) => log.error('content:repair_not_noted', { hash, error }),
        );
    });
    this.#fetcher = new BlobFetcher({
      network,
      clock,
      random,
      log,
      metrics,
      store: (hash, bytes) => store.put(hash, bytes),
      room: () => store.room(),
    });
    this.#puller = new Puller(
      { jobs: this.#jobs, store, batcher: this.#batcher, fetcher: this.#fetcher, clock, random, log, metrics },
      { holdersOf: options.holdersOf, peerOf: options.peerOf, onStored: (subject) => this.#announceStored(subject) },
    );
    this.#reading = {
      store,
      jobs: this.#jobs,
      batcher: this.#batcher,
      fetcher: this.#fetcher,
      puller: this.#puller,
      slots: this.#slots,
      clock,
      log,
    };
    this.#servedBytes = metrics.counter({
      name: 'anabranch_blobs_served_bytes_total',
      help: 'Bytes of chunks and manifests sent to peers.',
    });
  }

  /** Recovers the blob store, serves peers, and takes up the jobs of an earlier life. */
  async start(): Promise<void> {
    const { blobs, network } = this.#dependencies;
    await blobs.recover();
    network.handle(blobsProtocol, (stream) => this.#serve(stream), { inboundStreamsMax });
    this.#unsubscribe = network.onPeerChange(({ kind, peer }) => {
      if (kind !== 'connected') return;
      this.#fetcher.peerConnected(peer);
      this.#puller.endDelays();
    });
    this.#puller.start();
  }

  /** Ends every transfer, and waits a bounded while for what is on its way to disk. Jobs stay for the next life. */
  async stop(): Promise<void> {
    this.#unsubscribe();
    this.#stopping.abort(new MeshError('shutting_down', 'the node is stopping'));
    this.#fetcher.close();
    await this.#puller.stop();
    await this.#batcher.idle();
  }

  /**
   * Takes a body in; large blobs are stored and durable when this resolves. Rejects with what the body threw, the
   * signal's reason, or as the store does: then nothing refers to what was stored.
   */
  ingest(body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, signal?: AbortSignal): Promise<StagedContent> {
    return ingest(body, { store: this.#store, budget: this.#ingestBudget }, defaultChunking, signal);
  }

  /** Makes a staged content this node's, in the caller's transaction. */
  keep(transaction: KvTransaction, { content, rows }: StagedContent): void {
    for (const { hash, bytes } of rows) this.#store.putSmall(transaction, hash, bytes);
    this.#jobs.markComplete(transaction, content.manifest, content.size);
  }

  /**
   * Notes in the caller's transaction that a version's content is to be here; `kick` after the commit starts the
   * pull. True when it is not here yet, so that `onStored` will tell.
   */
  want(transaction: KvTransaction, content: Content, subject: ContentSubject): boolean {
    if (!this.#options.shouldHold(subject)) return false;
    return this.#jobs.want(transaction, content, subject);
  }

  /**
   * Like `want`, for a content whose bytes came with the version: it is kept at once when they are exactly what the
   * version says, which is verified here. False when it is wanted still.
   */
  keepSmall(transaction: KvTransaction, content: Content, subject: ContentSubject, bytes: Uint8Array): boolean {
    const blobs = smallBlobsOf(content, bytes);
    if (blobs === undefined) return false;
    if (!this.#options.shouldHold(subject)) return true;
    this.keep(transaction, { content, rows: blobs });
    return true;
  }

  /** The bytes of a content of one chunk, when it is here and has at most so many; for a peer, who checks them. */
  small(content: Content, bytesMax: number): Uint8Array | undefined {
    if (content.size === 0 || content.size > bytesMax) return undefined;
    const bytes = this.#store.read(likelyChunkOf(content), content.size);
    return bytes instanceof Promise ? undefined : bytes;
  }

  /** Looks for new jobs now. */
  kick(): void {
    this.#puller.kick();
  }

  /** True when the content is whole and durable here. */
  holds(content: Content): boolean {
    return this.#jobs.isComplete(content.manifest);
  }

  /** Contents (and single lost blobs) that are wanted and not here whole. */
  pending(): number {
    return this.#jobs.pending();
  }

  /** Why pulling rests, if it does. */
  paused(): 'disk_full' | undefined {
    return this.#puller.paused ? 'disk_full' : undefined;
  }

  /** See `ReadVersion.open`. Rejects with the signal's reason, or `MeshError` `shutting_down`. */
  open(content: Content, range?: ByteRange, signal?: AbortSignal): Promise<Outcome<AsyncIterable<Uint8Array>>> {
    const stopping = this.#stopping.signal;
    const ended = signal === undefined ? stopping : AbortSignal.any([signal, stopping]);
    return openContent(this.#reading, content, range, ended);
  }

  /** Is told of each version whose content has become whole and durable here by pulling. */
  onStored(listener: (subject: ContentSubject) => void): void {
    this.#listeners.add(listener);
  }

  #announceStored(subject: ContentSubject): void {
    for (const listener of this.#listeners) listener(subject);
  }

  async #serve(stream: ByteStream): Promise<void> {
    const { clock, log } = this.#dependencies;
    const dependencies = {
      clock,
      read: (hash: Parameters<ContentStore['read']>[0]) => this.#store.read(hash),
      tryReadAhead: () => this.#slots.tryTake(),
      endReadAhead: () => this.#slots.give(),
      served: (bytes: number) => this.#servedBytes.add(bytes),
    };
    try {
      await serveBlobs(stream, dependencies, this.#stopping.signal);
    } catch (error) {
      const isFault = error instanceof MeshError && error.code === 'protocol_violation';
      log[isFault ? 'warn' : 'debug']('blobs:serving_failed', { peer: stream.remotePeer, error });
      throw error;
    }
  }
}
