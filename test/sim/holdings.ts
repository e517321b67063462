import { toBase32 } from '../../crdt/digest.ts';
import type { BlobHash, DocId, VersionId } from '../../crdt/ids.ts';
import { hashedRange, hashOfKey, isCompleteKey } from '../../src/node/content/content-keys.ts';
import type { KvReader } from '../../src/ports/kv.ts';
import type { KnownVersion } from './version-library.ts';

interface ObjectHoldings {
  readonly ids: Set<VersionId>;
  readonly superseded: Set<VersionId>;
}

/** What one node's store holds, kept beside it by whoever watches its transactions. */
export class Holdings {
  readonly #objects = new Map<DocId, ObjectHoldings>();
  readonly #ids = new Set<VersionId>();

  add({ doc, version }: KnownVersion): void {
    let object = this.#objects.get(doc);
    if (object === undefined) {
      object = { ids: new Set(), superseded: new Set() };
      this.#objects.set(doc, object);
    }
    this.#ids.add(version.id);
    object.ids.add(version.id);
    for (const parent of version.record.parents) object.superseded.add(parent);
  }

  has(id: VersionId): boolean {
    return this.#ids.has(id);
  }

  get size(): number {
    return this.#ids.size;
  }

  ids(): ReadonlySet<VersionId> {
    return this.#ids;
  }

  docs(): IterableIterator<DocId> {
    return this.#objects.keys();
  }

  versionsOf(doc: DocId): ReadonlySet<VersionId> {
    return this.#objects.get(doc)?.ids ?? new Set();
  }

  /** The versions that no other version held names as a parent, sorted: the definition, not an index. */
  headsOf(doc: DocId): VersionId[] {
    const object = this.#objects.get(doc);
    if (object === undefined) return [];
    return [...object.ids].filter((id) => !object.superseded.has(id)).sort();
  }
}

/** The contents that one node's store calls whole, and when and how each of those that it calls so no more ceased to be. */
export class HeldContents {
  readonly #whole = new Set<BlobHash>();
  readonly #ceased = new Map<BlobHash, { readonly atMs: number; readonly byFault: boolean }>();

  has(manifest: BlobHash): boolean {
    return this.#whole.has(manifest);
  }

  all(): ReadonlySet<BlobHash> {
    return this.#whole;
  }

  /** True when it is whole here, or was at some time since. */
  hadSince(manifest: BlobHash, sinceMs: number): boolean {
    const ceased = this.#ceased.get(manifest);
    return this.#whole.has(manifest) || (ceased !== undefined && ceased.atMs >= sinceMs);
  }

  /** True when it ceased to be whole here at some time. */
  hadBefore(manifest: BlobHash): boolean {
    return this.#ceased.has(manifest);
  }

  /** True when it ceased to be whole here since, and by a fault of the disk. */
  failedSince(manifest: BlobHash, sinceMs: number): boolean {
    const ceased = this.#ceased.get(manifest);
    return ceased?.byFault === true && ceased.atMs >= sinceMs;
  }

  /** False when it was whole here before. */
  add(manifest: BlobHash): boolean {
    if (this.#whole.has(manifest)) return false;
    this.#whole.add(manifest);
    return true;
  }

  /** The store calls it whole no more, since it was dropped, or found rotten (`byFault`). False when it did not before. */
  delete(manifest: BlobHash, atMs: number, byFault: boolean): boolean {
    if (!this.#whole.delete(manifest)) return false;
    this.#ceased.set(manifest, { atMs, byFault });
    return true;
  }

  /** Another disk (`byFault`), or what a stop or a power cut left of this one. */
  replace(store: KvReader, atMs: number, byFault: boolean): void {
    const before = [...this.#whole];
    this.#whole.clear();
    for (const [key] of store.range(hashedRange('blob'))) if (isCompleteKey(key)) this.#whole.add(hashOfKey(key));
    for (const manifest of before) if (!this.#whole.has(manifest)) this.#ceased.set(manifest, { atMs, byFault });
  }
}

/** Every entry of a store that begins with a byte. */
export function rowsOf(store: KvReader, leading: number): Iterable<readonly [Uint8Array, Uint8Array]> {
  return store.range({ start: Uint8Array.of(leading), end: Uint8Array.of(leading + 1) });
}

/** The version a version's row is about. */
export function versionIdOf(key: Uint8Array): VersionId {
  return toBase32(key.subarray(1)) as VersionId;
}
