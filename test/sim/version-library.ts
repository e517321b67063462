import { blake3, toBase32 } from '../../crdt/digest.ts';
import type { ClusterId, DocId, NodeId, VersionId } from '../../crdt/ids.ts';
import { documentId } from '../../crdt/object-document.ts';
import { decodeVersion, type Version, verifyVersion } from '../../crdt/version.ts';

/** A version some node has stored, and who really is an ancestor of it: found by following parents, nothing else. */
export interface KnownVersion {
  readonly version: Version;
  readonly doc: DocId;
  readonly ancestors: ReadonlySet<VersionId>;
}

/** Tells of something wrong with a version when it is first seen. */
export type OnFault = (message: string) => void;

/**
 * Every version any node of a run ever stored, by id. Records are immutable and name their parents by hash, so
 * each is looked at once, whichever node stored it first.
 */
export class VersionLibrary {
  readonly #cluster: ClusterId;
  readonly #keyOf: (node: NodeId) => Uint8Array | undefined;
  readonly #known = new Map<VersionId, KnownVersion>();

  constructor(cluster: ClusterId, keyOf: (node: NodeId) => Uint8Array | undefined) {
    this.#cluster = cluster;
    this.#keyOf = keyOf;
  }

  get(id: VersionId): KnownVersion | undefined {
    return this.#known.get(id);
  }

  get size(): number {
    return this.#known.size;
  }

  all(): IterableIterator<KnownVersion> {
    return this.#known.values();
  }

  /** The version under an id as a node stored its text. `onFirst` judges a version that was not seen before. */
  learn(
    id: VersionId,
    text: Uint8Array,
    onFirst: (known: KnownVersion) => void,
    onFault: OnFault,
  ): KnownVersion | undefined {
    if (toBase32(blake3(text)) !== id) {
      onFault(`the text stored for version ${id} has another hash`);
      return undefined;
    }
    const seen = this.#known.get(id);
    if (seen !== undefined) return seen;
    const decoded = decodeVersion(text);
    if (!decoded.ok) {
      onFault(`the text stored for version ${id} is no record: ${decoded.error.message}`);
      return undefined;
    }
    const version = decoded.value;
    const key = this.#keyOf(version.record.node);
    if (key === undefined || !verifyVersion(version, this.#cluster, key)) {
      onFault(`version ${id} was stored, but its signature does not hold`);
      return undefined;
    }
    const { ns, key: name } = version.record;
    const known = { version, doc: documentId(this.#cluster, ns, name), ancestors: this.#ancestorsOf(version) };
    this.#known.set(id, known);
    onFirst(known);
    return known;
  }

  #ancestorsOf(version: Version): ReadonlySet<VersionId> {
    const ancestors = new Set<VersionId>();
    for (const parent of version.record.parents) {
      ancestors.add(parent);
      for (const id of this.#known.get(parent)?.ancestors ?? []) ancestors.add(id);
    }
    return ancestors;
  }
}
