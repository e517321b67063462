/**
 * A map that only ever gains keys, seen at one moment: `with` gives the next moment and leaves this one as it was.
 * The control log's operation ids are one, and they can be as many as a store can hold, so it is an interface.
 */
export interface GrowingIndex<V> {
  get(key: string): V | undefined;
  /** The index with more keys, of which it has none yet. */
  with(additions: Iterable<readonly [string, V]>): GrowingIndex<V>;
}

/**
 * An index in memory. Moments of one history share a single map, in which each key's place says since when it is
 * there, so that the next moment costs what it adds; only a second future of the same moment is a copy.
 */
export class MemoryIndex<V> implements GrowingIndex<V> {
  readonly #shared: Map<string, { readonly place: number; readonly value: V }>;
  /** Keys that are there at this moment. */
  readonly size: number;

  private constructor(shared: Map<string, { readonly place: number; readonly value: V }>, size: number) {
    this.#shared = shared;
    this.size = size;
  }

  static empty<V>(): MemoryIndex<V> {
    return new MemoryIndex<V>(new Map(), 0);
  }

  get(key: string): V | undefined {
    const found = this.#shared.get(key);
    return found === undefined || found.place >= this.size ? undefined : found.value;
  }

  with(additions: Iterable<readonly [string, V]>): MemoryIndex<V> {
    const added = [...additions];
    if (added.length === 0) return this;
    const shared = this.#shared.size === this.size ? this.#shared : new Map([...this.#shared].slice(0, this.size));
    for (const [key, value] of added) shared.set(key, { place: shared.size, value });
    return new MemoryIndex(shared, this.size + added.length);
  }

  /** Keys and values in the order in which they came. */
  *[Symbol.iterator](): Generator<readonly [string, V]> {
    for (const [key, { place, value }] of this.#shared) {
      if (place >= this.size) return;
      yield [key, value];
    }
  }
}
