import type { ClusterId, DocId } from '../../crdt/ids.ts';
import { documentId } from '../../crdt/object-document.ts';

/** Names whose ids are kept: as many as are written at about the same time, and a power of two. */
const namesKept = 512;

interface Named {
  readonly ns: string;
  readonly key: string;
  readonly doc: DocId;
}

/**
 * The ids of a cluster's documents by the names of their objects. A write asks for the same one some ten times, and each
 * costs a hash. Each name has one place, which it shares with others, and the last one asked for is kept there.
 */
export class DocumentIds {
  readonly #cluster: ClusterId;
  readonly #kept: (Named | undefined)[] = new Array(namesKept).fill(undefined);

  constructor(cluster: ClusterId) {
    this.#cluster = cluster;
  }

  of(ns: string, key: string): DocId {
    const place = placeOf(key);
    const kept = this.#kept[place];
    if (kept !== undefined && kept.key === key && kept.ns === ns) return kept.doc;
    const doc = documentId(this.#cluster, ns, key);
    this.#kept[place] = { ns, key, doc };
    return doc;
  }
}

/** By the end of the key, where keys that are in use at the same time differ most. */
function placeOf(key: string): number {
  let place = key.length;
  for (let at = Math.max(0, key.length - 8); at < key.length; at += 1) place = (place * 31 + key.charCodeAt(at)) | 0;
  return place & (namesKept - 1);
}
