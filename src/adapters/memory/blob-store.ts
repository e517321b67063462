import { blobBytesMax } from '../../../crdt/chunking.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import type { BlobStore } from '../../ports/blob-store.ts';
import { MeshError, type MeshErrorCode } from '../../ports/mesh-error.ts';
import type { Random } from '../../ports/random.ts';

type Operation = keyof BlobStore;

interface Fault {
  readonly code: MeshErrorCode;
  left: number;
}

/**
 * Blobs on a disk that is only simulated, down to what a power loss does to it: a change that was not flushed is
 * lost at `crash` or survives, as the given randomness has it, each blob for itself.
 */
export class MemoryBlobStore implements BlobStore {
  readonly #random: Random;
  readonly #blobs: Map<BlobHash, Uint8Array>;
  /** For each blob changed since the last flush, every state it was in: first the one that is on disk. */
  readonly #unflushed = new Map<BlobHash, (Uint8Array | undefined)[]>();
  readonly #faults = new Map<Operation, Fault>();
  #capacityBytes: number;
  #usedBytes = 0;
  #crashed = false;

  constructor(
    dependencies: { readonly random: Random },
    options: { readonly capacityBytes?: number; readonly blobs?: ReadonlyMap<BlobHash, Uint8Array> } = {},
  ) {
    this.#random = dependencies.random;
    this.#capacityBytes = options.capacityBytes ?? 2 ** 40;
    this.#blobs = new Map(options.blobs);
    for (const bytes of this.#blobs.values()) this.#usedBytes += bytes.length;
  }

  /**
   * Cuts the power. Returns the store that the restarted node finds; this one rejects every call from now on, so
   * that what is left of the old node cannot touch the new one's disk.
   */
  crash(): MemoryBlobStore {
    this.#crashed = true;
    const survivors = new Map(this.#blobs);
    for (const [hash, states] of this.#unflushed) {
      const state = states[Math.floor(this.#random.fraction() * states.length)];
      if (state === undefined) survivors.delete(hash);
      else survivors.set(hash, state);
    }
    return new MemoryBlobStore({ random: this.#random }, { capacityBytes: this.#capacityBytes, blobs: survivors });
  }

  /** Makes the next `count` calls of an operation fail, without effect. */
  failNext(operation: Operation, code: MeshErrorCode, count = 1): void {
    this.#faults.set(operation, { code, left: count });
  }

  /** Changes the size of the disk; it may be less than what is stored, and then nothing more fits. */
  setCapacity(capacityBytes: number): void {
    this.#capacityBytes = capacityBytes;
  }

  /** Flips one drawn bit of a stored blob, as a rotting disk does. False when there is no bit to flip. */
  corrupt(hash: BlobHash): boolean {
    const bytes = this.#blobs.get(hash);
    if (bytes === undefined || bytes.length === 0) return false;
    const bit = Math.floor(this.#random.fraction() * bytes.length * 8);
    const index = bit >>> 3;
    bytes[index] = (bytes[index] ?? 0) ^ (1 << (bit & 7));
    return true;
  }

  async has(hash: BlobHash): Promise<boolean> {
    this.#enter('has');
    return this.#blobs.has(hash);
  }

  async put(hash: BlobHash, bytes: Uint8Array): Promise<void> {
    this.#enter('put');
    if (bytes.length > blobBytesMax) {
      throw new MeshError('too_large', `a blob has at most ${blobBytesMax} bytes, not ${bytes.length}`);
    }
    const present = this.#blobs.get(hash);
    if (present?.length === bytes.length) return;
    const grownBytes = bytes.length - (present?.length ?? 0);
    if (this.#usedBytes + grownBytes > this.#capacityBytes) {
      throw new MeshError('disk_full', 'no room left to store a blob');
    }
    this.#change(hash, bytes.slice());
  }

  async flush(): Promise<void> {
    this.#enter('flush');
    this.#unflushed.clear();
  }

  async get(hash: BlobHash): Promise<Uint8Array | undefined> {
    this.#enter('get');
    return this.#blobs.get(hash)?.slice();
  }

  /** Nobody inspects a simulated disk, so what is put aside is simply gone. */
  async quarantine(hash: BlobHash): Promise<void> {
    this.#enter('quarantine');
    this.#change(hash, undefined);
  }

  async delete(hash: BlobHash): Promise<void> {
    this.#enter('delete');
    this.#change(hash, undefined);
  }

  async *list(): AsyncGenerator<{ readonly hash: BlobHash; readonly sizeBytes: number }> {
    this.#enter('list');
    for (const [hash, bytes] of this.#blobs) yield { hash, sizeBytes: bytes.length };
  }

  async space(): Promise<{ readonly capacityBytes: number; readonly freeBytes: number }> {
    this.#enter('space');
    return { capacityBytes: this.#capacityBytes, freeBytes: Math.max(0, this.#capacityBytes - this.#usedBytes) };
  }

  /** Makes what is there durable, as the store of files does; a put leaves nothing half-written here. */
  async recover(): Promise<void> {
    this.#enter('recover');
    this.#unflushed.clear();
  }

  #change(hash: BlobHash, after: Uint8Array | undefined): void {
    const before = this.#blobs.get(hash);
    if (before === after) return;
    const states = this.#unflushed.get(hash);
    if (states === undefined) this.#unflushed.set(hash, [before, after]);
    else states.push(after);
    if (after === undefined) this.#blobs.delete(hash);
    else this.#blobs.set(hash, after);
    this.#usedBytes += (after?.length ?? 0) - (before?.length ?? 0);
  }

  #enter(operation: Operation): void {
    if (this.#crashed) throw new MeshError('io_error', 'the disk is gone: this store has crashed');
    const fault = this.#faults.get(operation);
    if (fault === undefined) return;
    fault.left--;
    if (fault.left <= 0) this.#faults.delete(operation);
    throw new MeshError(fault.code, `${operation} fails, as the test asked`);
  }
}
