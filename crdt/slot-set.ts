/** Slots that a cluster can have: fixed when it is founded, a power of two up to this. */
export const slotsMax = 4_096;

/** True for a number of slots that a cluster can have. */
export function isSlotCount(value: unknown): value is number {
  return (
    typeof value === 'number' &&
    Number.isInteger(value) &&
    value >= 1 &&
    value <= slotsMax &&
    (value & (value - 1)) === 0
  );
}

/** A set of slots, of which there are as many as the cluster was founded with. Never changed. */
export class SlotSet {
  /** How many slots there are altogether. */
  readonly count: number;
  /** How many of them are in the set. */
  readonly size: number;
  /** One bit a slot, the first the lowest of the first byte. */
  readonly #bits: Uint8Array;

  private constructor(count: number, bits: Uint8Array) {
    this.count = count;
    this.#bits = bits;
    let size = 0;
    for (let slot = 0; slot < count; slot += 1) if (isSet(bits, slot)) size += 1;
    this.size = size;
  }

  static none(count: number): SlotSet {
    return new SlotSet(count, new Uint8Array(bytesFor(count)));
  }

  static all(count: number): SlotSet {
    return SlotSet.of(
      count,
      Array.from({ length: count }, (_, slot) => slot),
    );
  }

  /** The set of these slots. Throws a RangeError for one that there is not. */
  static of(count: number, slots: Iterable<number>): SlotSet {
    const bits = new Uint8Array(bytesFor(count));
    for (const slot of slots) {
      if (!Number.isInteger(slot) || slot < 0 || slot >= count) throw new RangeError(`there is no slot ${slot}`);
      bits[slot >> 3] = (bits[slot >> 3] as number) | (1 << (slot & 7));
    }
    return new SlotSet(count, bits);
  }

  /** Reads what `encode` wrote for a cluster of so many slots; undefined for anything else. Never throws. */
  static decode(bytes: Uint8Array, count: number): SlotSet | undefined {
    if (bytes.length !== bytesFor(count)) return undefined;
    const isBeyond = (count & 7) !== 0 && (bytes.at(-1) as number) >> (count & 7) !== 0;
    return isBeyond ? undefined : new SlotSet(count, Uint8Array.from(bytes));
  }

  /** One bit a slot in ascending order, the lowest bit of a byte first; the bits that are left over are 0. */
  encode(): Uint8Array {
    return Uint8Array.from(this.#bits);
  }

  get isAll(): boolean {
    return this.size === this.count;
  }

  has(slot: number): boolean {
    return slot < this.count && isSet(this.#bits, slot);
  }

  /** In ascending order. */
  list(): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < this.count; slot += 1) if (isSet(this.#bits, slot)) slots.push(slot);
    return slots;
  }

  equals(other: SlotSet): boolean {
    return this.count === other.count && Buffer.compare(this.#bits, other.#bits) === 0;
  }

  /** The slots that are in both. */
  and(other: SlotSet): SlotSet {
    return this.#with(other, (ours, theirs) => ours & theirs);
  }

  /** The slots that are in either. */
  or(other: SlotSet): SlotSet {
    return this.#with(other, (ours, theirs) => ours | theirs);
  }

  /** The slots that are in this one only. */
  minus(other: SlotSet): SlotSet {
    return this.#with(other, (ours, theirs) => ours & ~theirs);
  }

  #with(other: SlotSet, combine: (ours: number, theirs: number) => number): SlotSet {
    return new SlotSet(
      this.count,
      this.#bits.map((byte, at) => combine(byte, other.#bits[at] ?? 0)),
    );
  }
}

function bytesFor(count: number): number {
  return Math.ceil(count / 8);
}

function isSet(bits: Uint8Array, slot: number): boolean {
  return (((bits[slot >> 3] as number) >> (slot & 7)) & 1) === 1;
}
