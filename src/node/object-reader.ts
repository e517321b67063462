import { isHash } from '../../crdt/digest.ts';
import { ok, type VersionId } from '../../crdt/ids.ts';
import { checkKey, checkNamespace } from '../../crdt/object-name.ts';
import type { SlotSet } from '../../crdt/slot-set.ts';
import type { AncestryLookup, Version } from '../../crdt/version.ts';
import { compareHeads, preferredHead } from '../../crdt/version-graph.ts';
import type { Kv } from '../ports/kv.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type {
  Conflict,
  ConflictPage,
  ConflictsInput,
  GraphVersion,
  ListedObject,
  ListInput,
  Listing,
  ObjectGraph,
  Outcome,
  ReadInput,
  ReadMode,
  ReadVersion,
  VersionState,
} from './api.ts';
import type { ContentPlane } from './content/content-plane.ts';
import type { ObjectStore } from './object-store.ts';
import { refuse } from './refusals.ts';
import { type ConflictRow, decodeRow, type HeadRow, type ListingRow, type ObjectRow } from './rows.ts';
import { afterKey, conflictKey, conflictRange, listingKey, listingRange, nameOf, successor } from './storage-keys.ts';

const pageEntriesMax = 1_000;

/** A part of what is here, and how much of it a page may be. */
export interface ListPart {
  /** Only what is in these slots. */
  readonly slots: SlotSet;
  /** Rows looked at for one page, those of other slots included. */
  readonly rowsMax: number;
  /** Bytes of names and ids in one page, past which it ends. */
  readonly bytesMax: number;
}

interface Dependencies {
  readonly kv: Kv;
  readonly objects: ObjectStore;
  readonly content: Pick<ContentPlane, 'open'>;
  /** The mode of a namespace's reads that name none. */
  readonly readModeOf: (ns: string) => ReadMode;
}

/** Reads objects, listings, graphs and conflicts. */
export class ObjectReader {
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  read(input: ReadInput): Outcome<ReadVersion> {
    const found = this.#find(input.ns, input.key);
    if (!found.ok) return found;
    const row = found.value;
    const chosen = this.#choose(row, input);
    if (!chosen.ok) return chosen;
    const version = chosen.value;
    const heads = row.heads.map((head) => head.id);
    const { content, type, meta, time } = version.record;
    if (content === null) {
      return refuse('deleted', `${input.ns}/${input.key} is deleted${liveHeads(row)}`, { version: version.id, heads });
    }
    const subject = { ns: input.ns, key: input.key, version: version.id, origin: version.record.node };
    return ok({
      version: version.id,
      state: this.#stateOf(row, version.id),
      size: content.size,
      b3: content.b3,
      type,
      meta,
      time,
      heads,
      newer: newestOther(row.heads, version.id),
      open: (range, signal) => this.#dependencies.content.open(content, { range, subject, signal }),
    });
  }

  /** With a part, a page may be shorter than its limit, and `next` may be a key that is not in it. */
  list(input: ListInput, part?: ListPart): Outcome<Listing> {
    const badNamespace = checkNamespace(input.ns);
    if (badNamespace !== undefined) return refuse('invalid_namespace', badNamespace);
    const limit = checkLimit(input.limit);
    if (limit === undefined) return refuse('invalid_request', `limit is a number from 1 to ${pageEntriesMax}`);
    const prefix = input.prefix ?? '';
    const delimiter = input.delimiter ?? '';
    const { start, end } = listingRange(input.ns, prefix);
    const objects: ListedObject[] = [];
    const prefixes: string[] = [];
    const budget = new PageBudget(part);
    let passed: string | null = null;
    let canStop = true;
    let from = input.after === undefined ? start : later(start, this.#after(input.ns, input.after, prefix, delimiter));
    for (;;) {
      const entry = this.#nextListed(from, end);
      if (entry === undefined) return ok({ objects, prefixes, next: null });
      if (objects.length + prefixes.length === limit || (budget.isSpent && canStop)) {
        return ok({ objects, prefixes, next: passed });
      }
      const { key, row } = entry;
      if (!budget.takes(this.#dependencies.objects.slotOf(row.doc), key)) {
        from = afterKey(listingKey(input.ns, key));
        passed = key;
        // What ends like a common prefix would be taken for one, and all below it for seen.
        canStop = !isCommonPrefix(key, prefix, delimiter);
        continue;
      }
      canStop = true;
      const cut = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
      if (cut >= 0) {
        const common = key.slice(0, cut + delimiter.length);
        prefixes.push(common);
        passed = common;
        from = successor(listingKey(input.ns, common));
      } else {
        objects.push({
          key,
          version: row.version,
          heads: row.heads,
          size: row.size,
          state: row.confirmed ? 'confirmed' : 'provisional',
          time: row.time,
        });
        passed = key;
        from = afterKey(listingKey(input.ns, key));
      }
    }
  }

  graph(input: { readonly ns: string; readonly key: string }): Outcome<ObjectGraph> {
    const found = this.#find(input.ns, input.key);
    if (!found.ok) return found;
    const { kv, objects } = this.#dependencies;
    const { heads, confirmed } = found.value;
    const versions = objects.versions(kv, objects.documentId(input.ns, input.key));
    const isConfirmed = confirmedAmong(versions, confirmed?.id);
    return ok({
      versions: versions.map((version) => graphVersion(version, isConfirmed.has(version.id))),
      heads: heads.map((head) => head.id),
      preferred: preferredHead(heads, confirmed?.id),
      confirmedHead: confirmed?.id ?? null,
    });
  }

  /** With a part, as `list` has it. */
  conflicts(input: ConflictsInput, part?: ListPart): Outcome<ConflictPage> {
    const badNamespace = input.ns === undefined ? undefined : checkNamespace(input.ns);
    if (badNamespace !== undefined) return refuse('invalid_namespace', badNamespace);
    const limit = checkLimit(input.limit);
    if (limit === undefined) return refuse('invalid_request', `limit is a number from 1 to ${pageEntriesMax}`);
    const { start, end } = conflictRange(input.ns);
    let from = start;
    if (input.after !== undefined) {
      const cut = input.after.indexOf('/');
      if (cut < 0) return refuse('invalid_request', 'after is a namespace and a key, as next gave it');
      from = later(start, afterKey(conflictKey(input.after.slice(0, cut), input.after.slice(cut + 1))));
    }
    const { kv, objects } = this.#dependencies;
    const conflicts: Conflict[] = [];
    const budget = new PageBudget(part);
    let passed: string | null = null;
    const rows = part === undefined ? limit + 1 : part.rowsMax + 1;
    for (const [rowKey, bytes] of kv.range({ start: from, end, limit: rows })) {
      if (conflicts.length === limit || budget.isSpent) return ok({ conflicts, next: passed });
      const { ns, key } = nameOf(rowKey);
      const row = decodeRow<ConflictRow>(bytes, 'conflict');
      passed = `${ns}/${key}`;
      if (budget.takes(objects.slotOf(objects.documentId(ns, key)), key, row.heads.length)) {
        conflicts.push({ ns, key, ...row });
      }
    }
    return ok({ conflicts, next: null });
  }

  #find(ns: string, key: string): Outcome<ObjectRow> {
    const badNamespace = checkNamespace(ns);
    if (badNamespace !== undefined) return refuse('invalid_namespace', badNamespace);
    const badKey = checkKey(key);
    if (badKey !== undefined) return refuse('invalid_key', badKey);
    const { kv, objects } = this.#dependencies;
    const row = objects.object(kv, objects.documentId(ns, key));
    return row === undefined ? refuse('not_found', `there is no object ${ns}/${key} here`) : ok(row);
  }

  #choose(row: ObjectRow, input: ReadInput): Outcome<Version> {
    if (input.version === undefined) return this.#chooseByMode(row, input);
    if (!isHash(input.version)) return refuse('invalid_version', `'${input.version}' is not a version id`);
    const { kv, objects } = this.#dependencies;
    const version = objects.version(kv, input.version as VersionId);
    if (version === undefined || version.record.ns !== input.ns || version.record.key !== input.key) {
      return refuse('version_not_found', `${input.ns}/${input.key} has no version ${input.version} here`);
    }
    return ok(version);
  }

  #chooseByMode(row: ObjectRow, { ns, key, mode: asked }: ReadInput): Outcome<Version> {
    const { kv, objects, readModeOf } = this.#dependencies;
    const mode = asked ?? readModeOf(ns);
    if (mode === 'confirmed_only' && row.confirmed === undefined) {
      return refuse('not_confirmed', `${ns}/${key} has no confirmed version yet`, {
        heads: row.heads.map((head) => head.id),
      });
    }
    if (mode !== 'provisional_allowed') return ok(this.#stored(preferredHead(row.heads, row.confirmed?.id)));
    return ok(this.#stored(newestHead(row, objects.ancestry(kv))));
  }

  #stateOf(row: ObjectRow, version: VersionId): VersionState {
    const { kv, objects } = this.#dependencies;
    return objects.isConfirmed(kv, row, version) ? 'confirmed' : 'provisional';
  }

  #stored(id: VersionId): Version {
    const version = this.#dependencies.objects.version(this.#dependencies.kv, id);
    if (version === undefined) throw new MeshError('corrupt', `the stored record of version ${id} is missing`);
    return version;
  }

  #nextListed(start: Uint8Array, end: Uint8Array): { key: string; row: ListingRow } | undefined {
    if (Buffer.compare(start, end) >= 0) return undefined;
    for (const [rowKey, bytes] of this.#dependencies.kv.range({ start, end, limit: 1 })) {
      return { key: nameOf(rowKey).key, row: decodeRow<ListingRow>(bytes, 'listing entry') };
    }
    return undefined;
  }

  /** Where a page after a key or a common prefix begins. */
  #after(ns: string, after: string, prefix: string, delimiter: string): Uint8Array {
    const row = listingKey(ns, after);
    return isCommonPrefix(after, prefix, delimiter) ? successor(row) : afterKey(row);
  }
}

/** The greatest head that is or descends from the preferred one: what the mode `provisional_allowed` shows. */
export function newestHead({ heads, confirmed }: ObjectRow, isAncestor: AncestryLookup): VersionId {
  if (confirmed === undefined) return preferredHead(heads);
  const greatestFirst = [...heads].sort((left, right) => compareHeads(right, left));
  const shown = greatestFirst.find(({ id }) => id === confirmed.id || isAncestor(confirmed.id, id));
  return shown?.id ?? confirmed.id;
}

/** The confirmed head and its ancestors, of versions that stand in the order of their generations. */
function confirmedAmong(versions: readonly Version[], confirmed: VersionId | undefined): ReadonlySet<VersionId> {
  const found = new Set<VersionId>(confirmed === undefined ? [] : [confirmed]);
  for (const { id, record } of versions.toReversed()) {
    if (found.has(id)) for (const parent of record.parents) found.add(parent);
  }
  return found;
}

function graphVersion({ id, record }: Version, isConfirmed: boolean): GraphVersion {
  const { kind, parents, generation, dot, author, node, time, content, type, meta } = record;
  return {
    version: id,
    kind,
    state: isConfirmed ? 'confirmed' : 'provisional',
    parents,
    generation,
    dot,
    author,
    node,
    time,
    size: content?.size ?? null,
    b3: content?.b3 ?? null,
    type,
    meta,
  };
}

function newestOther(heads: readonly HeadRow[], shown: VersionId): VersionId | null {
  let newest: HeadRow | undefined;
  for (const head of heads) {
    if (head.id !== shown && (newest === undefined || compareHeads(head, newest) > 0)) newest = head;
  }
  return newest?.id ?? null;
}

function liveHeads(row: ObjectRow): string {
  const live = row.heads.filter((head) => head.kind !== 'delete').length;
  return live === 0 ? '' : `, but ${live} concurrent ${live === 1 ? 'head has' : 'heads have'} content`;
}

/** Bytes that an entry of a page takes beside its name, and those of a head that it names. */
const entryBytes = 200;
const headBytes = 56;

/** What a page may still take. Without a part, all there is. */
class PageBudget {
  readonly #part: ListPart | undefined;
  #rows = 0;
  #bytes = 0;

  constructor(part: ListPart | undefined) {
    this.#part = part;
  }

  get isSpent(): boolean {
    return this.#part !== undefined && (this.#rows >= this.#part.rowsMax || this.#bytes >= this.#part.bytesMax);
  }

  /** Counts a row; true for one that belongs to the page. */
  takes(slot: number, key: string, heads = 1): boolean {
    if (this.#part === undefined) return true;
    this.#rows += 1;
    if (!this.#part.slots.has(slot)) return false;
    this.#bytes += entryBytes + Buffer.byteLength(key) + headBytes * heads;
    return true;
  }
}

function checkLimit(limit: number | undefined): number | undefined {
  if (limit === undefined) return pageEntriesMax;
  return Number.isInteger(limit) && limit >= 1 && limit <= pageEntriesMax ? limit : undefined;
}

function isCommonPrefix(name: string, prefix: string, delimiter: string): boolean {
  return delimiter !== '' && name.length > prefix.length && name.endsWith(delimiter);
}

function later(left: Uint8Array, right: Uint8Array): Uint8Array {
  return Buffer.compare(left, right) >= 0 ? left : right;
}
