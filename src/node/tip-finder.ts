import type { DocId, NodeId, VersionId } from '../../crdt/ids.ts';
import { type GraphEntry, preferredHead, tip, VersionGraph } from '../../crdt/version-graph.ts';
import type { KvReader } from '../ports/kv.ts';
import type { ObjectStore } from './object-store.ts';
import type { ObjectRow } from './rows.ts';

/** Objects whose tip is remembered, some 200 bytes each. */
const rememberedMax = 10_000;

interface Writer {
  readonly author: string;
  readonly node: NodeId;
}

interface Remembered {
  readonly author: string;
  /** The object's change as of which it is the tip: any later one may have moved it. */
  readonly change: number;
  readonly tip: VersionId;
}

/**
 * What a write that names no parents extends: the preferred head, followed only through versions of the same principal
 * at the same node. While one writer goes on, that is what it wrote last, whatever was not confirmed meanwhile, so it is
 * remembered; otherwise what lies between the confirmed head and the heads is walked.
 */
export class TipFinder {
  readonly #objects: ObjectStore;
  readonly #remembered = new Map<DocId, Remembered>();

  constructor(objects: ObjectStore) {
    this.#objects = objects;
  }

  find(reader: KvReader, doc: DocId, row: ObjectRow, writer: Writer): VersionId {
    const { heads, confirmed, change } = row;
    // Nothing follows a head, and without a confirmed one the preferred head is one.
    if (confirmed === undefined) return preferredHead(heads);
    if (heads.some(({ id }) => id === confirmed.id)) return confirmed.id;
    const remembered = this.#remembered.get(doc);
    if (remembered?.change === change && remembered.author === writer.author) return remembered.tip;
    const region = this.#regionAbove(reader, row);
    return tip(VersionGraph.from(region), writer, confirmed.id) ?? confirmed.id;
  }

  /** A blind write has extended the tip, and is the tip of its writer now. Called once it is on disk. */
  extended(doc: DocId, { author, change, tip: version }: Remembered): void {
    this.#remembered.delete(doc);
    this.#remembered.set(doc, { author, change, tip: version });
    if (this.#remembered.size <= rememberedMax) return;
    const oldest = this.#remembered.keys().next();
    if (!oldest.done) this.#remembered.delete(oldest.value);
  }

  /** The confirmed head, and every version of a greater generation that leads up to a head. */
  #regionAbove(reader: KvReader, { heads, confirmed }: ObjectRow): GraphEntry[] {
    const entries = new Map<VersionId, GraphEntry>();
    const floor = confirmed?.generation ?? 0;
    const open = [...heads.map(({ id }) => id), ...(confirmed === undefined ? [] : [confirmed.id])];
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      const version = entries.has(id) ? undefined : this.#objects.sound(reader, id);
      if (version === undefined) continue;
      const { parents, generation, dot, author, node } = version.record;
      if (generation < floor) continue;
      entries.set(id, { id, parents, generation, dot, context: version.context, author, node });
      if (generation > floor) open.push(...parents);
    }
    return [...entries.values()];
  }
}
