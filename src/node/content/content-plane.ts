import { type ChunkingParameters, defaultChunking } from '../../../crdt/chunking.ts';
import type { BlobHash, NodeId, PeerId } from '../../../crdt/ids.ts';
import type { Content } from '../../../crdt/version.ts';
import { BlobFetcher } from '../../../protocols/blobs/fetcher.ts';
import { HolderGroup } from '../../../protocols/blobs/holder-group.ts';
import { blobsProtocol, inboundStreamsMax } from '../../../protocols/blobs/limits.ts';
import { RateLimiter } from '../../../protocols/blobs/rate-limit.ts';
import { serveBlobs } from '../../../protocols/blobs/server.ts';
import type { BlobStore } from '../../ports/blob-store.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Kv, KvReader, KvTransaction } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Counter, Metrics } from '../../ports/metrics.ts';
import type { ByteStream, Network } from '../../ports/network.ts';
import type { Random } from '../../ports/random.ts';
import type { Outcome } from '../api.ts';
import { ByteBudget } from './byte-budget.ts';
import { type ContentReaderDependencies, openContent, type Reading } from './content-reader.ts';
import { ContentStore } from './content-store.ts';
import { DamageGauge } from './damage-gauge.ts';
import type { DeadLetter, DeathReason } from './dead-letters.ts';
import { Doubts } from './doubts.ts';
import { type HeldContent, heldAfter } from './held-contents.ts';
import { ingest, type StagedContent } from './ingest.ts';
import { KvBatcher } from './kv-batcher.ts';
import { type Linkage, Links, portionsOf } from './links.ts';
import type { MendingCounts } from './mending.ts';
import { Pins } from './pins.ts';
import { type ContentSubject, type Inventory, PullJobs } from './pull-jobs.ts';
import { type HoldersOf, type NamedHoldersOf, Puller } from './puller.ts';
import { ReadCache } from './read-cache.ts';
import { ReadSlots } from './read-slots.ts';
import { Scrubber, type ScrubCounts, type ScrubOptions, type ScrubStatus, scrubDefaults } from './scrubber.ts';
import { type HashedBytes, likelyChunkOf, smallBlobsOf } from './small-content.ts';
import { Sweeper } from './sweeper.ts';
import { Upkeep } from './upkeep.ts';

export type { DeadLetter, DeathReason } from './dead-letters.ts';
export type { StagedContent } from './ingest.ts';
export type { ContentSubject } from './pull-jobs.ts';
export type { ScrubCounts, ScrubStatus } from './scrubber.ts';

/** Dead letters listed at once. */
const deadLettersMax = 1_000;
/** How often work is looked for that nobody told of. */
const lookEveryMs = 60_000;
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
  /** These are asked first; the writer of a version is where none is named. */
  readonly namedHoldersOf?: NamedHoldersOf | undefined;
  /** The peer that is a node now. */
  readonly peerOf: (node: NodeId) => PeerId | undefined;
  /** Whether this node is to hold the content of a version. */
  readonly shouldHold: (subject: ContentSubject) => boolean;
  /** How a namespace's content is cut from now on; the default way when absent. */
  readonly chunkingOf?: ((ns: string) => ChunkingParameters) | undefined;
  /** Bytes of content a second, to all peers and from all of them; without bound when absent. */
  readonly uploadBytesPerSecond?: number | undefined;
  readonly downloadBytesPerSecond?: number | undefined;
  readonly scrub?: Partial<ScrubOptions> | undefined;
  /** Is told what is whole here, in the transaction that makes it so. */
  readonly inventory?: Inventory | undefined;
  /** True while a promise not to drop a content stands. Asked within the transaction that would drop it. */
  readonly isLeased?: ((reader: KvReader, manifest: BlobHash) => boolean) | undefined;
}

/** What an operator sets of it. */
export type ContentSettings = Pick<ContentPlaneOptions, 'uploadBytesPerSecond' | 'downloadBytesPerSecond' | 'scrub'>;

/** What an operator sees and does of it. */
export type ContentAdmin = Pick<ContentPlane, 'deadLetters' | 'deadCount' | 'retryDead' | 'scrubStatus' | 'scrubNow'>;

/** Attempts to have a blob from one peer and no other. */
const askedAloneMax = 4;

/** What became of the wish to drop a content: `absent` when there was nothing to drop. */
export type DropOutcome = 'dropped' | 'leased' | 'absent';

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
  readonly #pins = new Pins();
  readonly #links: Links;
  readonly #sweeper: Sweeper;
  readonly #scrubber: Scrubber;
  readonly #upkeep: Upkeep;
  readonly #doubts: Doubts;
  readonly #upload: RateLimiter | undefined;
  readonly #download: RateLimiter | undefined;
  readonly #reading: ContentReaderDependencies;
  readonly #ingestBudget = new ByteBudget(ingestingBytesMax);
  readonly #servedBytes: Counter;
  readonly #damage: DamageGauge;
  readonly #listeners = new Set<(subject: ContentSubject) => void>();
  readonly #deadListeners = new Set<(subject: ContentSubject, reason: DeathReason) => void>();
  readonly #stopping = new AbortController();
  #unsubscribe: () => void = () => undefined;
  #cancelLook: () => void = () => undefined;

  constructor(dependencies: ContentPlaneDependencies, options: ContentPlaneOptions) {
    const { kv, blobs, network, clock, random, log, metrics } = dependencies;
    this.#dependencies = dependencies;
    this.#options = options;
    this.#batcher = new KvBatcher(kv);
    const jobs = new PullJobs({
      kv,
      log,
      inventory: options.inventory,
      onDamageChanged: () => this.#damage.changed(),
    });
    this.#damage = new DamageGauge({ log, metrics, batcher: this.#batcher, counts: () => jobs.mending() });
    this.#jobs = jobs;
    const links = new Links((reader, manifest) => jobs.isWanted(reader, manifest));
    this.#links = links;
    const limiter = (rate: number | undefined): RateLimiter | undefined =>
      rate === undefined ? undefined : new RateLimiter(clock, rate);
    this.#upload = limiter(options.uploadBytesPerSecond);
    this.#download = limiter(options.downloadBytesPerSecond);
    const store = new ContentStore({ kv, batcher: this.#batcher, blobs, log, metrics });
    this.#store = store;
    this.#fetcher = new BlobFetcher({
      network,
      clock,
      random,
      log,
      metrics,
      // What is pulled is kept for others; what a client wrote, its holders are about to read.
      store: (hash, bytes) => store.put(hash, bytes, { isCold: true }),
      room: () => store.room(),
      download: this.#download,
    });
    this.#puller = new Puller(
      {
        jobs,
        store,
        batcher: this.#batcher,
        fetcher: this.#fetcher,
        links,
        kv,
        connectedPeers: () => network.connectedPeers(),
        clock,
        random,
        log,
        metrics,
      },
      {
        holdersOf: options.holdersOf,
        namedHoldersOf: options.namedHoldersOf,
        peerOf: options.peerOf,
        onStored: (subject) => {
          for (const listener of this.#listeners) listener(subject);
        },
        onDead: (subject, reason) => {
          for (const listener of this.#deadListeners) listener(subject, reason);
        },
      },
    );
    const kept = { kv, batcher: this.#batcher, store, links, pins: this.#pins, clock, log, metrics };
    this.#sweeper = new Sweeper({ ...kept, isPulling: (manifest) => this.#puller.halt(manifest) });
    const onReopened = (): void => this.kick();
    const doubts = new Doubts({ ...kept, jobs, onReopened });
    this.#doubts = doubts;
    store.onDamaged((...damage) => void doubts.blobLost(...damage));
    this.#pins.onRelease(() => {
      this.#sweeper.kick();
      doubts.pinsReleased();
    });
    this.#scrubber = new Scrubber(
      { ...kept, jobs, sweeper: this.#sweeper, onReopened },
      { ...scrubDefaults, ...options.scrub },
    );
    this.#upkeep = new Upkeep(
      { jobs, links, batcher: this.#batcher, clock, log },
      { holdersOf: options.holdersOf, shouldHold: options.shouldHold, onChanged: () => this.kick() },
    );
    this.#reading = {
      store,
      jobs: this.#jobs,
      batcher: this.#batcher,
      fetcher: this.#fetcher,
      puller: this.#puller,
      slots: this.#slots,
      cache: new ReadCache(),
      kv,
      links,
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
    this.#damage.show();
    network.handle(blobsProtocol, (stream) => this.#serve(stream), { inboundStreamsMax });
    this.#unsubscribe = network.onPeerChange(({ kind, peer }) => {
      if (kind !== 'connected') return;
      this.#fetcher.peerConnected(peer);
      this.#puller.endDelays();
      this.#upkeep.peerConnected(peer);
    });
    this.#puller.start();
    this.#sweeper.start();
    this.#scrubber.start();
    this.#lookLater();
  }

  /** Whoever leaves work says so; this is for what was left by a fault. */
  #lookLater(): void {
    this.#cancelLook = this.#dependencies.clock.setTimer(lookEveryMs, () => {
      this.kick();
      this.#lookLater();
    });
  }

  /** Ends every transfer, and waits a bounded while for what is on its way to disk. Jobs stay for the next life. */
  async stop(): Promise<void> {
    this.#unsubscribe();
    this.#cancelLook();
    this.#stopping.abort(new MeshError('shutting_down', 'the node is stopping'));
    this.#upload?.close();
    this.#download?.close();
    this.#fetcher.close();
    this.#upkeep.stop();
    await Promise.all([this.#puller.stop(), this.#scrubber.stop(), this.#sweeper.stop(), this.#doubts.stop()]);
    await this.#batcher.idle();
  }

  /**
   * Takes a body of a namespace in; large blobs are stored and durable when this resolves, and held until the caller
   * calls `release`. Rejects with what the body threw, the signal's reason, or as the store does: then nothing refers
   * to what was stored, and it is removed.
   */
  ingest(body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, ns: string, signal?: AbortSignal) {
    const chunking = this.#options.chunkingOf?.(ns) ?? defaultChunking;
    const dependencies = {
      store: this.#store,
      budget: this.#ingestBudget,
      pins: this.#pins,
      stage: (linkage: Linkage) => this.#stage(linkage),
      discard: (hashes: readonly BlobHash[]) => this.#sweeper.discard(hashes),
    };
    return ingest(body, dependencies, chunking, signal);
  }

  async #stage(linkage: Linkage): Promise<void> {
    for (const portion of portionsOf(linkage)) {
      await this.#batcher.add((transaction) => {
        this.#links.link(transaction, portion);
        if (!this.#links.isRetained(transaction, linkage.parent)) this.#links.condemn(transaction, linkage.parent);
      });
    }
  }

  /** Makes a staged content this node's, in the caller's transaction. */
  keep(transaction: KvTransaction, staged: Pick<StagedContent, 'content' | 'rows' | 'linkage' | 'parts'>): void {
    const { content, rows, linkage, parts } = staged;
    for (const { hash, bytes } of rows) this.#store.putSmall(transaction, hash, bytes);
    this.#links.spare(transaction, content.manifest);
    if (linkage !== undefined) this.#links.link(transaction, linkage);
    for (const part of parts) this.#links.spare(transaction, part);
    this.#jobs.markComplete(transaction, content.manifest, content.size);
  }

  /**
   * Notes in the caller's transaction that a version's content is to be here; `kick` after the commit starts the
   * pull. True when it is not here yet, so that `onStored` will tell.
   */
  want(transaction: KvTransaction, content: Content, subject: ContentSubject): boolean {
    if (!this.#options.shouldHold(subject)) return false;
    this.#links.spare(transaction, content.manifest);
    return this.#jobs.want(transaction, content, subject);
  }

  /**
   * Drops a content in the caller's transaction: it is whole here no more and not wanted, and after the commit (call
   * `kick`) its blobs that no other content needs are removed. `leased` leaves all as it is.
   */
  drop(transaction: KvTransaction, manifest: BlobHash): DropOutcome {
    if (this.#options.isLeased?.(transaction, manifest) === true) return 'leased';
    if (!this.#jobs.drop(transaction, manifest)) return 'absent';
    this.#links.condemn(transaction, manifest);
    return 'dropped';
  }

  /** See `Puller.fetchedUntilMs`. */
  fetchedUntilMs(): number | undefined {
    return this.#puller.fetchedUntilMs();
  }

  /** See `Upkeep.reconsider`: to be called when what `shouldHold` says has changed. */
  reconsider(): Promise<number> {
    return this.#upkeep.reconsider();
  }

  /**
   * Like `want`, for a content whose bytes came with the version: it is kept at once when they are exactly what the
   * version says, which is verified here. False when it is wanted still.
   */
  keepSmall(transaction: KvTransaction, content: Content, subject: ContentSubject, along: HashedBytes): boolean {
    const blobs = smallBlobsOf(content, along);
    if (blobs === undefined) return false;
    if (!this.#options.shouldHold(subject)) return true;
    this.keep(transaction, { content, rows: blobs, linkage: undefined, parts: [] });
    return true;
  }

  /** The bytes of a content of one chunk, when it is here and has at most so many; for a peer, who checks them. */
  small(content: Content, bytesMax: number): Uint8Array | undefined {
    if (content.size === 0 || content.size > bytesMax) return undefined;
    const bytes = this.#store.read(likelyChunkOf(content), content.size);
    return bytes instanceof Promise ? undefined : bytes;
  }

  /** Bytes of a content that is whole here; undefined for any other. Within a transaction, as that sees it. */
  sizeOf(reader: KvReader, manifest: BlobHash): number | undefined {
    return this.#jobs.completeSize(reader, manifest);
  }

  /** The contents that are whole here, in the order of their manifests' hashes, after one of them. */
  heldAfter(reader: KvReader, after: BlobHash | undefined, limit: number): readonly HeldContent[] {
    return heldAfter(this.#jobs, reader, after, limit);
  }

  /** Somebody found that a content lacks something: if it is called whole here, it is looked at, and wanted again if so. */
  doubt(manifest: BlobHash): void {
    this.#doubts.doubt(manifest);
  }

  /** The verified bytes of a stored blob, or undefined. Who has no more use for them may `giveBackBlob`. */
  lendBlob(hash: BlobHash, sizeBytes?: number): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    return this.#store.lend(hash, sizeBytes);
  }

  /** Takes back what `lendBlob` gave, once: its memory is used again. */
  giveBackBlob(bytes: Uint8Array): void {
    this.#store.giveBack(bytes);
  }

  /**
   * The verified bytes of a blob that this peer gave, kept nowhere; undefined when it says that it has none, or is left
   * alone for what it sent instead. Wants for one blob share one transfer, which may be from another peer: then it is
   * asked again, now alone. Rejects with `MeshError` `timeout` when it could never be asked alone, `stream_failed` when
   * the transfer failed in another way, which says nothing about what the peer has.
   */
  async fetchFrom(peer: PeerId, hash: BlobHash, sizeBytes: number): Promise<Uint8Array | undefined> {
    const holders = new HolderGroup(() => [peer]);
    const options = { holders, unstored: true, signal: this.#stopping.signal };
    for (let left = askedAloneMax; left > 0; left -= 1) {
      const fetched = await this.#fetcher.fetch({ hash, sizeBytes }, options);
      if (fetched?.from === peer) return fetched.bytes;
      if (fetched !== undefined) continue;
      if (holders.hasLacked(peer) || this.#fetcher.distrusts(peer)) return undefined;
      throw new MeshError('stream_failed', `nothing was heard from ${peer} about ${hash}`);
    }
    throw new MeshError('timeout', `others gave what ${peer} was asked for`);
  }

  /** Looks for new jobs, and for contents that were dropped, now. */
  kick(): void {
    this.#puller.kick();
    this.#sweeper.kick();
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

  /** Jobs that were given up, in the order of their hashes: those after one of them. */
  deadLetters(limit: number, after?: BlobHash): readonly DeadLetter[] {
    return this.#jobs.dead(after, Math.min(limit, deadLettersMax));
  }

  deadCount(): number {
    return this.#jobs.deadCount();
  }

  /** Contents that were whole here and lack something now, whoever found that. */
  damaged(): MendingCounts {
    return this.#jobs.mending();
  }

  /** Tries again what was given up: one, or everything. Resolves with the number of jobs. */
  retryDead(hash?: BlobHash): Promise<number> {
    return this.#upkeep.retryDead(hash);
  }

  scrubStatus(): ScrubStatus {
    return this.#scrubber.status();
  }

  /** See `Scrubber.now`. */
  scrubNow(signal: AbortSignal): Promise<ScrubCounts> {
    return this.#scrubber.now(signal);
  }

  /** See `ReadVersion.open`. Rejects with the signal's reason, or `MeshError` `shutting_down`. */
  open(content: Content, reading: Reading = {}): Promise<Outcome<AsyncIterable<Uint8Array>>> {
    const stopping = this.#stopping.signal;
    const signal = reading.signal === undefined ? stopping : AbortSignal.any([reading.signal, stopping]);
    return openContent(this.#reading, content, { ...reading, signal });
  }

  /** Is told of each version whose content has become whole and durable here by pulling. */
  onStored(listener: (subject: ContentSubject) => void): void {
    this.#listeners.add(listener);
  }

  /** Is told of each version that waits for a content whose job was given up. */
  onDead(listener: (subject: ContentSubject, reason: DeathReason) => void): void {
    this.#deadListeners.add(listener);
  }

  async #serve(stream: ByteStream): Promise<void> {
    const { clock, log } = this.#dependencies;
    const dependencies = {
      clock,
      read: (hash: Parameters<ContentStore['lend']>[0]) => this.#store.lend(hash),
      release: (blob: Uint8Array) => this.#store.giveBack(blob),
      upload: this.#upload,
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
