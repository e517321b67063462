import type { BlobHash, DocId, VersionId } from '../../../crdt/ids.ts';

/** A version that is not proposed before more copies of its content are proved. */
export interface CopyWait {
  readonly manifest: BlobHash;
  readonly version: VersionId;
}

interface Waiting extends CopyWait {
  change: number;
}

/** Objects that wait for copies, up to a bound, those that wait longest first, and by the content they wait for. */
export class CopyWaits {
  readonly #max: number;
  readonly #waiting = new Map<DocId, Waiting>();
  readonly #byContent = new Map<BlobHash, Set<DocId>>();

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#waiting.size;
  }

  get isHalfEmpty(): boolean {
    return this.#waiting.size <= this.#max / 2;
  }

  has(doc: DocId): boolean {
    return this.#waiting.has(doc);
  }

  /** False when there is no room for one more. */
  add(doc: DocId, change: number, { manifest, version }: CopyWait): boolean {
    this.delete(doc);
    if (this.#waiting.size >= this.#max) return false;
    this.#waiting.set(doc, { manifest, version, change });
    this.#byContent.set(manifest, (this.#byContent.get(manifest) ?? new Set<DocId>()).add(doc));
    return true;
  }

  /** The object was seen to change once more: it waits on for what it waited for. */
  changed(doc: DocId, change: number): void {
    const waiting = this.#waiting.get(doc);
    if (waiting !== undefined) waiting.change = change;
  }

  /** Takes an object out; the change at which it was seen, undefined when it does not wait. */
  delete(doc: DocId): number | undefined {
    const waiting = this.#waiting.get(doc);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(doc);
    const others = this.#byContent.get(waiting.manifest);
    others?.delete(doc);
    if (others?.size === 0) this.#byContent.delete(waiting.manifest);
    return waiting.change;
  }

  /** Objects that wait for a content, and the version of each that has it. */
  of(manifest: BlobHash): [DocId, VersionId][] {
    return Array.from(this.#byContent.get(manifest) ?? [], (doc) => [doc, (this.#waiting.get(doc) as Waiting).version]);
  }

  /** Those that wait longest, so many at most. */
  first(limit: number): [DocId, VersionId][] {
    return Array.from(this.#waiting.entries().take(limit), ([doc, { version }]) => [doc, version]);
  }

  /** At which changes the objects were seen. */
  *changes(): Generator<number> {
    for (const { change } of this.#waiting.values()) yield change;
  }
}
