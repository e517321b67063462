import { blobHashOf } from '../../../crdt/digest.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import { BufferPool } from '../../../protocols/blobs/buffer-pool.ts';
import type { BlobStore, GetOptions, PutOptions } from '../../ports/blob-store.ts';
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

/** `mender` is the manifest of a content that lacks the blob from now on and is seeing to that itself. */
export type DamageListener = (hash: BlobHash, sizeBytes: number, mender: BlobHash | undefined) => void;

/** What the store knows of a blob that was asked for: its bytes, that it is absent, or that it was damaged. */
type Finding = { readonly kind: 'intact'; readonly bytes: Uint8Array } | { readonly kind: 'absent' | 'damaged' };

/**
 * Every chunk and manifest of this node, by hash. Whatever is read is verified; what no longer matches its
 * name is put aside and reads as absent from then on.
 */
export class ContentStore {
  readonly #dependencies: ContentStoreDependencies;
  readonly #corrupt: Counter;
  /** Small blobs whose transaction is under way, and its end, whatever that is. */
  readonly #committing = new Map<BlobHash, { readonly bytes: Uint8Array; readonly ended: Promise<void> }>();
  /**
   * Files that are being stored, removed or put aside, and the end of that. The changes of one file take place one after
   * the other, and whoever comes to count on it waits for them: so one that is being removed is found absent.
   */
  readonly #changing = new Map<BlobHash, Promise<void>>();
  readonly #buffers = new BufferPool();
  /** Has a file read into memory that is used again. */
  readonly #reused: GetOptions = { into: (length) => this.#buffers.take(length) };
  #storingBytes = 0;
  #room: PromiseWithResolvers<void> | undefined;
  #onDamaged: DamageListener = () => undefined;

  constructor(dependencies: ContentStoreDependencies) {
    this.#dependencies = dependencies;
    this.#corrupt = dependencies.metrics.counter({
      name: 'anabranch_content_corrupt_blobs_total',
      help: 'Stored chunks and manifests that no longer matched their hash and were put aside.',
    });
  }

  /** Is told of every damaged blob, once it is put aside. */
  onDamaged(listener: DamageListener): void {
    this.#onDamaged = listener;
  }

  /** The verified bytes, or undefined. Small blobs are answered at once, without a promise. For `mender` see `DamageListener`. */
  read(
    hash: BlobHash,
    sizeBytes?: number,
    mender?: BlobHash,
  ): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    return this.#read(hash, sizeBytes, mender, {});
  }

  /** Like `read`; who has no more use for the bytes, and has handed them to nobody who does, may `giveBack` them. */
  lend(hash: BlobHash, sizeBytes?: number): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    return this.#read(hash, sizeBytes, undefined, this.#reused);
  }

  /** Takes back what `lend` gave, once: its memory is used again, unless it has another owner, as that of a row has. */
  giveBack(bytes: Uint8Array): void {
    if (this.#buffers.isLent(bytes)) this.#buffers.give(bytes);
  }

  #read(
    hash: BlobHash,
    sizeBytes: number | undefined,
    mender: BlobHash | undefined,
    options: GetOptions,
  ): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    const committing = this.#committing.get(hash);
    if (committing !== undefined) return committing.bytes;
    const small = this.#findSmall(hash);
    if (small.kind === 'intact') return small.bytes;
    if (small.kind === 'damaged') return this.#putSmallAside(hash, mender);
    return sizeBytes !== undefined && sizeBytes <= smallBlobBytesMax
      ? undefined
      : this.#readLarge(hash, mender, options);
  }

  /**
   * True when a blob of this size is stored and intact, so that whoever has said before that it is needed may count on
   * it. One that is damaged is put aside, for the caller to store afresh. For `mender` see `DamageListener`.
   */
  async verify(hash: BlobHash, sizeBytes: number, mender?: BlobHash): Promise<boolean> {
    // One whose transaction may still fail is not stored.
    await this.#committing.get(hash)?.ended;
    const small = this.#findSmall(hash);
    if (small.kind === 'damaged') await this.#putSmallAside(hash, mender);
    if (small.kind === 'intact') return small.bytes.length === sizeBytes;
    if (sizeBytes <= smallBlobBytesMax) return false;
    await this.#changing.get(hash);
    if ((await this.#dependencies.blobs.sizeOf(hash)) === undefined) return false;
    const large = await this.#findLarge(hash, mender, this.#reused);
    if (large.kind !== 'intact') return false;
    this.giveBack(large.bytes);
    return large.bytes.length === sizeBytes;
  }

  /** Looks at a blob as `read` does, when its bytes are of no use: whether it is here, and was as it should be. */
  async inspect(hash: BlobHash): Promise<Finding['kind']> {
    const small = this.#findSmall(hash);
    if (small.kind === 'damaged') await this.#putSmallAside(hash, undefined);
    if (small.kind !== 'absent') return small.kind;
    const large = await this.#findLarge(hash, undefined, this.#reused);
    if (large.kind === 'intact') this.giveBack(large.bytes);
    return large.kind;
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
    return this.#change(hash, () => this.#dependencies.blobs.delete(hash));
  }

  /** Removes a small blob in the caller's transaction. */
  removeSmall(transaction: KvTransaction, hash: BlobHash): void {
    if (transaction.get(blobKey(hash)) !== undefined) transaction.delete(blobKey(hash));
  }

  /** Stores bytes whose hash was computed or verified just now. A small blob is durable when this resolves, a large one after `flush`. */
  async put(hash: BlobHash, bytes: Uint8Array, options: PutOptions = {}): Promise<void> {
    this.#storingBytes += bytes.length;
    try {
      if (bytes.length <= smallBlobBytesMax) await this.#commit(hash, bytes);
      else await this.#change(hash, () => this.#dependencies.blobs.put(hash, bytes, options));
    } finally {
      this.#storingBytes -= bytes.length;
      this.#grantRoom();
    }
  }

  /**
   * Stores a blob like `put`, but does not trust a copy that is here already without looking at it. The caller has pinned
   * it. A small one is written in any case: that the row is being removed by a transaction that is not flushed yet, no
   * reader can see.
   */
  async putChecked(hash: BlobHash, bytes: Uint8Array): Promise<void> {
    const isHere = await this.verify(hash, bytes.length);
    if (!isHere || bytes.length <= smallBlobBytesMax) await this.put(hash, bytes);
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

  async #commit(hash: BlobHash, bytes: Uint8Array): Promise<void> {
    const stored = this.#dependencies.batcher.add((transaction) => this.putSmall(transaction, hash, bytes));
    const committing = { bytes, ended: stored.catch(() => undefined) };
    this.#committing.set(hash, committing);
    try {
      await stored;
    } finally {
      if (this.#committing.get(hash) === committing) this.#committing.delete(hash);
    }
  }

  /** Begins at once when nobody else is changing the file, and is waited for from this turn on in any case. */
  #change<T>(hash: BlobHash, change: () => Promise<T>): Promise<T> {
    const before = this.#changing.get(hash);
    const changed = before === undefined ? change() : before.then(change);
    const end = (): void => {
      if (this.#changing.get(hash) === ended) this.#changing.delete(hash);
    };
    // Who waits for the end of it does not care how it ended.
    const ended: Promise<void> = changed.then(end, end);
    this.#changing.set(hash, ended);
    return changed;
  }

  #findSmall(hash: BlobHash): Finding {
    return judge(hash, this.#dependencies.kv.get(blobKey(hash)));
  }

  async #readLarge(hash: BlobHash, mender: BlobHash | undefined, options: GetOptions): Promise<Uint8Array | undefined> {
    await this.#changing.get(hash);
    const found = await this.#findLarge(hash, mender, options);
    return found.kind === 'intact' ? found.bytes : undefined;
  }

  /** What is damaged has been put aside when this resolves. */
  async #findLarge(hash: BlobHash, mender: BlobHash | undefined, options: GetOptions): Promise<Finding> {
    const found = judge(hash, await this.#dependencies.blobs.get(hash, options));
    return found.kind === 'damaged' ? this.#putLargeAside(hash, mender, options) : found;
  }

  /** It may have been stored afresh since it was read, so it is judged again, and nobody can store it before it is moved. */
  async #putLargeAside(hash: BlobHash, mender: BlobHash | undefined, options: GetOptions): Promise<Finding> {
    const { blobs } = this.#dependencies;
    let sizeBytes = 0;
    const found = await this.#change(hash, async () => {
      const bytes = await blobs.get(hash, options);
      const again = judge(hash, bytes);
      if (again.kind !== 'damaged') return again;
      sizeBytes = bytes?.length ?? 0;
      this.#reportDamage(hash);
      await blobs.quarantine(hash);
      return again;
    });
    if (found.kind === 'damaged') this.#onDamaged(hash, sizeBytes, mender);
    return found;
  }

  async #putSmallAside(hash: BlobHash, mender: BlobHash | undefined): Promise<undefined> {
    let sizeBytes: number | undefined;
    await this.#dependencies.batcher.add((transaction) => {
      const bytes = transaction.get(blobKey(hash));
      // It may have been stored afresh since it was read.
      if (judge(hash, bytes).kind !== 'damaged' || bytes === undefined) return;
      sizeBytes = bytes.length;
      transaction.put(quarantineKey(hash), bytes);
      transaction.delete(blobKey(hash));
    });
    if (sizeBytes === undefined) return undefined;
    this.#reportDamage(hash);
    this.#onDamaged(hash, sizeBytes, mender);
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
