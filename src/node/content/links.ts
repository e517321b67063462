import type { BlobHash } from '../../../crdt/ids.ts';
import type { Manifest } from '../../../crdt/manifest.ts';
import type { KvReader, KvTransaction } from '../../ports/kv.ts';
import {
  childOfLinkKey,
  completeKey,
  condemnedKey,
  hashedRange,
  hashOfKey,
  linkKey,
  linkRange,
  linksAfter,
  parentOfLinkKey,
} from './content-keys.ts';
import { isSoleLeaf, soleManifestsOf } from './small-content.ts';

/** What a manifest lists: chunks, or further manifests. */
export type LinkRole = 'chunk' | 'part';

/** A manifest and the blobs it lists. */
export interface Linkage {
  readonly parent: BlobHash;
  readonly role: LinkRole;
  readonly children: readonly BlobHash[];
}

const roleBytes: Readonly<Record<LinkRole, Uint8Array>> = { chunk: Uint8Array.of(1), part: Uint8Array.of(2) };
const condemned = Uint8Array.of(1);
/** Links written in one transaction: a few milliseconds of the event loop. */
export const linkedPerTransactionMax = 512;
/** Links looked at in one stretch by a search through all of them. */
const searchedLinksMax = 2_000;

/** What a manifest lists; undefined when it is so plain that it follows from its only chunk, and needs no rows. */
export function linkageOf(parent: BlobHash, manifest: Manifest): Linkage | undefined {
  if (manifest.kind === 'tree') return { parent, role: 'part', children: manifest.parts.map(({ hash }) => hash) };
  if (manifest.chunks.length === 0 || isSoleLeaf(manifest.chunks, manifest.chunking)) return undefined;
  return { parent, role: 'chunk', children: [...new Set(manifest.chunks.map(({ hash }) => hash))] };
}

/** A long list in parts that fit a transaction each. */
export function* portionsOf({ parent, role, children }: Linkage): Generator<Linkage> {
  for (let start = 0; start < children.length; start += linkedPerTransactionMax) {
    yield { parent, role, children: children.slice(start, start + linkedPerTransactionMax) };
  }
}

/**
 * Which blobs are needed here, and by what: one row for each blob a manifest lists. A blob is reached when it is the
 * manifest of a content that is here or wanted, when such a row names it, or when it is the only chunk of such a
 * content whose manifest follows from it. That last kind, most small objects, costs no row at all.
 *
 * Whoever comes to count on a blob writes its links, flushed, before it looks whether the blob is here (uploads pin
 * it instead); whoever removes one looks for links first. So nothing that is reached is ever removed.
 */
export class Links {
  readonly #isWanted: (reader: KvReader, manifest: BlobHash) => boolean;
  #watched: { readonly manifest: BlobHash; isSpared: boolean } | undefined;

  /** `isWanted` says whether a job stands for a content. */
  constructor(isWanted: (reader: KvReader, manifest: BlobHash) => boolean) {
    this.#isWanted = isWanted;
  }

  /** Notes what a manifest lists, which is counted on from now on: taking it apart ends here. */
  link(transaction: KvTransaction, { parent, role, children }: Linkage): void {
    this.spare(transaction, parent);
    for (const child of children) {
      const key = linkKey(child, parent);
      if (transaction.get(key) === undefined) transaction.put(key, roleBytes[role]);
    }
  }

  /** Like `link`, for a manifest that may have been dropped meanwhile: false, and nothing is noted, when it was. */
  linkRetained(transaction: KvTransaction, linkage: Linkage): boolean {
    const isRetained = this.isRetained(transaction, linkage.parent);
    if (isRetained) this.link(transaction, linkage);
    return isRetained;
  }

  unlink(transaction: KvTransaction, child: BlobHash, parent: BlobHash): void {
    transaction.delete(linkKey(child, parent));
  }

  isLinked(reader: KvReader, child: BlobHash, parent: BlobHash): boolean {
    return reader.get(linkKey(child, parent)) !== undefined;
  }

  /** True when the manifest of a content that is here, or for which there is a job. */
  isRoot(reader: KvReader, manifest: BlobHash): boolean {
    return reader.get(completeKey(manifest)) !== undefined || this.#isWanted(reader, manifest);
  }

  /** True when a blob is counted on as a manifest: its own blobs are reached through it. */
  isRetained(reader: KvReader, manifest: BlobHash, except?: BlobHash): boolean {
    return this.isRoot(reader, manifest) || this.#hasLink(reader, manifest, except, 'part');
  }

  /** True when something needs this blob; `except` is a manifest that does not count. */
  isReached(reader: KvReader, hash: BlobHash, sizeBytes: number, except?: BlobHash): boolean {
    if (this.#hasLink(reader, hash, except) || this.isRoot(reader, hash)) return true;
    return soleManifestsOf(hash, sizeBytes).some((manifest) => this.isRetained(reader, manifest, except));
  }

  /** A manifest nothing needs any more: it is taken apart when there is time. */
  condemn(transaction: KvTransaction, manifest: BlobHash): void {
    transaction.put(condemnedKey(manifest), condemned);
  }

  /** Ends the taking apart of a manifest. */
  spare(transaction: KvTransaction, manifest: BlobHash): void {
    if (this.#watched?.manifest === manifest) this.#watched.isSpared = true;
    if (transaction.get(condemnedKey(manifest)) !== undefined) transaction.delete(condemnedKey(manifest));
  }

  /**
   * Tells whether anybody has spared a manifest since this call, in a transaction that is flushed or not, however often
   * it was condemned again. One manifest is watched at a time.
   */
  watchSpared(manifest: BlobHash): () => boolean {
    const watched = { manifest, isSpared: false };
    this.#watched = watched;
    return () => watched.isSpared;
  }

  isCondemned(reader: KvReader, manifest: BlobHash): boolean {
    return reader.get(condemnedKey(manifest)) !== undefined;
  }

  /** Condemned manifests in the order of their hashes, those after one. */
  condemned(reader: KvReader, after: BlobHash | undefined, limit: number): BlobHash[] {
    return Array.from(reader.range({ ...hashedRange('condemned', after), limit }), ([key]) => hashOfKey(key));
  }

  /** Manifests that list a blob, in the order of their hashes: those after one, at most so many. */
  parentsOf(reader: KvReader, child: BlobHash, after: BlobHash | undefined, limit: number): BlobHash[] {
    const { start, end } = linkRange(child);
    const range = { start: after === undefined ? start : linksAfter(linkKey(child, after)).start, end, limit };
    return Array.from(reader.range(range), ([key]) => parentOfLinkKey(key));
  }

  /** The blobs among the next links that a manifest is said to list, for when the manifest itself cannot be read. */
  search(
    reader: KvReader,
    parent: BlobHash,
    from: Uint8Array | undefined,
  ): { readonly found: Readonly<Record<LinkRole, readonly BlobHash[]>>; readonly next: Uint8Array | undefined } {
    const found: Record<LinkRole, BlobHash[]> = { chunk: [], part: [] };
    let count = 0;
    let next: Uint8Array | undefined;
    for (const [key, value] of reader.range({ ...linksAfter(from), limit: searchedLinksMax })) {
      count += 1;
      next = key;
      if (parentOfLinkKey(key) !== parent) continue;
      found[value[0] === roleBytes.part[0] ? 'part' : 'chunk'].push(childOfLinkKey(key));
    }
    return { found, next: count === searchedLinksMax ? next : undefined };
  }

  #hasLink(reader: KvReader, child: BlobHash, except: BlobHash | undefined, role?: LinkRole): boolean {
    for (const [key, value] of reader.range(linkRange(child))) {
      if (except !== undefined && parentOfLinkKey(key) === except) continue;
      if (role === undefined || value[0] === roleBytes[role][0]) return true;
    }
    return false;
  }
}
