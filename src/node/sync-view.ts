import { type Certificate, encodeCertificate } from '../../crdt/certificate.ts';
import { rawHash } from '../../crdt/digest.ts';
import type { ConfirmedLink } from '../../crdt/document-digest.ts';
import type { Item, TreeReader } from '../../crdt/fingerprint-tree.ts';
import { walkMissing } from '../../crdt/graph-difference.ts';
import type { DocId, VersionId } from '../../crdt/ids.ts';
import type { SlotSet } from '../../crdt/slot-set.ts';
import type { HeldSlots, SyncSource } from '../../protocols/sync/server.ts';
import type { Kv } from '../ports/kv.ts';
import { changeFeed } from './change-feed.ts';
import { certificateRows } from './confirmation/certificate-rows.ts';
import type { ContentPlane } from './content/content-plane.ts';
import type { Incarnation } from './incarnation.ts';
import type { ObjectStore } from './object-store.ts';
import type { SlotTrees } from './slot-trees.ts';
import type { SlotHoldings } from './slots/slot-holdings.ts';

/** Rows of the feed looked at for one answer, some milliseconds' worth, when only some slots are asked for. */
const feedRowsMax = 8_192;

/** What sync compares and sends, read from the store. */
export class SyncView implements SyncSource {
  readonly #kv: Kv;
  readonly #objects: ObjectStore;
  readonly #incarnation: Incarnation;
  readonly #content: Pick<ContentPlane, 'small'>;
  readonly #slots: Pick<SlotHoldings, 'kept' | 'whole'>;
  readonly #trees: Pick<SlotTrees, 'read'>;

  constructor(dependencies: {
    readonly kv: Kv;
    readonly objects: ObjectStore;
    readonly incarnation: Incarnation;
    readonly content: Pick<ContentPlane, 'small'>;
    readonly slots: Pick<SlotHoldings, 'kept' | 'whole'>;
    readonly trees: Pick<SlotTrees, 'read'>;
  }) {
    this.#kv = dependencies.kv;
    this.#objects = dependencies.objects;
    this.#incarnation = dependencies.incarnation;
    this.#content = dependencies.content;
    this.#slots = dependencies.slots;
    this.#trees = dependencies.trees;
  }

  feed(): { name: string; last: number } {
    return { name: this.#incarnation.name, last: changeFeed.last(this.#kv) };
  }

  slots(): HeldSlots {
    const { kept, whole } = this.#slots;
    return { kept, whole };
  }

  changedAfter(change: number, limit: number, slots: SlotSet): { items: Item[]; through: number } {
    const items: Item[] = [];
    let through = change;
    for (let looked = 0; items.length < limit && looked < feedRowsMax; ) {
      const entries = changeFeed.after(this.#kv, through, limit - items.length);
      if (entries.length === 0) break;
      for (const { doc } of entries) {
        if (!slots.has(this.slotOf(doc))) continue;
        items.push({ key: rawHash(doc), value: this.digestOf(doc) ?? new Uint8Array(32) });
      }
      looked += entries.length;
      through = entries.at(-1)?.change ?? through;
      if (slots.isAll) break;
    }
    return { items, through };
  }

  trees(): Promise<(slot: number) => TreeReader> {
    return this.#trees.read();
  }

  digestOf(doc: DocId): Uint8Array | undefined {
    return this.#objects.digestOf(this.#kv, doc);
  }

  slotOf(doc: DocId): number {
    return this.#objects.slotOf(doc);
  }

  holds(version: VersionId): boolean {
    return this.#objects.holds(this.#kv, version);
  }

  headsOf(doc: DocId): VersionId[] {
    return this.#objects.object(this.#kv, doc)?.heads.map((head) => head.id) ?? [];
  }

  confirmedOf(doc: DocId): ConfirmedLink | undefined {
    const row = this.#objects.object(this.#kv, doc);
    // While the greatest certificate's head is awaited, what a peer has of the same link may supersede that one.
    if (row?.confirmed === undefined || row.certified !== undefined) return undefined;
    return { position: row.confirmed.position, head: row.confirmed.id };
  }

  lacks(doc: DocId, heads: readonly VersionId[], confirmed: ConfirmedLink | undefined): boolean {
    if (heads.some((head) => !this.holds(head))) return true;
    const position = certificateRows.get(this.#kv, doc)?.latest.statement.position ?? 0;
    return confirmed !== undefined && position < confirmed.position;
  }

  certificatesBeside(doc: DocId, link: ConfirmedLink | undefined): string[] {
    const row = certificateRows.get(this.#kv, doc);
    const known = row === undefined ? [] : row.earlier === undefined ? [row.latest] : [row.earlier, row.latest];
    const { position = 0, head } = link ?? {};
    const isBeside = ({ statement }: Certificate): boolean =>
      statement.position > position || (statement.position === position && statement.head !== head);
    return known.filter(isBeside).map(encodeCertificate);
  }

  walkBeyond(heads: readonly VersionId[], have: readonly VersionId[]): Iterable<VersionId | null> {
    return walkMissing(heads, have, (id) => this.#objects.sound(this.#kv, id)?.record);
  }

  parentsOf(version: VersionId): readonly VersionId[] | undefined {
    return this.#objects.sound(this.#kv, version)?.record.parents;
  }

  smallContent(version: VersionId, bytesMax: number): Uint8Array | undefined {
    const content = this.#objects.sound(this.#kv, version)?.record.content;
    return content ? this.#content.small(content, bytesMax) : undefined;
  }

  recordText(version: VersionId): Uint8Array | undefined {
    const sound = this.#objects.sound(this.#kv, version);
    return sound === undefined ? undefined : Buffer.from(sound.text);
  }
}
