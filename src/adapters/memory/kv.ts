import assert from 'node:assert/strict';
import type { Clock } from '../../ports/clock.ts';
import { type Kv, type KvKey, type KvRange, type KvTransaction, kvKeyBytesMax } from '../../ports/kv.ts';
import { MeshError } from '../../ports/mesh-error.ts';
import type { Random } from '../../ports/random.ts';
import { OrderedMap } from './ordered-map.ts';

type Contents = OrderedMap<Uint8Array>;

/** What a store held at one moment; give it to `restore`. */
export interface MemoryKvSnapshot {
  readonly contents: Contents;
}

export interface MemoryKvOptions {
  /** How long a transaction waits for its flush, in milliseconds of the clock; 0 by default. */
  readonly flushDelayMs?: number;
  /** Names the store; two stores of one name are one disk to whoever asks for the identity. */
  readonly name?: string;
}

interface Unflushed {
  readonly contents: Contents;
  readonly done: () => void;
}

/**
 * A store with a disk that forgets: a transaction is seen at once but survives a crash only after its flush,
 * which the clock brings. Faults are ordered from outside.
 */
export class MemoryKv implements Kv {
  readonly #clock: Clock;
  readonly #options: MemoryKvOptions;
  readonly #incarnation: number;
  #contents: Contents;
  #durable: Contents;
  #unflushed: Unflushed[] = [];
  #fault: { code: 'disk_full' | 'io_error'; times: number } | undefined;
  #state: 'open' | 'closed' | 'crashed' = 'open';

  constructor(clock: Clock, options: MemoryKvOptions = {}, disk?: { contents: Contents; incarnation: number }) {
    this.#clock = clock;
    this.#options = options;
    this.#contents = disk?.contents ?? OrderedMap.empty();
    this.#durable = this.#contents;
    this.#incarnation = disk?.incarnation ?? 0;
  }

  get(key: KvKey): Uint8Array | undefined {
    this.#assertOpen();
    checkKey(key);
    return this.#contents.get(keyText(key))?.slice();
  }

  range(range: KvRange): Iterable<readonly [KvKey, Uint8Array]> {
    this.#assertOpen();
    return rangeOf(this.#contents, range);
  }

  transact<T>(change: (transaction: KvTransaction) => T): Promise<T> {
    if (this.#state === 'crashed') return new Promise(() => {});
    if (this.#state === 'closed') return Promise.reject(new MeshError('shutting_down', 'the store is closed'));
    try {
      const { result, contents } = runChange(this.#contents, change);
      const fault = this.#takeFault();
      if (fault !== undefined) return Promise.reject(fault);
      this.#contents = contents;
      return new Promise((resolve) => {
        this.#unflushed.push({ contents, done: () => resolve(result) });
        this.#clock.setTimer(this.#options.flushDelayMs ?? 0, () => this.#flushOne());
      });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  flush(): Promise<void> {
    if (this.#state === 'crashed') return new Promise(() => {});
    const last = this.#unflushed.at(-1);
    if (last === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      this.#unflushed[this.#unflushed.length - 1] = {
        contents: last.contents,
        done: () => {
          last.done();
          resolve();
        },
      };
    });
  }

  identity(): string {
    return `memory:${this.#options.name ?? 'kv'}:${this.#incarnation}`;
  }

  async close(): Promise<void> {
    if (this.#state !== 'open') return;
    await this.flush();
    this.#state = 'closed';
  }

  /**
   * Power loss: returns the store as the next start finds it. The flushed transactions are there, and of the
   * others the first few, as chance has it; this handle answers no more.
   */
  crash(random: Random): MemoryKv {
    const survivors = Math.floor(random.fraction() * (this.#unflushed.length + 1));
    const contents = this.#unflushed[survivors - 1]?.contents ?? this.#durable;
    this.#unflushed = [];
    this.#state = 'crashed';
    return new MemoryKv(this.#clock, this.#options, { contents, incarnation: this.#incarnation });
  }

  /** The process ended and started again with nothing lost. */
  reopen(): MemoryKv {
    this.#state = 'crashed';
    return new MemoryKv(this.#clock, this.#options, { contents: this.#contents, incarnation: this.#incarnation });
  }

  /** A consistent copy, as a backup takes it. */
  snapshot(): MemoryKvSnapshot {
    return { contents: this.#contents };
  }

  /**
   * The store as it is after that backup was put back. A copied directory shows another identity; a disk image
   * that was rolled back does not (`unnoticed`). This handle answers no more.
   */
  restore(snapshot: MemoryKvSnapshot, options: { readonly unnoticed?: boolean } = {}): MemoryKv {
    this.#state = 'crashed';
    this.#unflushed = [];
    const incarnation = this.#incarnation + (options.unnoticed ? 0 : 1);
    return new MemoryKv(this.#clock, this.#options, { contents: snapshot.contents, incarnation });
  }

  /** Makes the next transactions that would have succeeded fail, nothing of them written. */
  failTransactions(code: 'disk_full' | 'io_error', times = 1): void {
    this.#fault = { code, times };
  }

  /** There is room again. */
  clearFault(): void {
    this.#fault = undefined;
  }

  /** Flips one bit of a stored value, on the disk as in every later read. */
  rot(key: KvKey, random: Random): void {
    const text = keyText(key);
    const where = random.fraction();
    const flip = (contents: Contents): Contents => {
      const value = contents.get(text)?.slice();
      if (value === undefined || value.length === 0) return contents;
      const bit = Math.floor(where * value.length * 8);
      value[bit >>> 3] = (value[bit >>> 3] as number) ^ (1 << (bit & 7));
      return contents.with(text, value);
    };
    this.#contents = flip(this.#contents);
    this.#durable = flip(this.#durable);
  }

  #flushOne(): void {
    const first = this.#unflushed.shift();
    if (first === undefined) return;
    this.#durable = first.contents;
    first.done();
  }

  #takeFault(): MeshError | undefined {
    if (this.#fault === undefined) return undefined;
    const { code } = this.#fault;
    if (--this.#fault.times <= 0) this.#fault = undefined;
    return new MeshError(code, code === 'disk_full' ? 'no room to write' : 'the disk failed');
  }

  #assertOpen(): void {
    if (this.#state !== 'open') throw new MeshError('shutting_down', `the store is ${this.#state}`);
  }
}

function runChange<T>(before: Contents, change: (transaction: KvTransaction) => T): { result: T; contents: Contents } {
  let contents = before;
  let open = true;
  const check = (key?: KvKey): void => {
    assert(open, 'a transaction was used after it ended');
    if (key !== undefined) checkKey(key);
  };
  try {
    const result = change({
      get: (key) => {
        check(key);
        return contents.get(keyText(key))?.slice();
      },
      range: (range) => {
        check();
        return rangeOf(contents, range);
      },
      put: (key, value) => {
        check(key);
        contents = contents.with(keyText(key), value.slice());
      },
      delete: (key) => {
        check(key);
        contents = contents.without(keyText(key));
      },
    });
    assert(!(result instanceof Promise), 'a transaction is synchronous: it may not return a promise');
    return { result, contents };
  } finally {
    open = false;
  }
}

function* rangeOf(contents: Contents, range: KvRange): Generator<readonly [KvKey, Uint8Array]> {
  let left = range.limit ?? Number.POSITIVE_INFINITY;
  if (left <= 0) return;
  const start = keyText(range.start);
  const end = keyText(range.end);
  for (const [text, value] of range.reverse ? contents.rangeReverse(start, end) : contents.range(start, end)) {
    yield [keyBytes(text), value.slice()];
    if (--left <= 0) return;
  }
}

function checkKey(key: KvKey): void {
  assert(
    key.length >= 1 && key.length <= kvKeyBytesMax,
    `a key of ${key.length} bytes: 1 to ${kvKeyBytesMax} are allowed`,
  );
}

/** One character a byte: strings of these compare as their bytes do. */
function keyText(key: KvKey): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}

function keyBytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}
