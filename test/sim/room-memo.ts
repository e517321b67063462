import type { MemoryKv, MemoryKvSnapshot } from '../../src/adapters/memory/kv.ts';
import type { KvRange } from '../../src/ports/kv.ts';

/** All rows whose keys begin with one of these bytes. */
export type Rooms = readonly Pick<KvRange, 'start' | 'end'>[];

export function roomsOf(...leading: readonly number[]): Rooms {
  return leading.map((byte) => ({ start: Uint8Array.of(byte), end: Uint8Array.of(byte + 1) }));
}

/**
 * What follows from some rooms of a store and from nothing else, worked out anew when one of their rows may have changed:
 * a mesh that comes to rest is looked at every second, and hardly any of its rows is another than a second ago.
 */
export class RoomMemo<Owner extends object, Value> {
  readonly #rooms: Rooms;
  readonly #known = new WeakMap<Owner, { readonly snapshot: MemoryKvSnapshot; readonly value: Value }>();

  constructor(rooms: Rooms) {
    this.#rooms = rooms;
  }

  /** What was noted for an owner, while its store has the same rows in these rooms as then; undefined otherwise. */
  get(owner: Owner, kv: MemoryKv): Value | undefined {
    const known = this.#known.get(owner);
    if (known === undefined || !this.#rooms.every((room) => kv.isSince(known.snapshot, room))) return undefined;
    return known.value;
  }

  /** Notes what follows from the rows as they are now. */
  note(owner: Owner, kv: MemoryKv, value: Value): Value {
    this.#known.set(owner, { snapshot: kv.snapshot(), value });
    return value;
  }
}
