import type { VersionId } from '../../crdt/ids.ts';
import type { Version } from '../../crdt/version.ts';

/** Decoded versions, least recently used out first. Records are immutable, so nothing here goes stale but what is removed. */
export class VersionCache {
  readonly #entries = new Map<VersionId, Version>();
  readonly #entriesMax: number;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  get(id: VersionId): Version | undefined {
    const version = this.#entries.get(id);
    if (version === undefined) return undefined;
    this.#entries.delete(id);
    this.#entries.set(id, version);
    return version;
  }

  /** Of a version that is no longer stored. */
  delete(id: VersionId): void {
    this.#entries.delete(id);
  }

  add(version: Version): void {
    this.#entries.set(version.id, version);
    if (this.#entries.size <= this.#entriesMax) return;
    const oldest = this.#entries.keys().next();
    if (!oldest.done) this.#entries.delete(oldest.value);
  }
}
