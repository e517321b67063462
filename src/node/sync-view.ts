import { createBlake3 } from '../../crdt/digest.ts';
import { missingVersions } from '../../crdt/graph-difference.ts';
import type { DocId, VersionId } from '../../crdt/ids.ts';
import type { SyncSource } from '../../protocols/sync/server.ts';
import type { Kv } from '../ports/kv.ts';
import type { ObjectStore } from './object-store.ts';
import { docOfSlotKey, slotKey, slotKeyPrefixBytes, slotRange } from './storage-keys.ts';

/** What sync compares and sends, read from the store. */
export class SyncView implements SyncSource {
  readonly #kv: Kv;
  readonly #objects: ObjectStore;

  constructor(dependencies: { readonly kv: Kv; readonly objects: ObjectStore }) {
    this.#kv = dependencies.kv;
    this.#objects = dependencies.objects;
  }

  /** BLAKE3 over the slot's documents in order: 32 bytes of id, 32 bytes of digest each. */
  slotFingerprint(slot: number): Uint8Array {
    const hasher = createBlake3();
    for (const [key, digest] of this.#kv.range(slotRange(slot))) {
      hasher.update(key.subarray(slotKeyPrefixBytes));
      hasher.update(digest);
    }
    return hasher.digest();
  }

  listSlot(slot: number, after: DocId | null, limit: number): { doc: DocId; digest: Uint8Array }[] {
    const range = { ...slotRange(slot, after ?? undefined), limit };
    return Array.from(this.#kv.range(range), ([key, digest]) => ({ doc: docOfSlotKey(key), digest }));
  }

  digestOf(slot: number, doc: DocId): Uint8Array | undefined {
    return this.#kv.get(slotKey(slot, doc));
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

  versionsBeyond(doc: DocId, have: readonly VersionId[]): VersionId[] {
    return missingVersions(this.headsOf(doc), have, (id) => this.#objects.sound(this.#kv, id)?.record);
  }

  recordText(version: VersionId): Uint8Array | undefined {
    const sound = this.#objects.sound(this.#kv, version);
    return sound === undefined ? undefined : Buffer.from(sound.text);
  }
}
