import { rawHash } from '../../crdt/digest.ts';
import type { BlobHash } from '../../crdt/ids.ts';

/** Bytes of a hash that are kept: two contents that share them take 2^64 attempts to make. */
const keptBytes = 16;
const wordsPerHash = keptBytes / 4;
/** Parts that grow one by one, so that none of it takes long: which one a hash is in, its last byte says. */
const partCount = 256;
const slotsMin = 16;

/** One part: slots of hashes, of which at most three quarters are taken. All zeros is an empty slot. */
interface Part {
  words: Uint32Array;
  count: number;
}

/** A set of hashes in 22 to 43 bytes each, where a `Set` of their texts takes a hundred. */
export class CompactHashes {
  readonly #parts: (Part | undefined)[] = Array.from({ length: partCount }, () => undefined);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(hash: BlobHash): boolean {
    const { kept, at } = partsOf(hash);
    const part = this.#parts[at];
    return part !== undefined && isSame(part.words, slotOf(part.words, kept), kept);
  }

  add(hash: BlobHash): void {
    const { kept, at } = partsOf(hash);
    const part = this.#parts[at] ?? { words: new Uint32Array(slotsMin * wordsPerHash), count: 0 };
    this.#parts[at] = part;
    if (isSame(part.words, slotOf(part.words, kept), kept)) return;
    if ((part.count + 1) * wordsPerHash * 4 > part.words.length * 3) part.words = grown(part.words);
    part.words.set(kept, slotOf(part.words, kept));
    part.count += 1;
    this.#size += 1;
  }
}

function partsOf(hash: BlobHash): { readonly kept: Uint32Array; readonly at: number } {
  const raw = rawHash(hash);
  const kept = new Uint32Array(wordsPerHash);
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  for (let word = 0; word < wordsPerHash; word += 1) kept[word] = view.getUint32(word * 4);
  // Nothing looks like an empty slot.
  if (kept.every((word) => word === 0)) kept[0] = 1;
  return { kept, at: raw.at(-1) ?? 0 };
}

/** Where a hash is, or would be: an index of its first word. There is always an empty slot. */
function slotOf(words: Uint32Array, kept: Uint32Array): number {
  const slots = words.length / wordsPerHash;
  // Hashes lie evenly, so any bits of them do.
  for (let slot = (kept[0] ?? 0) % slots; ; slot = (slot + 1) % slots) {
    const at = slot * wordsPerHash;
    if (isSame(words, at, kept) || isEmpty(words, at)) return at;
  }
}

function isSame(words: Uint32Array, at: number, kept: Uint32Array): boolean {
  for (let word = 0; word < wordsPerHash; word += 1) if (words[at + word] !== kept[word]) return false;
  return true;
}

function isEmpty(words: Uint32Array, at: number): boolean {
  for (let word = 0; word < wordsPerHash; word += 1) if (words[at + word] !== 0) return false;
  return true;
}

function grown(words: Uint32Array): Uint32Array {
  const larger = new Uint32Array(words.length * 2);
  for (let at = 0; at < words.length; at += wordsPerHash) {
    if (isEmpty(words, at)) continue;
    const kept = words.subarray(at, at + wordsPerHash);
    larger.set(kept, slotOf(larger, kept));
  }
  return larger;
}
