import {
  contextAdd,
  contextHas,
  contextSize,
  type DotContext,
  decodeContext,
  emptyContext,
  encodeContext,
} from '../../crdt/causality.ts';
import type { Certificate } from '../../crdt/certificate.ts';
import { supersedes } from '../../crdt/certificate-order.ts';
import { rawHash } from '../../crdt/digest.ts';
import { type DocumentState, documentDigest } from '../../crdt/document-digest.ts';
import { isReachable, missingVersions } from '../../crdt/graph-difference.ts';
import type { ClusterId, DocId, Result, VersionId } from '../../crdt/ids.ts';
import { buildChange, slotOf } from '../../crdt/object-document.ts';
import { type AncestryLookup, recallVersion, type Version } from '../../crdt/version.ts';
import { nextHeads } from '../../crdt/version-graph.ts';
import type { KvReader, KvTransaction } from '../ports/kv.ts';
import { MeshError } from '../ports/mesh-error.ts';
import { changeFeed, FeedNumbers } from './change-feed.ts';
import { certificateRows } from './confirmation/certificate-rows.ts';
import { DamagedRecords } from './damaged-records.ts';
import { DocumentIds } from './document-ids.ts';
import { KeptRows } from './kept-rows.ts';
import { count, countsOf, indexObject, unindexObject } from './object-index.ts';
import {
  type ConfirmedRow,
  type CountsRow,
  encodeRow,
  foldedHashOf,
  foldedRow,
  type HeadRow,
  type ObjectRow,
  textOfRow,
} from './rows.ts';
import { removeFromTree } from './slot-trees.ts';
import { StateDigests } from './state-digests.ts';
import { objectKey, snapshotKey, versionKey } from './storage-keys.ts';
import { VersionCache } from './version-cache.ts';

/** Decoded versions kept in memory; at about 2 KiB each this is some 16 MiB. */
const versionsCachedMax = 8_192;
/** Digests of states kept in memory; at about 700 bytes each this is some 6 MiB. */
const digestsKeptMax = 8_192;

/** What appending one version did. */
export interface Appended {
  readonly version: Version;
  readonly doc: DocId;
  readonly headsBefore: readonly VersionId[];
  readonly headsAfter: readonly VersionId[];
  readonly preferred: VersionId;
  /** The object's row as it is now. */
  readonly row: ObjectRow;
  /** The dot was already held by another version: its actor was cloned, or lies. */
  readonly dotReused: boolean;
  /** A certificate waited for this version, which is the confirmed head now. */
  readonly isConfirmed: boolean;
}

/** What a certificate changed. */
export interface Certified {
  readonly doc: DocId;
  /** The object's row as it is now; undefined when none of its versions is here. */
  readonly row: ObjectRow | undefined;
  /** The confirmed head, when it is another one than before. */
  readonly advanced: ConfirmedRow | undefined;
}

/** Sees a document's change in its transaction; its maker is the node that wrote the version, or had it confirmed. */
type ChangeWitness = (
  transaction: KvTransaction,
  change: { readonly doc: DocId; readonly change: number; readonly maker: string },
) => void;

/**
 * The versions of every object and the indices over them, as rows of the key-value store. `append` is
 * the only way in; it keeps record, heads, listing, conflict and feed rows in step
 * within one transaction.
 */
export class ObjectStore {
  readonly #slots: number;
  readonly #changed: ChangeWitness;
  readonly #cache = new VersionCache(versionsCachedMax);
  readonly #digests = new StateDigests(digestsKeptMax);
  readonly #feedNumbers = new FeedNumbers();
  readonly #damaged: DamagedRecords;
  readonly #ids: DocumentIds;
  readonly #rows = new KeptRows<ObjectRow>('object');

  constructor(options: {
    readonly cluster: ClusterId;
    readonly slots: number;
    readonly changed?: ChangeWitness;
    readonly damaged?: DamagedRecords;
  }) {
    this.#damaged = options.damaged ?? new DamagedRecords();
    this.#ids = new DocumentIds(options.cluster);
    this.#slots = options.slots;
    this.#changed = options.changed ?? (() => undefined);
  }

  documentId(ns: string, key: string): DocId {
    return this.#ids.of(ns, key);
  }

  slotOf(doc: DocId): number {
    return slotOf(doc, this.#slots);
  }

  object(reader: KvReader, doc: DocId): ObjectRow | undefined {
    const bytes = reader.get(objectKey(doc));
    return bytes && this.#rows.read(doc, bytes);
  }

  /** The digest of an object's state, which sync compares; undefined when it is not here. */
  digestOf(reader: KvReader, doc: DocId): Uint8Array | undefined {
    const bytes = reader.get(objectKey(doc));
    return bytes && this.#digests.of(doc, bytes, () => documentDigest(doc, stateOf(this.#rows.look(doc, bytes))));
  }

  counts(reader: KvReader): CountsRow {
    return countsOf(reader);
  }

  holds(reader: KvReader, id: VersionId): boolean {
    return reader.get(versionKey(id)) !== undefined;
  }

  /** A stored version. Throws `MeshError` `corrupt` when the stored text is no longer what its id says. */
  version(reader: KvReader, id: VersionId): Version | undefined {
    const cached = this.#cache.get(id);
    if (cached !== undefined) return cached;
    const row = reader.get(versionKey(id));
    if (row === undefined) return undefined;
    const version = recallVersion(id, textOfRow(row));
    if (version === undefined) {
      this.#damaged.found(id);
      throw new MeshError(
        'corrupt',
        `the stored record of version ${id} is damaged; it is fetched again as soon as a peer that has it is connected`,
        { detail: { version: id } },
      );
    }
    // What a transaction reads may be its own, and come to nothing.
    if (!('put' in reader)) this.#cache.add(version);
    return version;
  }

  /** A stored version whose text is whole; a damaged one is noted for repair and reads as absent. */
  sound(reader: KvReader, id: VersionId): Version | undefined {
    try {
      return this.version(reader, id);
    } catch (error) {
      if (error instanceof MeshError && error.code === 'corrupt') return undefined;
      throw error;
    }
  }

  /**
   * Tells whether one stored version is an ancestor of another. A context is exactly its ancestors' dots, so one look is
   * enough, however long the history between them; only where a dot was issued twice the graph has to be walked.
   */
  ancestry(reader: KvReader): AncestryLookup {
    return (ancestor, descendant) => {
      const elder = this.sound(reader, ancestor)?.record;
      const younger = this.sound(reader, descendant);
      if (elder === undefined || younger === undefined || !contextHas(younger.context, elder.dot)) return false;
      const { ns, key } = younger.record;
      if (elder.ns !== ns || elder.key !== key) return false;
      if (this.hasUniqueDots(reader, this.documentId(ns, key))) return true;
      return isReachable(ancestor, descendant, (id) => this.sound(reader, id)?.record);
    };
  }

  /** True when no two versions have the same dot, of those held of an object and of these others of it. */
  hasUniqueDots(reader: KvReader, doc: DocId, others: readonly Version[] = []): boolean {
    const row = this.object(reader, doc);
    const all = others.reduce((dots, { record }) => contextAdd(dots, record.dot), row ? dotsOf(row) : emptyContext);
    return contextSize(all) === (row?.versions ?? 0) + others.length;
  }

  /** Versions whose stored record was found damaged and is not restored yet. */
  damaged(): readonly VersionId[] {
    return this.#damaged.list();
  }

  /**
   * Every version of an object by (generation, id), so parents come first. Throws `MeshError` `corrupt` when a
   * record is damaged, since what is behind it cannot be reached.
   */
  versions(reader: KvReader, doc: DocId): Version[] {
    const waiting = (this.object(reader, doc)?.heads ?? []).map((head) => head.id);
    const found = new Map<VersionId, Version>();
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
      const version = found.has(id) ? undefined : this.version(reader, id);
      if (version === undefined) continue;
      found.set(id, version);
      waiting.push(...version.record.parents);
    }
    return [...found.values()].sort(byGeneration);
  }

  /** What the object's Automerge document is loaded from: its snapshot, if there is one, and the changes since. */
  documentParts(reader: KvReader, doc: DocId): Uint8Array[] {
    const snapshot = reader.get(snapshotKey(doc));
    const { changes } = this.#changes(reader, this.versions(reader, doc));
    return snapshot === undefined ? changes : [snapshot, ...changes];
  }

  /** Folds changes into a snapshot that was made from them: of each only the hash stays, which later changes name. */
  compact(
    transaction: KvTransaction,
    doc: DocId,
    { snapshot, versions }: { readonly snapshot: Uint8Array; readonly versions: readonly VersionId[] },
  ): void {
    const row = this.object(transaction, doc);
    if (row === undefined) return;
    transaction.put(snapshotKey(doc), snapshot);
    const { hashes } = this.#changes(transaction, this.versions(transaction, doc));
    for (const id of versions) {
      const version = this.version(transaction, id);
      const hash = hashes.get(id);
      if (version !== undefined && hash !== undefined) transaction.put(versionKey(id), foldedRow(version.text, hash));
    }
    transaction.put(objectKey(doc), encodeRow({ ...row, increments: row.versions - versions.length }));
  }

  /** Forgets the snapshot of a document, so that it is built anew from its records, which are the authority. */
  unfold(transaction: KvTransaction, doc: DocId): void {
    const row = this.object(transaction, doc);
    if (row === undefined) return;
    for (const { id, text } of this.versions(transaction, doc)) transaction.put(versionKey(id), Buffer.from(text));
    transaction.delete(snapshotKey(doc));
    transaction.put(objectKey(doc), encodeRow({ ...row, increments: row.versions }));
  }

  /**
   * Puts a record's text back over a damaged row. The caller has checked that it hashes to the id, and calls `restored`
   * once the transaction is on disk.
   */
  restore(transaction: KvTransaction, version: Version): void {
    transaction.put(versionKey(version.id), Buffer.from(version.text));
    this.#damaged.mended(transaction, version.id);
  }

  /** Versions whose records were restored are damaged no more. */
  restored(versions: readonly Version[]): void {
    this.#damaged.forget(versions.map(({ id }) => id));
  }

  /** Adds a version that was checked and is not held, with all its parents held. */
  append(transaction: KvTransaction, version: Version): Appended {
    return this.appendAll(transaction, [version])[0] as Appended;
  }

  /** Adds such versions in this order, parents before children. */
  appendAll(transaction: KvTransaction, versions: readonly Version[]): Appended[] {
    const all = versions.map((version) => this.#append(transaction, version));
    count(
      transaction,
      all.map(({ counted }) => counted),
    );
    return all.map(({ appended }) => appended);
  }

  #append(transaction: KvTransaction, version: Version): { readonly appended: Appended; readonly counted: CountsRow } {
    const { record } = version;
    const doc = this.documentId(record.ns, record.key);
    const before = this.object(transaction, doc);
    const headsBefore = before?.heads ?? [];
    const headIdsBefore = headsBefore.map((head) => head.id);
    const headIdsAfter = nextHeads(headIdsBefore, { id: version.id, parents: record.parents });
    const heads = orderedHeads([...headsBefore, headOf(version)], headIdsAfter);
    const dots = before === undefined ? emptyContext : dotsOf(before);
    const dotReused = contextHas(dots, record.dot);
    const proof = this.#proofAfter(transaction, doc, before, version);
    const after: ObjectRow = {
      ns: record.ns,
      key: record.key,
      heads,
      ...proof,
      versions: (before?.versions ?? 0) + 1,
      dots: encodeContext(contextAdd(dots, record.dot)),
      increments: (before?.increments ?? 0) + 1,
      change: this.#feedNumbers.next(transaction),
    };
    transaction.put(versionKey(version.id), Buffer.from(version.text));
    this.#putRow(transaction, doc, before, after);
    this.#changed(transaction, { doc, change: after.change, maker: record.node });
    const isConfirmed = proof.confirmed?.id === version.id;
    const confirmed = isConfirmed ? this.#newlyConfirmed(transaction, after, before?.confirmed?.id, version) : 0;
    const { preferred, counted } = indexObject(transaction, { doc, before, after, added: 1, confirmed });
    const states = { headsBefore: headIdsBefore, headsAfter: headIdsAfter, preferred, row: after };
    return { appended: { version, doc, ...states, dotReused, isConfirmed }, counted };
  }

  /**
   * Takes in a certificate that holds. Of each object the one that supersedes all others is kept, and while its head is
   * not here the greatest one whose head is: that head is the confirmed one. Undefined when it changes nothing.
   */
  certify(transaction: KvTransaction, certificate: Certificate): Certified | undefined {
    const { statement } = certificate;
    const { register, position, head } = statement;
    const doc = register as DocId;
    const known = certificateRows.get(transaction, doc);
    const latest = known?.latest.statement;
    const isNewest = latest === undefined || supersedes(statement, latest);
    const isSameLink = latest?.position === position && latest.head === head;
    const before = this.object(transaction, doc);
    // Of an object that is not here neither is any version.
    const version = before && this.sound(transaction, head as VersionId);
    const isHere = version !== undefined && this.documentId(version.record.ns, version.record.key) === doc;
    // It comes again: the record of its head was damaged the first time, and is not any more.
    const isDue = isSameLink && isHere && before?.certified !== undefined;
    if (isNewest) {
      const earlier = before?.certified === undefined ? known?.latest : known?.earlier;
      const isNeeded = !isHere && before !== undefined && earlier !== undefined;
      certificateRows.put(transaction, doc, { latest: certificate, ...(isNeeded ? { earlier } : {}) });
    } else if (!isDue) {
      const { earlier } = known ?? {};
      const isBetter = earlier === undefined || supersedes(statement, earlier.statement);
      if (isSameLink || !isHere || !isBetter || before?.certified === undefined || known === undefined)
        return undefined;
      certificateRows.put(transaction, doc, { latest: known.latest, earlier: certificate });
    }
    // The same link after another one before it: it is kept, and nothing else comes of it.
    if (isSameLink && !isDue) return undefined;
    if (before === undefined) return { doc, row: undefined, advanced: undefined };
    const { certified, confirmed, ...rest } = before;
    const awaited = isNewest ? { position, head: head as VersionId } : certified;
    const advanced = isHere ? confirmedOf(version, position) : undefined;
    const current = advanced ?? confirmed;
    const after: ObjectRow = {
      ...rest,
      ...(current === undefined ? {} : { confirmed: current }),
      ...((isHere && (isNewest || isDue)) || awaited === undefined ? {} : { certified: awaited }),
      change: this.#feedNumbers.next(transaction),
    };
    this.#putRow(transaction, doc, before, after);
    this.#changed(transaction, { doc, change: after.change, maker: makerOf(certificate) });
    if (advanced !== undefined) {
      const gained = this.#newlyConfirmed(transaction, after, before.confirmed?.id, version);
      const { counted } = indexObject(transaction, { doc, before, after, added: 0, confirmed: gained });
      count(transaction, [counted]);
    }
    return { doc, row: after, advanced };
  }

  /**
   * Removes all that is here of an object. The newest document of the feed stays, since its number must not be given
   * again.
   */
  forget(transaction: KvTransaction, doc: DocId): void {
    const row = this.object(transaction, doc);
    if (row === undefined || row.change === changeFeed.last(transaction)) return;
    const { confirmed: last } = row;
    const head = last && this.sound(transaction, last.id);
    const confirmed = this.#newlyConfirmed(transaction, row, undefined, head);
    for (const { id } of this.versions(transaction, doc)) {
      transaction.delete(versionKey(id));
      this.#cache.delete(id);
    }
    for (const key of [objectKey(doc), snapshotKey(doc)]) transaction.delete(key);
    certificateRows.delete(transaction, doc);
    changeFeed.remove(transaction, row.change);
    removeFromTree(transaction, this.slotOf(doc), doc);
    unindexObject(transaction, row, confirmed);
  }

  /** True when the version is the object's confirmed head or one of its ancestors. */
  isConfirmed(reader: KvReader, row: ObjectRow, version: VersionId): boolean {
    const confirmed = row.confirmed?.id;
    if (confirmed === undefined) return false;
    return confirmed === version || this.ancestry(reader)(version, confirmed);
  }

  /** Keeps a version in memory once its transaction is on disk. */
  remember(version: Version): void {
    this.#cache.add(version);
  }

  /** The changes of these versions, parents first, that are not folded into a snapshot, and the hash of every change. */
  #changes(reader: KvReader, versions: readonly Version[]): { changes: Uint8Array[]; hashes: Map<VersionId, string> } {
    const changes: Uint8Array[] = [];
    const hashes = new Map<VersionId, string>();
    for (const version of versions) {
      const row = reader.get(versionKey(version.id));
      const folded = row === undefined ? undefined : foldedHashOf(row);
      if (folded !== undefined) {
        hashes.set(version.id, folded);
        continue;
      }
      const parents = version.record.parents.flatMap((parent) => hashes.get(parent) ?? []);
      const change = buildChange(version, parents);
      changes.push(change.bytes);
      hashes.set(version.id, change.hash);
    }
    return { changes, hashes };
  }

  /** What the row says of certificates once the version is here. */
  #proofAfter(
    reader: KvReader,
    doc: DocId,
    before: ObjectRow | undefined,
    version: Version,
  ): Pick<ObjectRow, 'confirmed' | 'certified'> {
    const awaited = before === undefined ? this.#earlyCertificate(reader, doc) : before.certified;
    if (awaited?.head === version.id) return { confirmed: confirmedOf(version, awaited.position) };
    return {
      ...(before?.confirmed === undefined ? {} : { confirmed: before.confirmed }),
      ...(awaited === undefined ? {} : { certified: awaited }),
    };
  }

  /** A certificate of an object that came before any version of it. */
  #earlyCertificate(reader: KvReader, doc: DocId): ObjectRow['certified'] {
    const statement = certificateRows.get(reader, doc)?.latest.statement;
    return statement === undefined ? undefined : { position: statement.position, head: statement.head as VersionId };
  }

  /** Puts an object's row at the end of the feed, from which the slots' trees take it. */
  #putRow(transaction: KvTransaction, doc: DocId, before: ObjectRow | undefined, after: ObjectRow): void {
    const bytes = this.#rows.write(doc, after);
    transaction.put(objectKey(doc), bytes);
    changeFeed.append(transaction, rawHash(doc), after.change, before?.change);
  }

  /** By how many the confirmed versions become more with a new confirmed head: fewer, when it does not follow the last. */
  #newlyConfirmed(reader: KvReader, row: ObjectRow, last: VersionId | undefined, head: Version | undefined): number {
    if (head === undefined) return 0;
    if (contextSize(dotsOf(row)) === row.versions)
      return historySize(head) - historySize(last && this.sound(reader, last));
    const lookup = (id: VersionId) => (id === head.id ? head : this.sound(reader, id))?.record;
    if (last === undefined) return missingVersions([head.id], [], lookup).length;
    const gained = missingVersions([head.id], [last], lookup).length;
    return isReachable(last, head.id, lookup) ? gained : gained - missingVersions([last], [head.id], lookup).length;
  }
}

/** The dots of the versions held of an object. */
function dotsOf({ dots }: ObjectRow): DotContext {
  return unwrap(decodeContext(dots));
}

/** How many versions these are, a version and its ancestors, where no dot was issued twice. */
function historySize(version: Version | undefined): number {
  return version === undefined ? 0 : contextSize(version.context) + 1;
}

/** What sync compares of an object. */
function stateOf({ heads, certified, confirmed }: ObjectRow): DocumentState {
  const ids = heads.map((head) => head.id);
  const link = confirmed && { position: confirmed.position, head: confirmed.id };
  return { heads: ids, certified: certified ?? link, confirmed: link };
}

function confirmedOf({ id, record }: Version, position: number): ConfirmedRow {
  const { generation, kind, content, time } = record;
  return { id, position, generation, kind, size: content?.size ?? null, time };
}

/** A proposer is named by its node and a word of its own. */
function makerOf({ statement }: Certificate): string {
  return statement.ballot.proposer.split('.')[0] ?? '';
}

function byGeneration(left: Version, right: Version): number {
  return left.record.generation - right.record.generation || (left.id < right.id ? -1 : 1);
}

function headOf(version: Version): HeadRow {
  const { kind, generation, content, time, author, node } = version.record;
  return { id: version.id, generation, kind, size: content?.size ?? null, time, author, node };
}

function orderedHeads(candidates: readonly HeadRow[], ids: readonly VersionId[]): HeadRow[] {
  const byId = new Map(candidates.map((head) => [head.id, head]));
  return ids.flatMap((id) => byId.get(id) ?? []);
}

function unwrap<T>(result: Result<T, unknown>): T {
  if (!result.ok) throw new MeshError('corrupt', 'the stored dots of an object cannot be read');
  return result.value;
}
