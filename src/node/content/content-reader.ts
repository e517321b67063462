import { createBlake3, toHex } from '../../../crdt/digest.ts';
import { type BlobHash, err, ok } from '../../../crdt/ids.ts';
import type { Content } from '../../../crdt/version.ts';
import type { BlobFetcher, FetchedBlob } from '../../../protocols/blobs/fetcher.ts';
import type { HolderGroup } from '../../../protocols/blobs/holder-group.ts';
import type { BlobWant } from '../../../protocols/blobs/holder-session.ts';
import type { Clock } from '../../ports/clock.ts';
import type { KvReader } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Outcome } from '../api.ts';
import type { ContentStore } from './content-store.ts';
import type { KvBatcher } from './kv-batcher.ts';
import type { Links } from './links.ts';
import { type ByteRange, type ChunkPart, loadRoot, walkChunks } from './manifest-walk.ts';
import type { ContentSubject, PullJobs } from './pull-jobs.ts';
import type { Puller } from './puller.ts';
import type { ReadCache } from './read-cache.ts';
import type { ReadSlots } from './read-slots.ts';

/** Content in transit is waited for as long as it progresses, and so long after its last progress. */
const progressMs = 10_000;
/** Pause between two rounds of asking all holders for a blob that none had. */
const retryMs = 250;
/** Chunks read ahead of the one being handed out: from the disk, and from holders, which are farther away. */
const readsAheadMax = 4;
const fetchesAheadMax = 8;

export interface ContentReaderDependencies {
  readonly store: ContentStore;
  readonly jobs: PullJobs;
  readonly batcher: KvBatcher;
  readonly fetcher: BlobFetcher;
  readonly puller: Puller;
  readonly slots: ReadSlots;
  readonly cache: ReadCache;
  readonly kv: KvReader;
  readonly links: Links;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is read of a content, and for whom. */
export interface Reading {
  /** All of it when absent. */
  readonly range?: ByteRange | undefined;
  /** The version it is read for: it says who is likely to hold the content when this node does not. */
  readonly subject?: ContentSubject | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Opens a content for reading. The first part is here and verified when this resolves; a content that cannot be
 * had is a refusal. Later failures are thrown by the stream as `MeshError` `content_unavailable` or `corrupt`.
 */
export async function openContent(
  dependencies: ContentReaderDependencies,
  content: Content,
  { range, subject, signal }: Reading = {},
): Promise<Outcome<AsyncIterable<Uint8Array>>> {
  const end = Math.min(range?.end ?? content.size, content.size);
  const start = Math.min(range?.start ?? 0, end);
  const stream = new ContentReading(dependencies, content, subject, signal).stream({ start, end });
  try {
    return ok(resume(await stream.next(), stream));
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof MeshError) || (error.code !== 'content_unavailable' && error.code !== 'corrupt'))
      throw error;
    const { manifest, size } = content;
    return err({ code: 'content_unavailable', message: error.message, detail: { manifest, size } });
  }
}

/** The stream with its first result put back. A consumer that never starts leaves nothing open but what is in memory. */
function resume(
  first: IteratorResult<Uint8Array, void>,
  rest: AsyncGenerator<Uint8Array, void>,
): AsyncIterable<Uint8Array> {
  let pending: IteratorResult<Uint8Array, void> | undefined = first;
  const iterator: AsyncIterableIterator<Uint8Array, void> = {
    next() {
      const result = pending;
      pending = undefined;
      return result === undefined ? rest.next() : Promise.resolve(result);
    },
    return: () => rest.return(),
    [Symbol.asyncIterator]: () => iterator,
  };
  return iterator;
}

interface ReadAhead {
  readonly holdsSlot: boolean;
  readonly part: Promise<Uint8Array | undefined>;
}

/**
 * One reader of one content. What this node keeps, or is to keep, comes through the store; of any other content the
 * blobs only pass through, verified, and nothing of it stays but what the read cache has room for.
 */
class ContentReading {
  readonly #dependencies: ContentReaderDependencies;
  readonly #content: Content;
  readonly #subject: ContentSubject | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #ended = new AbortController();
  #holders: HolderGroup | undefined;

  constructor(
    dependencies: ContentReaderDependencies,
    content: Content,
    subject: ContentSubject | undefined,
    signal: AbortSignal | undefined,
  ) {
    this.#dependencies = dependencies;
    this.#content = content;
    this.#subject = subject;
    this.#signal = signal;
  }

  async *stream(range: ByteRange): AsyncGenerator<Uint8Array, void> {
    const { slots } = this.#dependencies;
    const ahead: ReadAhead[] = [];
    try {
      const check = this.#wholeCheck(range);
      const chunks = await this.#chunks(range);
      // One until the consumer comes back for more, so that a stream nobody reads holds no slots.
      for (let depth = 1; ; depth = this.#holders === undefined ? readsAheadMax : fetchesAheadMax) {
        while (ahead.length < depth && (ahead.length === 0 || slots.tryTake()))
          ahead.push(this.#next(chunks, ahead.length > 0));
        const next = ahead.shift();
        const part = await next?.part;
        if (next?.holdsSlot === true) slots.give();
        check(part);
        if (part === undefined) return;
        yield part;
      }
    } finally {
      this.#ended.abort(new MeshError('content_unavailable', 'the reader has gone'));
      for (const { holdsSlot } of ahead) if (holdsSlot) slots.give();
    }
  }

  /** The parts of the range, in order: the generator queues calls, so several may be under way. */
  async #chunks(range: ByteRange): Promise<AsyncGenerator<ChunkPart>> {
    const load = (hash: BlobHash, sizeBytes: number): Promise<Uint8Array> => this.#obtain(hash, sizeBytes, undefined);
    const root = await loadRoot(this.#content.manifest, this.#content.size, load);
    if (root.size !== this.#content.size) {
      throw new MeshError('corrupt', `the version says ${this.#content.size} bytes of a content that has ${root.size}`);
    }
    return walkChunks(root, load, range);
  }

  #next(chunks: AsyncGenerator<ChunkPart>, holdsSlot: boolean): ReadAhead {
    const part = chunks.next().then((next) => (next.done === true ? undefined : this.#part(next.value)));
    // Whoever awaits it sees the failure; nobody may.
    part.catch(() => undefined);
    return { holdsSlot, part };
  }

  async #part({ hash, size, from, to }: ChunkPart): Promise<Uint8Array> {
    const bytes = await this.#obtain(hash, size, size);
    if (bytes.length !== size) {
      throw new MeshError('corrupt', `the manifest says ${size} bytes of a chunk that has ${bytes.length}`);
    }
    return bytes.subarray(from, to);
  }

  /**
   * For a read of everything, checks the hash of the whole before the last bytes are handed out: chunks and
   * manifest prove the content's bytes, this proves that the version names them rightly.
   */
  #wholeCheck({ start, end }: ByteRange): (part: Uint8Array | undefined) => void {
    const { size, b3 } = this.#content;
    if (start !== 0 || end !== size) return () => undefined;
    const whole = createBlake3();
    let bytes = 0;
    let checked = false;
    return (part) => {
      if (part !== undefined) whole.update(part);
      bytes += part?.length ?? 0;
      if (bytes < size || checked) return;
      checked = true;
      if (toHex(whole.digest()) !== b3)
        throw new MeshError('corrupt', 'the content has another b3 than its version says');
    };
  }

  /** Verified bytes from here, or from a holder while the content makes progress. `exactBytes` is the size when it is certain. */
  async #obtain(hash: BlobHash, sizeBytes: number, exactBytes: number | undefined): Promise<Uint8Array> {
    const { store, clock, cache, jobs, kv, links } = this.#dependencies;
    let lastProgressMs = clock.monotonicMs();
    for (;;) {
      this.#throwIfEnded();
      const local = cache.get(hash) ?? (await store.read(hash, exactBytes));
      if (local !== undefined) return local;
      // A pull that ended since then has brought it.
      const late = jobs.isComplete(this.#content.manifest) ? await store.read(hash, exactBytes) : undefined;
      if (late !== undefined) return late;
      const holders = await this.#askFor();
      const unstored = !links.isRoot(kv, this.#content.manifest);
      const latestProgressMs = (): number => this.#latestProgressMs(hash, lastProgressMs);
      const fetched = await this.#fetch({ hash, sizeBytes }, { holders, unstored }, latestProgressMs);
      if (fetched !== undefined) {
        if (unstored) cache.add(hash, fetched.bytes);
        return fetched.bytes;
      }
      this.#throwIfEnded();
      lastProgressMs = latestProgressMs();
      if (clock.monotonicMs() - lastProgressMs >= progressMs) throw this.#unavailable();
      await clock.sleep(retryMs, this.#until());
    }
  }

  /** One round of asking the holders, given up when the content makes no progress for too long. */
  async #fetch(
    want: BlobWant,
    options: { readonly holders: HolderGroup; readonly unstored: boolean },
    latestProgressMs: () => number,
  ): Promise<FetchedBlob | undefined> {
    const { clock, fetcher } = this.#dependencies;
    const giveUp = new AbortController();
    let cancelTimer = (): void => undefined;
    const watch = (): void => {
      const restMs = latestProgressMs() + progressMs - clock.monotonicMs();
      if (restMs <= 0) giveUp.abort();
      else cancelTimer = clock.setTimer(restMs, watch);
    };
    watch();
    const signal = AbortSignal.any([giveUp.signal, this.#until()]);
    try {
      return await fetcher.fetch(want, { ...options, urgent: true, signal });
    } finally {
      cancelTimer();
    }
  }

  #latestProgressMs(hash: BlobHash, sinceMs: number): number {
    const { fetcher, puller } = this.#dependencies;
    const ofBlob = fetcher.lastProgressMs(hash) ?? 0;
    const ofContent = puller.lastProgressMs(this.#content.manifest) ?? 0;
    return Math.max(sinceMs, ofBlob, ofContent);
  }

  /** Something of the content is not here: its job, if it has one, goes first; one is made when it was thought whole. */
  async #askFor(): Promise<HolderGroup> {
    if (this.#holders !== undefined) return this.#holders;
    const { jobs, batcher, puller, log } = this.#dependencies;
    const { manifest, size } = this.#content;
    this.#holders = puller.holders(this.#content, this.#subject);
    if (jobs.isComplete(manifest)) {
      log.warn('content:incomplete', { manifest });
      await batcher.add((transaction) => jobs.reopen(transaction, manifest, 'incomplete', size));
    }
    puller.prioritise(manifest);
    return this.#holders;
  }

  /** Aborts when nobody waits for this reading any more, or the node stops. */
  #until(): AbortSignal {
    return this.#signal === undefined ? this.#ended.signal : AbortSignal.any([this.#ended.signal, this.#signal]);
  }

  #throwIfEnded(): void {
    this.#signal?.throwIfAborted();
    this.#ended.signal.throwIfAborted();
  }

  #unavailable(): MeshError {
    return new MeshError(
      'content_unavailable',
      `no holder has sent anything of the content for ${progressMs / 1_000} s`,
    );
  }
}
