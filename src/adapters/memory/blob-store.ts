import { blobBytesMax } from '../../../crdt/chunking.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import type { BlobStore, GetOptions } from '../../ports/blob-store.ts';
import { MeshError, type MeshErrorCode } from '../../ports/mesh-error.ts';
import type { Random } from '../../ports/random.ts';

type Operation = keyof BlobStore;

interface Fault {
  readonly code: MeshErrorCode;
  left: number;
}

/** Bytes that several stores hold under one name, kept once. They are never changed in place. */
export type BlobPool = Map<BlobHash, Uint8Array>;

interface Contents {
  readonly capacityBytes: number;
  /** Shared by stores whose nodes hold the same blobs; each its own when absent. */
  readonly pool: BlobPool;
  readonly blobs: ReadonlyMap<BlobHash, Uint8Array>;
}

/** What a store held at one moment; give it to `restore`. */
export interface MemoryBlobSnapshot {
  readonly blobs: ReadonlyMap<BlobHash, Uint8Array>;
}

export interface CrashOptions {
  /** How likely a blob that was being written is left torn: cut short, or with its tail never written. 0 when absent. */
  readonly tornShare?: number;
}

/** Room for a terabyte: as good as endless, and a number that can be shown. */
const capacityBytesDefault = 2 ** 40;

/**
 * Blobs on a disk that is only simulated, down to what a power loss does to it: a change that was not flushed is
 * lost at `crash` or survives, as chance has it, each blob for itself. Faults are ordered from outside.
 */
export class MemoryBlobStore implements BlobStore {
  readonly #blobs: Map<BlobHash, Uint8Array>;
  /** For each blob changed since the last flush, every state it was in: first the one that is on disk. */
  readonly #unflushed = new Map<BlobHash, (Uint8Array | undefined)[]>();
  readonly #faults = new Map<Operation, Fault>();
  readonly #pool: BlobPool;
  #capacityBytes: number;
  #usedBytes = 0;
  #crashed = false;

  constructor(contents: Partial<Contents> = {}) {
    this.#capacityBytes = contents.capacityBytes ?? capacityBytesDefault;
    this.#pool = contents.pool ?? new Map();
    this.#blobs = new Map(contents.blobs);
    for (const bytes of this.#blobs.values()) this.#usedBytes += bytes.length;
  }

  /**
   * Power loss: returns the store as the next start finds it, on a disk that fails as it did. This handle answers no more,
   * so that what is left of the old node cannot touch the new one's disk.
   */
  crash(random: Random, { tornShare = 0 }: CrashOptions = {}): MemoryBlobStore {
    const blobs = new Map(this.#blobs);
    for (const [hash, states] of this.#unflushed) {
      const index = Math.floor(random.fraction() * states.length);
      const state = states[index];
      if (state === undefined) blobs.delete(hash);
      else blobs.set(hash, index > 0 && random.fraction() < tornShare ? torn(state, random) : state);
    }
    return this.#succeededBy(blobs);
  }

  /** The process ended and started again with nothing lost, no fault either; this handle answers no more. */
  reopen(): MemoryBlobStore {
    return this.#succeededBy(this.#blobs);
  }

  /** A consistent copy, as a backup takes it. */
  snapshot(): MemoryBlobSnapshot {
    return { blobs: new Map(this.#blobs) };
  }

  /** The store after that backup was put back; this handle answers no more. */
  restore(snapshot: MemoryBlobSnapshot): MemoryBlobStore {
    this.#crashed = true;
    return this.#holding(snapshot.blobs);
  }

  /** A copy of the directory beside this one. This handle lives on. */
  clone(): MemoryBlobStore {
    return this.#holding(this.#blobs);
  }

  /** The bytes that a power loss now would leave for certain. The caller must not change them. */
  durable(hash: BlobHash): Uint8Array | undefined {
    const states = this.#unflushed.get(hash);
    return states === undefined ? this.#blobs.get(hash) : states[0];
  }

  /** The bytes as they are now, or undefined. The caller must not change them. */
  peek(hash: BlobHash): Uint8Array | undefined {
    return this.#blobs.get(hash);
  }

  /** The names of all blobs, as they were stored; a look from outside that costs the node nothing. */
  hashes(): readonly BlobHash[] {
    return [...this.#blobs.keys()];
  }

  /** Bytes stored now. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Makes the next `times` calls of an operation fail, without effect. */
  failNext(operation: Operation, code: MeshErrorCode, times = 1): void {
    this.#faults.set(operation, { code, left: times });
  }

  /** Whatever was made to fail works again. */
  clearFaults(): void {
    this.#faults.clear();
  }

  /** Changes the size of the disk; it may be less than what is stored, and then nothing more fits. */
  setCapacity(capacityBytes: number): void {
    this.#capacityBytes = capacityBytes;
  }

  /** Flips one drawn bit of a stored blob, as a rotting disk does. False when there is no bit to flip. */
  corrupt(hash: BlobHash, random: Random): boolean {
    const bytes = this.#blobs.get(hash);
    if (bytes === undefined || bytes.length === 0) return false;
    const bit = Math.floor(random.fraction() * bytes.length * 8);
    const index = bit >>> 3;
    const rotten = bytes.slice();
    rotten[index] = (rotten[index] ?? 0) ^ (1 << (bit & 7));
    // Whatever state a crash leaves, it is as rotten where it is of these bytes.
    this.#blobs.set(hash, rotten);
    const states = this.#unflushed.get(hash) ?? [];
    for (const [at, state] of states.entries()) if (state === bytes) states[at] = rotten;
    return true;
  }

  sizeOf(hash: BlobHash): Promise<number | undefined> {
    return this.#perform('sizeOf', () => this.#blobs.get(hash)?.length);
  }

  put(hash: BlobHash, bytes: Uint8Array): Promise<void> {
    return this.#perform('put', () => {
      if (bytes.length > blobBytesMax) {
        throw new MeshError('too_large', `a blob has at most ${blobBytesMax} bytes, not ${bytes.length}`);
      }
      const present = this.#blobs.get(hash);
      if (present?.length === bytes.length) return;
      const grownBytes = bytes.length - (present?.length ?? 0);
      if (this.#usedBytes + grownBytes > this.#capacityBytes) {
        throw new MeshError('disk_full', 'no room left to store a blob');
      }
      this.#change(hash, this.#pooled(hash, bytes));
    });
  }

  flush(): Promise<void> {
    return this.#perform('flush', () => this.#unflushed.clear());
  }

  get(hash: BlobHash, { into }: GetOptions = {}): Promise<Uint8Array | undefined> {
    return this.#perform('get', () => {
      const bytes = this.#blobs.get(hash);
      if (bytes === undefined || into === undefined) return bytes?.slice();
      const copy = into(bytes.length);
      copy.set(bytes);
      return copy;
    });
  }

  /** Nobody inspects a simulated disk, so what is put aside is simply gone. */
  quarantine(hash: BlobHash): Promise<void> {
    return this.#perform('quarantine', () => this.#change(hash, undefined));
  }

  delete(hash: BlobHash): Promise<void> {
    return this.#perform('delete', () => this.#change(hash, undefined));
  }

  async *list(after?: BlobHash): AsyncGenerator<{ readonly hash: BlobHash; readonly sizeBytes: number }> {
    const hashes = await this.#perform('list', () => [...this.#blobs.keys()].sort());
    for (const hash of hashes) {
      const bytes = after === undefined || hash > after ? this.#blobs.get(hash) : undefined;
      if (bytes !== undefined) yield { hash, sizeBytes: bytes.length };
    }
  }

  space(): Promise<{ readonly capacityBytes: number; readonly freeBytes: number }> {
    return this.#perform('space', () => ({
      capacityBytes: this.#capacityBytes,
      freeBytes: Math.max(0, this.#capacityBytes - this.#usedBytes),
    }));
  }

  /** Makes what is there durable, as the store of files does; a put leaves nothing half-written here. */
  recover(): Promise<void> {
    return this.#perform('recover', () => this.#unflushed.clear());
  }

  /** A copy of the bytes, or the one there is of the same. */
  #pooled(hash: BlobHash, bytes: Uint8Array): Uint8Array {
    const known = this.#pool.get(hash);
    if (known !== undefined && Buffer.compare(known, bytes) === 0) return known;
    const copy = new Uint8Array(bytes);
    if (known === undefined) this.#pool.set(hash, copy);
    return copy;
  }

  #succeededBy(blobs: ReadonlyMap<BlobHash, Uint8Array>): MemoryBlobStore {
    this.#crashed = true;
    const next = this.#holding(blobs);
    for (const [operation, fault] of this.#faults) next.#faults.set(operation, fault);
    return next;
  }

  /** A store that has these blobs, on a disk of the same size. */
  #holding(blobs: ReadonlyMap<BlobHash, Uint8Array>): MemoryBlobStore {
    return new MemoryBlobStore({ capacityBytes: this.#capacityBytes, pool: this.#pool, blobs });
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

  async #perform<T>(operation: Operation, run: () => T): Promise<T> {
    if (this.#crashed) return new Promise(() => {});
    const fault = this.#faults.get(operation);
    if (fault !== undefined) {
      fault.left--;
      if (fault.left <= 0) this.#faults.delete(operation);
      throw new MeshError(fault.code, `${operation} fails, as was asked`);
    }
    return run();
  }
}

/** What a write that was never flushed may leave: a file cut short, or one whose tail holds nothing. */
function torn(bytes: Uint8Array, random: Random): Uint8Array {
  const length = Math.floor(random.fraction() * bytes.length);
  return random.fraction() < 0.5 ? bytes.slice(0, length) : bytes.slice().fill(0, length);
}
