import { rawHash, toBase32 } from '../../crdt/digest.ts';
import type { BlobHash, DocId, VersionId } from '../../crdt/ids.ts';
import type { VersionRecord } from '../../crdt/version-record.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv, KvKey, KvReader, KvTransaction } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import {
  firstHash,
  metaKey,
  referenceKey,
  referenceRange,
  secondHash,
  subjectKey,
  subjectRange,
  unsoundKey,
  unsoundRange,
} from './storage-keys.ts';
import type { Subject } from './subject.ts';

/** Documents of one page of the feed: many more than are written while a page is taken in, so that there is an end. */
const documentsPerPageMax = 512;
/** Documents looked at, and versions noted, in one turn: this bounds how long it holds the event loop. */
const documentsPerTurnMax = 64;
const versionsPerTurnMax = 128;
/** Documents with a damaged record that are gone through again at once. */
const unsoundMax = 1_024;
/** Subjects read in one turn of a walk. */
const walkedPerTurnMax = 64;
/** Changed documents that a transaction goes through. */
const newDocumentsMax = 256;
/** Versions with one content that are looked at: the same bytes under more names than this are taken for wanted everywhere. */
export const referencesMax = 4_096;

/** The versions this node keeps, as the index reads them. */
export interface VersionSource {
  /** The documents that changed after a number of this node's own feed, in the order of their changes. */
  changedAfter(
    reader: KvReader,
    change: number,
    limit: number,
  ): readonly { readonly doc: DocId; readonly change: number }[];
  headsOf(reader: KvReader, doc: DocId): readonly VersionId[];
  /** A version's record; undefined when it is damaged or not here. */
  record(reader: KvReader, version: VersionId): SubjectRecord | undefined;
}

/** What of a version's record matters here. */
export type SubjectRecord = Pick<VersionRecord, 'ns' | 'key' | 'parents' | 'generation' | 'content' | 'node' | 'time'>;

type SubjectRow = Omit<Subject, 'doc' | 'version'>;

interface Found {
  readonly version: VersionId;
  readonly generation: number;
  readonly row: SubjectRow | undefined;
}

/**
 * Every version with content that is kept here, heads of branches and what is behind them alike, in the order of the
 * documents' ids, and by content. It follows the node's feed of changes, and only when somebody is about to read it:
 * writes cost nothing for it.
 */
export class SubjectIndex {
  readonly #kv: Kv;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #versions: VersionSource;
  #catchingUp: Promise<void> | undefined;

  constructor(dependencies: {
    readonly kv: Kv;
    readonly clock: Clock;
    readonly log: Log;
    readonly versions: VersionSource;
  }) {
    this.#kv = dependencies.kv;
    this.#clock = dependencies.clock;
    this.#log = dependencies.log;
    this.#versions = dependencies.versions;
  }

  /** Resolves once every version that was on disk at the call is in the index. */
  async catchUp(signal?: AbortSignal): Promise<void> {
    // One that is under way may have begun before the newest version.
    if (this.#catchingUp !== undefined) await this.#catchingUp;
    this.#catchingUp ??= this.#follow(signal).finally(() => {
      this.#catchingUp = undefined;
    });
    await this.#catchingUp;
  }

  /**
   * The contents of versions that came since the index caught up, as a transaction sees it; undefined when they are too
   * many to be gone through within one, or while a record cannot be read: the content of that version could be any.
   */
  newContents(reader: KvReader): ReadonlySet<BlobHash> | undefined {
    const changed = this.#versions.changedAfter(reader, this.#cursor(reader), newDocumentsMax + 1);
    if (changed.length > newDocumentsMax || this.#isUnsound(reader)) return undefined;
    const contents = new Set<BlobHash>();
    for (const { doc } of changed) {
      const { found, isSound } = this.#missing(reader, doc, false);
      if (!isSound) return undefined;
      for (const { row } of found) if (row !== undefined) contents.add(row.manifest);
    }
    return contents;
  }

  /** Documents with a version that could not be read when the index met it; up to `unsoundMax` are counted. */
  unreadable(): number {
    let count = 0;
    for (const _ of this.#kv.range({ ...unsoundRange, limit: unsoundMax })) count += 1;
    return count;
  }

  /** The subjects after one of them, some at a time, with a turn of the event loop between the pages. */
  async *walk(after?: Pick<Subject, 'doc' | 'version'>): AsyncGenerator<readonly Subject[]> {
    let from = after === undefined ? undefined : subjectKey(after.doc, after.version);
    for (;;) {
      const rows: (readonly [KvKey, Uint8Array])[] = [];
      for (const row of this.#kv.range({ ...subjectRange(from), limit: walkedPerTurnMax })) rows.push(row);
      const last = rows.at(-1);
      if (last === undefined) return;
      yield rows.flatMap(([key, row]) => subjectOf(key, row) ?? []);
      from = last[0];
      await this.#clock.sleep(0);
    }
  }

  /** One of the versions with a content. */
  subjectOf(manifest: BlobHash): Subject | undefined {
    return this.subjectsOf(manifest, 1)[0];
  }

  /** The versions with a content; at most `limit` of them. */
  subjectsOf(manifest: BlobHash, limit = referencesMax): readonly Subject[] {
    return Array.from(this.#kv.range({ ...referenceRange(manifest), limit }), ([key, doc]) => {
      const known = subjectKey(toBase32(doc) as DocId, secondHash<VersionId>(key));
      const row = this.#kv.get(known);
      return row === undefined ? undefined : subjectOf(known, row);
    }).filter((subject) => subject !== undefined);
  }

  async #follow(signal: AbortSignal | undefined): Promise<void> {
    const unsound = Array.from(this.#kv.range({ ...unsoundRange, limit: unsoundMax }), ([key]) =>
      firstHash<DocId>(key),
    );
    for (const doc of unsound) await this.#indexAgain(doc);
    for (;;) {
      signal?.throwIfAborted();
      const changed = this.#versions.changedAfter(this.#kv, this.#cursor(this.#kv), documentsPerPageMax);
      const last = changed.at(-1);
      if (last === undefined) return;
      await this.#indexAll(changed.map(({ doc }) => doc));
      await this.#kv.transact((transaction) => transaction.put(metaKey('subjects'), Buffer.from(String(last.change))));
      // These were all there were. What came meanwhile is for the next who asks: a node that is written to has no end.
      if (changed.length < documentsPerPageMax) return;
      await this.#clock.sleep(0);
    }
  }

  /** Whether there is a document with a record that could not be read when the index met it. */
  #isUnsound(reader: KvReader): boolean {
    for (const _ of reader.range({ ...unsoundRange, limit: 1 })) return true;
    return false;
  }

  #cursor(reader: KvReader): number {
    const row = reader.get(metaKey('subjects'));
    return row === undefined ? 0 : Number(Buffer.from(row).toString());
  }

  /** Most documents have a version or two that are new: those share transactions, and the transactions a flush. */
  async #indexAll(docs: readonly DocId[]): Promise<void> {
    const written: Promise<void>[] = [];
    for (let start = 0; start < docs.length; start += documentsPerTurnMax) {
      const group: (readonly [DocId, Found])[] = [];
      for (const doc of docs.slice(start, start + documentsPerTurnMax)) {
        const { found, isSound } = this.#missing(this.#kv, doc, false);
        if (!isSound) await this.#kv.transact((transaction) => transaction.put(unsoundKey(doc), new Uint8Array(0)));
        for (const each of found) group.push([doc, each]);
      }
      const putting = this.#putAll(group);
      // Awaited below, unless another fails before.
      putting.catch(() => undefined);
      written.push(putting);
      await this.#clock.sleep(0);
    }
    await Promise.all(written);
  }

  /** Goes through all of a document, also behind what the index has. */
  async #indexAgain(doc: DocId): Promise<void> {
    const { found, isSound } = this.#missing(this.#kv, doc, true);
    await this.#putAll(found.map((each) => [doc, each] as const));
    if (isSound) await this.#kv.transact((transaction) => transaction.delete(unsoundKey(doc)));
  }

  async #putAll(group: readonly (readonly [DocId, Found])[]): Promise<void> {
    for (let start = 0; start < group.length; start += versionsPerTurnMax) {
      const part = group.slice(start, start + versionsPerTurnMax);
      await this.#kv.transact((transaction) => {
        for (const [doc, found] of part) put(transaction, doc, found);
      });
      await this.#clock.sleep(0);
    }
  }

  /**
   * The versions of a document that the index lacks, parents first: so whatever it has, it has the ancestors of. A
   * record that cannot be read hides what is behind it until it was fetched again; the document is remembered, and gone
   * through again whole.
   */
  #missing(reader: KvReader, doc: DocId, isWhole: boolean): { readonly found: Found[]; readonly isSound: boolean } {
    const found = new Map<VersionId, Found>();
    const waiting = [...this.#versions.headsOf(reader, doc)];
    let isSound = true;
    for (let version = waiting.pop(); version !== undefined; version = waiting.pop()) {
      if (found.has(version)) continue;
      if (!isWhole && reader.get(subjectKey(doc, version)) !== undefined) continue;
      const record = this.#versions.record(reader, version);
      if (record === undefined) {
        isSound = false;
        this.#log.warn('replication:version_unreadable', { doc, version });
        continue;
      }
      const { ns, key, generation, content, parents } = record;
      const row = content === null ? undefined : { ns, key, manifest: content.manifest, sizeBytes: content.size };
      found.set(version, { version, generation, row });
      waiting.push(...parents);
    }
    return { found: [...found.values()].sort((left, right) => left.generation - right.generation), isSound };
  }
}

/** A version without content has an empty row, so that a walk ends there. */
function put(transaction: KvTransaction, doc: DocId, { version, row }: Found): void {
  const value = row === undefined ? new Uint8Array(0) : Buffer.from(JSON.stringify(row));
  transaction.put(subjectKey(doc, version), value);
  if (row !== undefined) transaction.put(referenceKey(row.manifest, version), rawHash(doc));
}

function subjectOf(key: KvKey, row: Uint8Array): Subject | undefined {
  if (row.length === 0) return undefined;
  const { ns, key: name, manifest, sizeBytes } = JSON.parse(Buffer.from(row).toString()) as SubjectRow;
  return { doc: firstHash<DocId>(key), version: secondHash<VersionId>(key), ns, key: name, manifest, sizeBytes };
}
