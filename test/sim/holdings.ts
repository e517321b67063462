import { toBase32 } from '../../crdt/digest.ts';
import type { DocId, VersionId } from '../../crdt/ids.ts';
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

/** Every entry of a store that begins with a byte. */
export function rowsOf(store: KvReader, leading: number): Iterable<readonly [Uint8Array, Uint8Array]> {
  return store.range({ start: Uint8Array.of(leading), end: Uint8Array.of(leading + 1) });
}

/** The version a version's row is about. */
export function versionIdOf(key: Uint8Array): VersionId {
  return toBase32(key.subarray(1)) as VersionId;
}
