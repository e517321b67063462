/** Blobs read ahead of need at once in the whole node, for readers here and peers alike: at most 4 MiB each. */
const readsAheadMax = 16;

/**
 * A share of memory for reading ahead. Every stream may hold one blob without asking, and as many more as
 * there is room for, so slow readers cost the others speed but never memory.
 */
export class ReadSlots {
  #taken = 0;

  tryTake(): boolean {
    if (this.#taken >= readsAheadMax) return false;
    this.#taken += 1;
    return true;
  }

  give(): void {
    this.#taken -= 1;
  }
}
