import { blobHashOf } from '../../../crdt/digest.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import type { BlobStore } from '../../ports/blob-store.ts';
import type { KvReader, KvTransaction } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import type { Counter, Metrics } from '../../ports/metrics.ts';
import { blobKey, quarantineKey } from './content-keys.ts';
import type { KvBatcher } from './kv-batcher.ts';

/** Blobs up to this size live in the key-value store, larger ones in the blob store. */
export const smallBlobBytesMax = 16 * 1024;
/** Bytes on their way to disk, node-wide, past which no more are taken from peers. */
const storingBytesMax = 16 * 1024 * 1024;

export interface ContentStoreDependencies {
  readonly kv: KvReader;
  readonly batcher: KvBatcher;
  readonly blobs: BlobStore;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** What the store knows of a blob that was asked for: its bytes, that it is absent, or that it was damaged. */
type Finding = { readonly kind: 'intact'; readonly bytes: Uint8Array } | { readonly kind: 'absent' | 'damaged' };

/**
 * Every chunk and manifest of this node, by hash. Whatever is read is verified; what no longer matches its
 * name is put aside and reads as absent from then on.
 */
export class ContentStore {
  readonly #dependencies: ContentStoreDependencies;
  readonly #corrupt: Counter;
  /** Small blobs whose transaction is under way. */
  readonly #committing = new Map<BlobHash, Uint8Array>();
  /** Large blobs whose file is being removed: whoever comes to count on one waits, and then finds it absent. */
  readonly #removing = new Map<BlobHash, Promise<void>>();
  #storingBytes = 0;
  #room: PromiseWithResolvers<void> | undefined;
  #onDamaged: (hash: BlobHash, sizeBytes: number) => void = () => undefined;

  constructor(dependencies: ContentStoreDependencies) {
    this.#dependencies = dependencies;
    this.#corrupt = dependencies.metrics.counter({
      name: 'anabranch_content_corrupt_blobs_total',
      help: 'Stored chunks and manifests that no longer matched their hash and were put aside.',
    });
  }

  /** Is told of every damaged blob that a reader or a peer came upon, once it is put aside. */
  onDamaged(listener: (hash: BlobHash, sizeBytes: number) => void): void {
    this.#onDamaged = listener;
  }

  /** The verified bytes, or undefined. Small blobs are answered at once, without a promise. */
  read(hash: BlobHash, sizeBytes?: number): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    const small = this.#findSmall(hash);
    if (small.kind === 'intact') return small.bytes;
    if (small.kind === 'damaged') return this.#quarantineSmall(hash, true);
    return sizeBytes !== undefined && sizeBytes <= smallBlobBytesMax ? undefined : this.#readLarge(hash);
  }

  /**
   * True when a blob of this size is stored and intact. One that is damaged is put aside, for the caller to store afresh.
   */
  async verify(hash: BlobHash, sizeBytes: number): Promise<boolean> {
    const small = this.#findSmall(hash);
    if (small.kind === 'damaged') await this.#quarantineSmall(hash, false);
    if (small.kind === 'intact') return small.bytes.length === sizeBytes;
    if (sizeBytes <= smallBlobBytesMax) return false;
    await this.#removing.get(hash);
    if ((await this.#dependencies.blobs.sizeOf(hash)) === undefined) return false;
    const large = await this.#findLarge(hash);
    if (large.kind === 'damaged') await this.#quarantineLarge(hash);
    return large.kind === 'intact' && large.bytes.length === sizeBytes;
  }

  /** Looks at a blob as `read` does, when its bytes are of no use: whether it is here, and was as it should be. */
  async inspect(hash: BlobHash): Promise<Finding['kind']> {
    const small = this.#findSmall(hash);
    if (small.kind === 'damaged') await this.#quarantineSmall(hash, true);
    if (small.kind !== 'absent') return small.kind;
    const bytes = await this.#dependencies.blobs.get(hash);
    const { kind } = judge(hash, bytes);
    if (kind !== 'damaged') return kind;
    await this.#quarantineLarge(hash);
    this.#onDamaged(hash, bytes?.length ?? 0);
    return kind;
  }

  /** Bytes stored under a hash, unverified, or undefined. */
  async sizeOf(hash: BlobHash): Promise<number | undefined> {
    return this.#dependencies.kv.get(blobKey(hash))?.length ?? this.#dependencies.blobs.sizeOf(hash);
  }

  /** Stored files in the order of their names, those after one. */
  files(after: BlobHash | undefined): AsyncIterable<{ readonly hash: BlobHash; readonly sizeBytes: number }> {
    return this.#dependencies.blobs.list(after);
  }

  /** Removes the file of a blob that nothing counts on any more; the caller has looked in this very turn. */
  removeFile(hash: BlobHash): Promise<void> {
    const removal = this.#dependencies.blobs.delete(hash).finally(() => this.#removing.delete(hash));
    // Who waits for the end of it does not care how it ended.
    this.#removing.set(
      hash,
      removal.catch(() => undefined),
    );
    return removal;
  }

  /** Removes a small blob in the caller's transaction. */
  removeSmall(transaction: KvTransaction, hash: BlobHash): void {
    if (transaction.get(blobKey(hash)) !== undefined) transaction.delete(blobKey(hash));
  }

  /** Stores bytes whose hash was computed or verified just now. A small blob is durable when this resolves, a large one after `flush`. */
  async put(hash: BlobHash, bytes: Uint8Array): Promise<void> {
    this.#storingBytes += bytes.length;
    try {
      if (bytes.length > smallBlobBytesMax) {
        await this.#removing.get(hash);
        await this.#dependencies.blobs.put(hash, bytes);
      } else {
        this.#committing.set(hash, bytes);
        await this.#dependencies.batcher.add((transaction) => this.putSmall(transaction, hash, bytes));
      }
    } finally {
      this.#committing.delete(hash);
      this.#storingBytes -= bytes.length;
      this.#grantRoom();
    }
  }

  /** Stores a blob like `put`, but does not trust a copy that is here already without looking at it. */
  async putChecked(hash: BlobHash, bytes: Uint8Array): Promise<void> {
    if (!(await this.verify(hash, bytes.length))) await this.put(hash, bytes);
  }

  /** Writes a small blob in the caller's transaction. */
  putSmall(transaction: KvTransaction, hash: BlobHash, bytes: Uint8Array): void {
    transaction.put(blobKey(hash), bytes);
  }

  /** Undefined, or while too many bytes are on their way to disk, a promise of the moment when they are fewer. */
  room(): Promise<void> | undefined {
    if (this.#storingBytes <= storingBytesMax) return undefined;
    this.#room ??= Promise.withResolvers<void>();
    return this.#room.promise;
  }

  /** Makes every large blob whose `put` has resolved durable. */
  flush(): Promise<void> {
    return this.#dependencies.blobs.flush();
  }

  #grantRoom(): void {
    if (this.#storingBytes > storingBytesMax) return;
    this.#room?.resolve();
    this.#room = undefined;
  }

  #findSmall(hash: BlobHash): Finding {
    const committing = this.#committing.get(hash);
    if (committing !== undefined) return { kind: 'intact', bytes: committing };
    return judge(hash, this.#dependencies.kv.get(blobKey(hash)));
  }

  async #findLarge(hash: BlobHash): Promise<Finding> {
    return judge(hash, await this.#dependencies.blobs.get(hash));
  }

  async #readLarge(hash: BlobHash): Promise<Uint8Array | undefined> {
    const bytes = await this.#dependencies.blobs.get(hash);
    const found = judge(hash, bytes);
    if (found.kind === 'intact') return found.bytes;
    if (found.kind === 'damaged') {
      await this.#quarantineLarge(hash);
      this.#onDamaged(hash, bytes?.length ?? 0);
    }
    return undefined;
  }

  async #quarantineLarge(hash: BlobHash): Promise<void> {
    this.#reportDamage(hash);
    await this.#dependencies.blobs.quarantine(hash);
  }

  async #quarantineSmall(hash: BlobHash, report: boolean): Promise<undefined> {
    this.#reportDamage(hash);
    let sizeBytes = 0;
    await this.#dependencies.batcher.add((transaction) => {
      const bytes = transaction.get(blobKey(hash));
      // It may have been stored afresh since it was read.
      if (judge(hash, bytes).kind !== 'damaged' || bytes === undefined) return;
      sizeBytes = bytes.length;
      transaction.put(quarantineKey(hash), bytes);
      transaction.delete(blobKey(hash));
    });
    if (report) this.#onDamaged(hash, sizeBytes);
    return undefined;
  }

  #reportDamage(hash: BlobHash): void {
    this.#corrupt.add(1);
    this.#dependencies.log.error('content:blob_corrupt', { hash });
  }
}

function judge(hash: BlobHash, bytes: Uint8Array | undefined): Finding {
  if (bytes === undefined) return { kind: 'absent' };
  return blobHashOf(bytes) === hash ? { kind: 'intact', bytes } : { kind: 'damaged' };
}
