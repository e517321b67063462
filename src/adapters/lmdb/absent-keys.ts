/** Keys that are kept: as many as are in use at about the same time, and a power of two. */
const keysKept = 2_048;

/**
 * Keys, as text, that were looked for lately and are not in the database: most of what a write looks up is of an object that is
 * new, and is looked up several times. Each has one place, which it shares with others, and the last one is kept there.
 */
export class AbsentKeys {
  readonly #kept: (string | undefined)[] = new Array(keysKept).fill(undefined);

  has(text: string): boolean {
    return this.#kept[placeOf(text)] === text;
  }

  add(text: string): void {
    this.#kept[placeOf(text)] = text;
  }

  /** For when it may have been written. */
  remove(text: string): void {
    const place = placeOf(text);
    if (this.#kept[place] === text) this.#kept[place] = undefined;
  }
}

/** By the room, the beginning of the hash that most keys have next, and the end of those that have two. */
function placeOf(text: string): number {
  const { length } = text;
  const beginning = (text.charCodeAt(0) << 6) ^ (text.charCodeAt(1) << 3) ^ text.charCodeAt(2);
  return (beginning ^ (text.charCodeAt(length - 1) << 1)) & (keysKept - 1);
}
