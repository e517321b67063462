import type { BlobHash } from '../../../crdt/ids.ts';
import { decodeManifest, type Manifest } from '../../../crdt/manifest.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Kv, KvReader } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Counter, Metrics } from '../../ports/metrics.ts';
import { hashedRange, hashOfKey, isCompleteKey, stateKey } from './content-keys.ts';
import { type ContentStore, smallBlobBytesMax } from './content-store.ts';
import type { KvBatcher } from './kv-batcher.ts';
import { type LinkRole, type Links, linkageOf } from './links.ts';
import type { Pins } from './pins.ts';

/** Blobs judged and removed in one stretch: a few milliseconds of the event loop. */
const batchBlobsMax = 64;
/** Condemned manifests, or markers of whole contents, read at once. */
const pageMax = 256;
/** Pause between two stretches, so that whoever waits for an answer goes first. */
const pauseMs = 1;
/** How long what somebody still counts on waits until it is looked at again. */
const blockedMs = 5_000;
const failedMs = 30_000;
/** Blobs of abandoned uploads that wait to be removed; the scrub finds what is more. */
const discardedMax = 8_192;

export interface SweeperDependencies {
  readonly kv: Kv;
  readonly batcher: KvBatcher;
  readonly store: ContentStore;
  readonly links: Links;
  readonly pins: Pins;
  /** True while a pull of this content is under way; it has been told to stop. */
  readonly isPulling: (manifest: BlobHash) => boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** A manifest that is being taken apart. */
interface Dismantling {
  readonly manifest: BlobHash;
  /** True once anybody has come to count on it, even if it was condemned again since. */
  readonly isSpared: () => boolean;
}

interface Entry {
  readonly hash: BlobHash;
  readonly size: number;
}

/**
 * Takes dropped contents apart: for each condemned manifest it removes the blobs that nothing else needs, then the rows
 * that name them, and the manifest last. Whatever is interrupted is found and gone on with at the next start, since the
 * row that condemns it is written with the end of the content's marker and is the last to go.
 */
export class Sweeper {
  readonly #dependencies: SweeperDependencies;
  readonly #removedBytes: Counter;
  readonly #discarded: BlobHash[] = [];
  #running: Promise<void> | undefined;
  #again = false;
  #cancelTimer: (() => void) | undefined;
  #stopped = true;
  #isLinked = false;

  constructor(dependencies: SweeperDependencies) {
    this.#dependencies = dependencies;
    this.#removedBytes = dependencies.metrics.counter({
      name: 'anabranch_content_removed_bytes_total',
      help: 'Bytes of chunks and manifests that were removed because nothing needed them any more.',
    });
  }

  /** Every content that is here has its links: only then may anything be removed. */
  get isReady(): boolean {
    return this.#isLinked;
  }

  start(): void {
    this.#stopped = false;
    this.kick();
  }

  /** Resolves when what is under way has come to rest. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelTimer?.();
    await this.#running;
  }

  /** Looks for work now. */
  kick(): void {
    if (this.#stopped) return;
    this.#again = true;
    this.#running ??= this.#run();
  }

  /** Blobs of an upload that came to nothing. */
  discard(hashes: readonly BlobHash[]): void {
    const room = discardedMax - this.#discarded.length;
    this.#discarded.push(...hashes.slice(0, Math.max(0, room)));
    this.kick();
  }

  /** Removes those of these blobs that nothing needs; resolves with the bytes that are free now. */
  async removeUnreached(hashes: readonly BlobHash[]): Promise<number> {
    const { store, links, pins, kv, batcher } = this.#dependencies;
    const found: Entry[] = [];
    for (const hash of hashes) {
      const size = await store.sizeOf(hash);
      if (size !== undefined) found.push({ hash, size });
    }
    const isNeeded = (reader: KvReader, { hash, size }: Entry): boolean =>
      pins.has(hash) || links.isReached(reader, hash, size);
    const removed = await this.#removeFiles(found.filter((blob) => isLarge(blob) && !isNeeded(kv, blob)));
    const small = found.filter((blob) => !isLarge(blob));
    let smallBytes = 0;
    if (small.length > 0) {
      await batcher.add((transaction) => {
        for (const blob of small) {
          if (isNeeded(transaction, blob)) continue;
          store.removeSmall(transaction, blob.hash);
          smallBytes += blob.size;
        }
      });
    }
    this.#removedBytes.add(smallBytes);
    return removed + smallBytes;
  }

  async #run(): Promise<void> {
    // One turn later, so that what is asked for in this turn is seen.
    await Promise.resolve();
    let restMs: number | undefined;
    while (this.#again && !this.#stopped) {
      this.#again = false;
      try {
        if (!this.#isLinked) await this.#ensureLinked();
        await this.#sweepDiscarded();
        restMs = (await this.#sweepCondemned()) ? undefined : blockedMs;
      } catch (error) {
        restMs = failedMs;
        if (!(error instanceof MeshError && error.code === 'shutting_down')) {
          this.#dependencies.log.error('content:sweep_failed', { error });
        }
      }
    }
    this.#running = undefined;
    this.#cancelTimer?.();
    if (restMs !== undefined && !this.#stopped) {
      this.#cancelTimer = this.#dependencies.clock.setTimer(restMs, () => this.kick());
    }
  }

  /** A store that was filled before links were kept gets them now; an empty one has them all. */
  async #ensureLinked(): Promise<void> {
    const { kv, batcher, log } = this.#dependencies;
    if (kv.get(stateKey('linked')) === undefined) {
      let contents = 0;
      for (let after: BlobHash | undefined; ; ) {
        const page = [...kv.range({ ...hashedRange('blob', after), limit: pageMax })];
        for (const [key] of page) {
          after = hashOfKey(key);
          if (!isCompleteKey(key)) continue;
          contents += 1;
          await this.#linkAll(after);
          if (this.#stopped) return;
        }
        if (page.length < pageMax) break;
        await this.#pause();
      }
      if (contents > 0) log.info('content:linked', { contents });
      await batcher.add((transaction) => transaction.put(stateKey('linked'), Uint8Array.of(1)));
    }
    this.#isLinked = true;
  }

  async #linkAll(root: BlobHash): Promise<void> {
    const { batcher, links } = this.#dependencies;
    const below = [root];
    for (let parent = below.pop(); parent !== undefined; parent = below.pop()) {
      const manifest = await this.#manifest(parent);
      const linkage = manifest === undefined ? undefined : linkageOf(parent, manifest);
      if (linkage === undefined) continue;
      await batcher.add((transaction) => void links.linkRetained(transaction, linkage));
      if (linkage.role === 'part') below.push(...linkage.children);
    }
  }

  async #sweepDiscarded(): Promise<void> {
    while (this.#discarded.length > 0 && !this.#stopped) {
      await this.removeUnreached(this.#discarded.splice(0, batchBlobsMax));
      await this.#pause();
    }
  }

  /** True when nothing is left that has to wait. */
  async #sweepCondemned(): Promise<boolean> {
    const { kv, links } = this.#dependencies;
    let isDone = true;
    for (let after: BlobHash | undefined; ; ) {
      const page = links.condemned(kv, after, pageMax);
      for (const manifest of page) {
        if (this.#stopped) return true;
        after = manifest;
        if (!(await this.#dismantle(manifest))) isDone = false;
        await this.#pause();
      }
      if (page.length < pageMax) return isDone;
    }
  }

  /** True when it is done with; false when somebody counts on it, or on part of it, for the moment. */
  async #dismantle(manifest: BlobHash): Promise<boolean> {
    const { kv, links, pins, isPulling } = this.#dependencies;
    const doomed = { manifest, isSpared: links.watchSpared(manifest) };
    if (pins.has(manifest) || isPulling(manifest)) return false;
    if (links.isRetained(kv, manifest)) return this.#spareRetained(manifest);
    const decoded = await this.#manifest(manifest);
    const isFree = decoded === undefined ? await this.#unlinkByRows(doomed) : await this.#unlinkListed(doomed, decoded);
    return isFree && this.#end(doomed);
  }

  /** It was condemned, and is needed all the same: its blobs stay. */
  async #spareRetained(manifest: BlobHash): Promise<boolean> {
    const { links, batcher } = this.#dependencies;
    let isRetained = false;
    await batcher.add((transaction) => {
      isRetained = links.isRetained(transaction, manifest);
      if (isRetained) links.spare(transaction, manifest);
    });
    return isRetained;
  }

  async #unlinkListed(doomed: Dismantling, decoded: Manifest): Promise<boolean> {
    const { kv, links } = this.#dependencies;
    const { manifest } = doomed;
    const linkage = linkageOf(manifest, decoded);
    const role = decoded.kind === 'tree' ? 'part' : 'chunk';
    const listed = decoded.kind === 'tree' ? decoded.parts : decoded.chunks;
    const children = linkage?.children ?? listed.map(({ hash }) => hash);
    let isFree = true;
    for (let start = 0; start < children.length && this.#goesOn(doomed); start += batchBlobsMax) {
      const batch = children.slice(start, start + batchBlobsMax);
      const left = linkage === undefined ? batch : batch.filter((child) => links.isLinked(kv, child, manifest));
      if (!(await this.#unlink(doomed, role, left))) isFree = false;
      await this.#pause();
    }
    return isFree && this.#goesOn(doomed);
  }

  /** The manifest cannot be read, so what it listed is found among all links. */
  async #unlinkByRows(doomed: Dismantling): Promise<boolean> {
    const { kv, links } = this.#dependencies;
    let isFree = true;
    let from: Uint8Array | undefined;
    do {
      const { found, next } = links.search(kv, doomed.manifest, from);
      for (const role of ['chunk', 'part'] as const) {
        if (found[role].length > 0 && !(await this.#unlink(doomed, role, found[role]))) isFree = false;
      }
      from = next;
      await this.#pause();
    } while (from !== undefined && this.#goesOn(doomed));
    return isFree && this.#goesOn(doomed);
  }

  /** Removes what only this manifest needs, and then the rows that name it. False when some of it has to stay for now. */
  async #unlink(doomed: Dismantling, role: LinkRole, children: readonly BlobHash[]): Promise<boolean> {
    const { kv, store, links, pins, batcher } = this.#dependencies;
    const { manifest } = doomed;
    const sizes = new Map<BlobHash, number>();
    if (role === 'chunk') for (const child of children) sizes.set(child, (await store.sizeOf(child)) ?? 0);
    // From here to the removal of the files nothing is awaited, so nobody comes to count on one in between. The manifest's
    // own rows do not count below, which is right only as long as nobody counts on the manifest: so that comes first.
    if (!this.#isDoomed(kv, doomed)) return false;
    const free = children.filter((child) => !pins.has(child));
    const isNeeded = (reader: KvReader, hash: BlobHash): boolean =>
      pins.has(hash) || links.isReached(reader, hash, sizes.get(hash) ?? 0, manifest);
    const large = free.filter((child) => (sizes.get(child) ?? 0) > smallBlobBytesMax && !isNeeded(kv, child));
    await this.#removeFiles(large.map((hash) => ({ hash, size: sizes.get(hash) ?? 0 })));
    let smallBytes = 0;
    let isDone = false;
    await batcher.add((transaction) => {
      isDone = this.#isDoomed(transaction, doomed);
      if (!isDone) return;
      for (const child of free) {
        const size = sizes.get(child) ?? 0;
        if (role === 'chunk' && size <= smallBlobBytesMax && !isNeeded(transaction, child)) {
          store.removeSmall(transaction, child);
          smallBytes += size;
        }
        links.unlink(transaction, child, manifest);
        if (role === 'part' && !links.isRetained(transaction, child)) links.condemn(transaction, child);
      }
    });
    this.#removedBytes.add(smallBytes);
    // Its parts may have been condemned, and lie before what this pass has come to.
    if (isDone && role === 'part') this.#again = true;
    return isDone && free.length === children.length;
  }

  /** The manifest goes last, unless it is needed as the content of something. */
  async #end(doomed: Dismantling): Promise<boolean> {
    const { kv, store, links, batcher } = this.#dependencies;
    const { manifest } = doomed;
    const size = (await store.sizeOf(manifest)) ?? 0;
    if (!this.#isDoomed(kv, doomed)) return false;
    const isNeeded = (reader: KvReader): boolean => links.isReached(reader, manifest, size);
    if (size > smallBlobBytesMax && !isNeeded(kv)) await this.#removeFiles([{ hash: manifest, size }]);
    let isDone = false;
    await batcher.add((transaction) => {
      isDone = this.#isDoomed(transaction, doomed);
      if (!isDone) return;
      links.spare(transaction, manifest);
      if (size <= smallBlobBytesMax && !isNeeded(transaction)) store.removeSmall(transaction, manifest);
    });
    return isDone;
  }

  #goesOn(doomed: Dismantling): boolean {
    return !this.#stopped && this.#isDoomed(this.#dependencies.kv, doomed);
  }

  /** True while nobody has come to count on it since its taking apart began. */
  #isDoomed(reader: KvReader, { manifest, isSpared }: Dismantling): boolean {
    const { links, pins, isPulling } = this.#dependencies;
    if (isSpared() || pins.has(manifest) || isPulling(manifest)) return false;
    return links.isCondemned(reader, manifest) && !links.isRetained(reader, manifest);
  }

  /** Called in the turn in which they were judged. */
  async #removeFiles(blobs: readonly Entry[]): Promise<number> {
    let bytes = 0;
    for (const { size } of blobs) bytes += size;
    await Promise.all(blobs.map(({ hash }) => this.#dependencies.store.removeFile(hash)));
    this.#removedBytes.add(bytes);
    return bytes;
  }

  async #manifest(hash: BlobHash): Promise<Manifest | undefined> {
    const bytes = await this.#dependencies.store.read(hash);
    const decoded = bytes === undefined ? undefined : decodeManifest(bytes);
    return decoded?.ok === true ? decoded.value : undefined;
  }

  #pause(): Promise<void> {
    return this.#dependencies.clock.sleep(pauseMs);
  }
}

function isLarge({ size }: Entry): boolean {
  return size > smallBlobBytesMax;
}
