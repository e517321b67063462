import { encodeCertificate } from '../../crdt/certificate.ts';
import { rawHash } from '../../crdt/digest.ts';
import { type Item, itemValue, type TreeReader } from '../../crdt/fingerprint-tree.ts';
import { missingVersions } from '../../crdt/graph-difference.ts';
import type { DocId, VersionId } from '../../crdt/ids.ts';
import type { SyncSource } from '../../protocols/sync/server.ts';
import type { Kv } from '../ports/kv.ts';
import { changeFeed } from './change-feed.ts';
import { certificateRows } from './confirmation/certificate-rows.ts';
import type { ContentPlane } from './content/content-plane.ts';
import type { Incarnation } from './incarnation.ts';
import { certificatePosition, type ObjectStore } from './object-store.ts';
import { slotTree } from './slot-tree.ts';

/** What sync compares and sends, read from the store. */
export class SyncView implements SyncSource {
  readonly #kv: Kv;
  readonly #objects: ObjectStore;
  readonly #incarnation: Incarnation;
  readonly #content: Pick<ContentPlane, 'small'>;

  constructor(dependencies: {
    readonly kv: Kv;
    readonly objects: ObjectStore;
    readonly incarnation: Incarnation;
    readonly content: Pick<ContentPlane, 'small'>;
  }) {
    this.#kv = dependencies.kv;
    this.#objects = dependencies.objects;
    this.#incarnation = dependencies.incarnation;
    this.#content = dependencies.content;
  }

  feed(): { name: string; last: number } {
    return { name: this.#incarnation.name, last: changeFeed.last(this.#kv) };
  }

  changedAfter(change: number, limit: number): { items: Item[]; through: number } {
    const entries = changeFeed.after(this.#kv, change, limit);
    const items = entries.map(({ doc }) => ({ key: rawHash(doc), value: this.digestOf(doc) ?? new Uint8Array(32) }));
    return { items, through: entries.at(-1)?.change ?? change };
  }

  slotTree(slot: number): TreeReader {
    return slotTree(this.#kv, slot);
  }

  digestOf(doc: DocId): Uint8Array | undefined {
    return itemValue(this.slotTree(this.slotOf(doc)), rawHash(doc));
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

  /** The position that the digest of the document's state counts. */
  positionOf(doc: DocId): number {
    const row = this.#objects.object(this.#kv, doc);
    return row === undefined ? 0 : certificatePosition(row);
  }

  certificatesBeyond(doc: DocId, position: number): string[] {
    const row = certificateRows.get(this.#kv, doc);
    const known = row === undefined ? [] : row.earlier === undefined ? [row.latest] : [row.earlier, row.latest];
    return known.filter(({ statement }) => statement.position > position).map(encodeCertificate);
  }

  versionsBeyond(doc: DocId, have: readonly VersionId[]): VersionId[] {
    return missingVersions(this.headsOf(doc), have, (id) => this.#objects.sound(this.#kv, id)?.record);
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
