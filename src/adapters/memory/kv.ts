import type { Clock } from '../../ports/clock.ts';
import { checkKey, keyText } from '../../ports/key-text.ts';
import type { Kv, KvKey, KvRange, KvReader, KvTransaction } from '../../ports/kv.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Random } from '../../ports/random.ts';
import { type Contents, rangeOf, readerOf, recording, runChange, withBitFlipped } from './kv-contents.ts';
import { OrderedMap } from './ordered-map.ts';

type MemoryKvFault = 'disk_full' | 'io_error';

/** What a store held at one moment; give it to `restore`. */
export interface MemoryKvSnapshot {
  readonly contents: Contents;
}

export interface MemoryKvOptions {
  /**
   * How long a transaction waits for its flush, in milliseconds of the clock. By default none does: it is on
   * disk as soon as it is committed, and no time has to pass. A function is asked for each transaction.
   */
  readonly flushDelayMs?: number | (() => number);
  /** Names the disk, for `identity`. */
  readonly name?: string;
  /** Is shown each committed transaction: the store as it is now, and the keys that were put or deleted. */
  readonly observe?: (store: KvReader, keys: readonly KvKey[]) => void;
}

/** A committed transaction that a power loss may still take back. */
interface Unflushed {
  contents: Contents;
  readonly waiting: (() => void)[];
}

interface Fault {
  readonly code: MemoryKvFault;
  times: number;
}

/** How many copies were made of a directory, of its copies, and so on: no two of them have one number. */
interface Family {
  copies: number;
}

/** What the next handle on the same disk starts from. */
interface Disk {
  readonly contents: Contents;
  /** Which copy of the directory it is; 0 for the first one. */
  readonly copy: number;
  readonly family: Family;
  /** What is the matter with the disk. */
  readonly fault?: Fault | undefined;
}

/**
 * A store whose disk forgets: a transaction is seen as soon as it is committed but survives a crash only after
 * its flush, which the clock brings. Faults are ordered from outside.
 */
export class MemoryKv implements Kv {
  readonly #clock: Clock;
  readonly #options: MemoryKvOptions;
  readonly #copy: number;
  readonly #family: Family;
  #contents: Contents;
  #durable: Contents;
  #unflushed: Unflushed[] = [];
  #fault: Fault | undefined;
  #state: 'open' | 'closed' | 'dead' = 'open';

  constructor(clock: Clock, options: MemoryKvOptions = {}, disk: Disk = emptyDisk()) {
    this.#clock = clock;
    this.#options = options;
    this.#contents = disk.contents;
    this.#durable = disk.contents;
    this.#copy = disk.copy;
    this.#family = disk.family;
    this.#fault = disk.fault;
  }

  get(key: KvKey): Uint8Array | undefined {
    this.#checkOpen();
    checkKey(key);
    return this.#contents.get(keyText(key));
  }

  range(range: KvRange): Iterable<readonly [KvKey, Uint8Array]> {
    this.#checkOpen();
    return rangeOf(this.#contents, range);
  }

  async transact<T>(change: (transaction: KvTransaction) => T): Promise<T> {
    if (this.#state === 'closed') throw closedError();
    // Never within the caller's turn, so that nobody comes to count on it: LMDB runs changes later, too.
    await null;
    if (this.#state === 'dead') return never();
    const { observe } = this.#options;
    const keys: KvKey[] = [];
    const { result, contents } = runChange(this.#contents, observe === undefined ? change : recording(change, keys));
    if (contents === this.#contents) {
      // What it read may still be lost.
      await this.flush();
      return result;
    }
    this.#takeFault();
    this.#contents = contents;
    observe?.(this, keys);
    await this.#flushLater(contents);
    return result;
  }

  async flush(): Promise<void> {
    await null;
    if (this.#state === 'dead') return never();
    const last = this.#unflushed.at(-1);
    if (last !== undefined) await new Promise<void>((resolve) => last.waiting.push(resolve));
  }

  identity(): string {
    return `memory:${this.#options.name ?? 'kv'}:${this.#copy}`;
  }

  async close(): Promise<void> {
    if (this.#state === 'open') this.#state = 'closed';
    await this.flush();
  }

  /**
   * Power loss: returns the store as the next start finds it. What was flushed is there, and of the rest the
   * first few transactions, as chance has it. What is the matter with the disk stays so. This handle is dead: it reads
   * nothing and settles nothing more.
   */
  crash(random: Random): MemoryKv {
    const survivors = Math.floor(random.fraction() * (this.#unflushed.length + 1));
    return this.#succeededBy(this.#sameDisk(this.#unflushed[survivors - 1]?.contents ?? this.#durable));
  }

  /** The process ended and started again on a machine that stayed up: nothing committed is lost, no fault either. This handle is dead. */
  reopen(): MemoryKv {
    return this.#succeededBy(this.#sameDisk(this.#contents));
  }

  /** A consistent copy, as a backup takes it. Copies are equal when their entries are. */
  snapshot(): MemoryKvSnapshot {
    return { contents: this.#contents };
  }

  /**
   * The store after that backup was put back. A copied directory shows another identity; a disk image that was
   * rolled back does not (`unnoticed`). This handle is dead.
   */
  restore(snapshot: MemoryKvSnapshot, options: { readonly unnoticed?: boolean } = {}): MemoryKv {
    const copy = options.unnoticed ? this.#copy : this.#nextCopy();
    return this.#succeededBy({ contents: snapshot.contents, copy, family: this.#family });
  }

  /** A copy of the directory beside this one: the same entries under another identity. This handle lives on. */
  clone(): MemoryKv {
    const disk = { contents: this.#contents, copy: this.#nextCopy(), family: this.#family };
    return new MemoryKv(this.#clock, this.#options, disk);
  }

  /**
   * True when no row of a range is another than when the snapshot was taken, of this store or of one it comes from. It
   * costs next to nothing; false says nothing, since a row beside these may have changed.
   */
  isSince({ contents }: MemoryKvSnapshot, { start, end }: Pick<KvRange, 'start' | 'end'>): boolean {
    return this.#contents.sharesRange(contents, keyText(start), keyText(end));
  }

  /** What a power loss now would leave at the least. */
  durable(): KvReader {
    return readerOf(this.#durable);
  }

  /** Makes the next so many transactions that write fail, nothing of them written. */
  failTransactions(code: MemoryKvFault, times = 1): void {
    this.#fault = { code, times };
  }

  /** There is room again, or the disk works again. */
  clearFault(): void {
    this.#fault = undefined;
  }

  /** Flips one drawn bit of a stored value, as a rotting disk does. False when there is no bit to flip. */
  rot(key: KvKey, random: Random): boolean {
    const text = keyText(key);
    if (!this.#contents.get(text)?.length) return false;
    const where = random.fraction();
    this.#changeEverywhere(text, (value) => (value.length > 0 ? withBitFlipped(value, where) : value));
    return true;
  }

  /** Takes rot back: a value that is there is this one again. */
  mend(key: KvKey, value: Uint8Array): void {
    const sound = new Uint8Array(value);
    this.#changeEverywhere(keyText(key), () => sound);
  }

  /** Whatever a crash leaves of the transactions, the value it finds is changed. */
  #changeEverywhere(text: string, change: (value: Uint8Array) => Uint8Array): void {
    const changed = (contents: Contents): Contents => {
      const value = contents.get(text);
      return value === undefined ? contents : contents.with(text, change(value));
    };
    this.#contents = changed(this.#contents);
    this.#durable = changed(this.#durable);
    for (const transaction of this.#unflushed) transaction.contents = changed(transaction.contents);
  }

  #flushLater(contents: Contents): Promise<void> {
    const { flushDelayMs: delay = 0 } = this.#options;
    const flushDelayMs = typeof delay === 'number' ? delay : delay();
    if (flushDelayMs === 0 && this.#unflushed.length === 0) {
      this.#durable = contents;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#unflushed.push({ contents, waiting: [resolve] });
      this.#clock.setTimer(flushDelayMs, () => this.#flushFirst());
    });
  }

  #flushFirst(): void {
    const first = this.#unflushed.shift();
    if (first === undefined) return;
    this.#durable = first.contents;
    for (const resolve of first.waiting) resolve();
  }

  #sameDisk(contents: Contents): Disk {
    return { contents, copy: this.#copy, family: this.#family, fault: this.#fault };
  }

  #nextCopy(): number {
    this.#family.copies += 1;
    return this.#family.copies;
  }

  #succeededBy(disk: Disk): MemoryKv {
    this.#state = 'dead';
    this.#unflushed = [];
    return new MemoryKv(this.#clock, this.#options, disk);
  }

  #takeFault(): void {
    if (this.#fault === undefined) return;
    const { code } = this.#fault;
    if (--this.#fault.times <= 0) this.#fault = undefined;
    throw new MeshError(code, code === 'disk_full' ? 'no room to write' : 'the disk failed');
  }

  #checkOpen(): void {
    if (this.#state === 'closed') throw closedError();
    if (this.#state === 'dead') throw new MeshError('io_error', 'this store has lost its disk');
  }
}

function emptyDisk(): Disk {
  return { contents: OrderedMap.empty(), copy: 0, family: { copies: 0 } };
}

function closedError(): MeshError {
  return new MeshError('shutting_down', 'the store is closed');
}

/** A process that has ended answers nobody. */
function never<T>(): Promise<T> {
  return new Promise(() => {});
}
