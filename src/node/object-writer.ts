import { contextHas, contextMax, decodeContext, emptyContext } from '../../crdt/causality.ts';
import { hashTextLength, isHash } from '../../crdt/digest.ts';
import { type BlobHash, type ClusterId, type DocId, ok, type VersionId } from '../../crdt/ids.ts';
import { checkKey, checkNamespace } from '../../crdt/object-name.ts';
import type { Signer } from '../../crdt/signature.ts';
import {
  type AncestryLookup,
  type Content,
  checkLabels,
  draftVersion,
  signVersion,
  type Version,
  type VersionDraft,
  type VersionFields,
} from '../../crdt/version.ts';
import type { ControlLog } from '../control/control-log.ts';
import { whyMayNotWrite } from '../control/writer-rights.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv, KvReader, KvTransaction } from '../ports/kv.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { MergeInput, Outcome, PutInput, WriteTarget, WrittenVersion } from './api.ts';
import type { Confirmations } from './confirmation/confirmations.ts';
import type { ObjectKind } from './confirmation/object-kind.ts';
import type { ContentPlane, StagedContent } from './content/content-plane.ts';
import { soleChunkIn } from './content/small-content.ts';
import { EarlyProposal } from './early-proposal.ts';
import type { Incarnation } from './incarnation.ts';
import type { NodeIdentity } from './node-parts.ts';
import type { Appended, ObjectStore } from './object-store.ts';
import { refuse } from './refusals.ts';
import type { ObjectRow } from './rows.ts';
import type { TipFinder } from './tip-finder.ts';
import type { JournalEntry, VersionJournal } from './version-journal.ts';

/** Heads past which an object takes no blind writes until someone merges. */
const headsMax = 1_000;
const parentsMax = 256;
const defaultType = 'application/octet-stream';

interface Dependencies {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly signer: Signer;
  readonly objects: ObjectStore;
  readonly journal: VersionJournal;
  readonly incarnation: Incarnation;
  readonly content: Pick<ContentPlane, 'ingest' | 'keep' | 'want' | 'kick'>;
  readonly control: Pick<ControlLog, 'state'>;
  readonly tips: TipFinder;
  /** Notes in the write's transaction that others are to hold its content too. */
  readonly intend: (transaction: KvTransaction, version: Version) => void;
  /** Tells the mesh of a version once it is on disk, unless its proposal, which follows, does that. */
  readonly announce: (appended: Appended, isProposed: boolean) => void;
  /** That a version is in the store and about to be proposed, though it is not on disk yet. */
  readonly arrives: ObjectKind['wrote'];
  /** Has a version confirmed, and waits until it is or is not. */
  readonly settle: Confirmations['settle'];
}

/** What a new version holds, apart from its place in the graph. */
interface Payload {
  readonly content: Content | null;
  readonly type: string;
  readonly meta: Readonly<Record<string, string>>;
  /** The content's bytes, when they are few and were just taken in. */
  readonly small?: Uint8Array | undefined;
  /** Puts the content into the same transaction as the version. True when it is to be pulled yet. */
  keep(transaction: KvTransaction, version: Version): boolean;
}

/** A version in the store, in a transaction that is not on disk yet. */
interface Drafted {
  readonly entry: JournalEntry;
  readonly appended: Appended;
  readonly payload: Payload;
  /** Its content is to be pulled. */
  readonly isPulled: boolean;
}

/** A payload, or one that is known once the parents are: a merge adopts what one of them holds. */
type PayloadOf = (parents: readonly Version[]) => Outcome<Payload>;

/** Writes versions of objects: puts, tombstones and merges. */
export class ObjectWriter {
  readonly #dependencies: Dependencies;
  readonly #identity: NodeIdentity;
  readonly #cluster: ClusterId;

  constructor(dependencies: Dependencies, options: { readonly identity: NodeIdentity; readonly cluster: ClusterId }) {
    this.#dependencies = dependencies;
    this.#identity = options.identity;
    this.#cluster = options.cluster;
  }

  async put(input: PutInput): Promise<Outcome<WrittenVersion>> {
    const { content } = this.#dependencies;
    const labels = { type: input.type ?? defaultType, meta: input.meta ?? {} };
    const refused = checkName(input) ?? this.#refusal(input, labels);
    if (refused !== undefined) return refused;
    const staged = await this.#ingest(input);
    if (!staged.ok) return staged;
    const keep: Payload['keep'] = (transaction) => {
      content.keep(transaction, staged.value);
      return false;
    };
    let isKept = false;
    try {
      const { content: told, rows } = staged.value;
      const small = soleChunkIn(rows, told);
      const written = await this.#write(input, () => ok({ ...labels, content: told, small, keep }));
      isKept = written.ok;
      return written;
    } finally {
      staged.value.release(isKept);
    }
  }

  async delete(input: WriteTarget): Promise<Outcome<WrittenVersion>> {
    const refused = checkName(input);
    if (refused !== undefined) return refused;
    if (input.parents === undefined) {
      const row = this.#object(this.#dependencies.kv, input);
      if (row === undefined) return refuse('not_found', `there is no object ${input.ns}/${input.key} to delete`);
      if (row.heads.every((head) => head.kind === 'delete')) {
        const heads = row.heads.map((head) => head.id);
        return refuse('deleted', `${input.ns}/${input.key} is deleted already`, { heads });
      }
    }
    return this.#write(input, () => ok(tombstone));
  }

  async merge(input: MergeInput): Promise<Outcome<WrittenVersion>> {
    const refused = checkName(input);
    if (refused !== undefined) return refused;
    if (!isHash(input.pick)) return refuse('invalid_version', `'${input.pick}' is not a version id`);
    if (!input.parents.includes(input.pick)) {
      return refuse('invalid_request', 'pick must be one of the parents of the merge');
    }
    return this.#write(input, (parents) => {
      if (parents.length < 2) {
        return refuse('invalid_request', 'a merge names at least two parents of which none is an ancestor of another');
      }
      return this.#adopt(input.pick as VersionId);
    });
  }

  /** What can be refused before the content is taken in, so that nobody uploads for nothing. */
  #refusal(input: PutInput, labels: Pick<Payload, 'type' | 'meta'>): Refused | undefined {
    const { kv } = this.#dependencies;
    if (input.parents === undefined && this.#object(kv, input) === undefined) {
      const fault = checkLabels({ ...labels, author: input.author });
      return fault === undefined ? undefined : refuse('invalid_request', fault);
    }
    const drafted = this.#draft(kv, input, () => ok({ ...labels, ...unknownContent }));
    return drafted.ok ? undefined : drafted;
  }

  async #ingest(input: PutInput): Promise<Outcome<StagedContent>> {
    try {
      return ok(await this.#dependencies.content.ingest(input.body, input.ns, input.signal));
    } catch (error) {
      const code = error instanceof MeshError ? error.code : undefined;
      if (code === 'incomplete_body' || code === 'disk_full' || code === 'too_large') {
        return refuse(code, (error as MeshError).message);
      }
      throw error;
    }
  }

  /** The content of a version of this object; it may still be on its way here. */
  #adopt(pick: VersionId): Outcome<Payload> {
    const { kv, objects, content } = this.#dependencies;
    const picked = objects.version(kv, pick);
    if (picked === undefined) return refuse('unknown_parent', `version ${pick} is not here`);
    const adopted = picked.record.content;
    if (adopted === null) return ok(tombstone);
    const { type, meta, node } = picked.record;
    return ok({
      content: adopted,
      type,
      meta,
      keep: (transaction, version) => {
        const { ns, key } = version.record;
        return content.want(transaction, adopted, { ns, key, version: version.id, origin: node });
      },
    });
  }

  async #write(input: WriteTarget, payloadOf: PayloadOf): Promise<Outcome<WrittenVersion>> {
    const { kv, journal, content, announce, tips } = this.#dependencies;
    const proposal = input.commit === 'quorum' ? new EarlyProposal() : undefined;
    const committed = await this.#transact(kv, (transaction) => {
      const drafted = this.#append(transaction, input, payloadOf);
      if (drafted.ok && proposal !== undefined) this.#propose(proposal, drafted.value, input);
      return drafted;
    }).catch((error: unknown) => {
      proposal?.notStored(error);
      throw error;
    });
    if (!committed.ok) {
      proposal?.notStored(committed.error);
      return committed;
    }
    const { entry, appended, isPulled } = committed.value;
    const { doc, row, version } = appended;
    try {
      journal.publish(entry);
      announce(appended, proposal !== undefined);
      if (isPulled) content.kick();
      if (input.parents === undefined)
        tips.extended(doc, { author: input.author, change: row.change, tip: version.id });
    } finally {
      proposal?.stored();
    }
    return (await proposal?.outcome()) ?? ok(writtenVersion(appended));
  }

  #propose(proposal: EarlyProposal, { appended, payload }: Drafted, { signal }: WriteTarget): void {
    const { arrives, settle } = this.#dependencies;
    const { doc, version } = appended;
    proposal.begin((flushed) => {
      arrives(doc, version, payload.small, flushed);
      return settle(doc, writtenVersion(appended), { signal, flushed });
    });
  }

  async #transact<T>(kv: Kv, change: (transaction: KvTransaction) => Outcome<T>): Promise<Outcome<T>> {
    try {
      return await kv.transact(change);
    } catch (error) {
      if (error instanceof MeshError && error.code === 'disk_full') return refuse('disk_full', error.message);
      throw error;
    }
  }

  /** The whole of a write, within one transaction: nothing can come between reading the heads and adding to them. */
  #append(transaction: KvTransaction, input: WriteTarget, payloadOf: PayloadOf): Outcome<Drafted> {
    const { signer, journal, intend } = this.#dependencies;
    const drafted = this.#draft(transaction, input, payloadOf);
    if (!drafted.ok) return drafted;
    const version = signVersion(drafted.value.draft, signer, this.#cluster);
    const { payload } = drafted.value;
    const isPulled = payload.keep(transaction, version);
    intend(transaction, version);
    const entry = journal.append(transaction, [version]);
    const [appended] = entry.appended;
    if (appended === undefined) throw new Error('a write appended no version');
    return ok({ entry, appended, payload, isPulled });
  }

  #draft(
    reader: KvReader,
    input: WriteTarget,
    payloadOf: PayloadOf,
  ): Outcome<{ draft: VersionDraft; payload: Payload }> {
    const { objects, clock, incarnation, control } = this.#dependencies;
    const state = control.state();
    const refused = whyMayNotWrite(state, this.#identity);
    if (refused !== undefined) return refuse('not_permitted', refused);
    const doc = objects.documentId(input.ns, input.key);
    const row = objects.object(reader, doc);
    const parents = this.#parents(reader, { doc, row }, input);
    if (!parents.ok) return parents;
    const payload = payloadOf(parents.value);
    if (!payload.ok) return payload;
    const { content, type, meta } = payload.value;
    const fields: VersionFields = {
      ns: input.ns,
      key: input.key,
      kind: content === null ? 'delete' : 'put',
      dot: { actor: incarnation.actor, counter: this.#nextCounter(row) },
      content,
      type,
      meta,
      author: input.author,
      node: this.#identity.nodeId,
      time: clock.nowMs(),
      log: { seq: state.seq, hash: state.hash },
    };
    const draft = draftVersion(parents.value, fields, objects.ancestry(reader));
    if (draft.ok) return ok({ draft: draft.value, payload: payload.value });
    const { code, message } = draft.error;
    if (code === 'context_too_large') return refuse('context_too_large', `${input.ns}/${input.key}: ${message}`);
    return refuse('invalid_request', message);
  }

  /** The versions a write supersedes: those it names, less the ancestors of others among them, or else the tip. */
  #parents(
    reader: KvReader,
    { doc, row }: { readonly doc: DocId; readonly row: ObjectRow | undefined },
    input: WriteTarget,
  ): Outcome<Version[]> {
    const { tips } = this.#dependencies;
    if (input.parents !== undefined) return this.#namedParents(reader, doc, input, input.parents);
    if (row === undefined) return ok([]);
    if (row.heads.length > headsMax) {
      return refuse(
        'too_many_heads',
        `${input.ns}/${input.key} has ${row.heads.length} heads: merge some (at most ${parentsMax} at a time), or name the parents`,
        { heads: row.heads.length },
      );
    }
    const writer = { author: input.author, node: this.#identity.nodeId };
    const tip = this.#stored(reader, tips.find(reader, doc, row, writer), input);
    if (!tip.ok) return tip;
    return ok(tip.value === undefined ? [] : [tip.value]);
  }

  /** What follows a version cannot be written without its record, which has its context. */
  #stored(reader: KvReader, id: VersionId, { ns, key }: Pick<WriteTarget, 'ns' | 'key'>): Outcome<Version | undefined> {
    try {
      return ok(this.#dependencies.objects.version(reader, id));
    } catch (error) {
      if (!(error instanceof MeshError) || error.code !== 'corrupt') throw error;
      const message =
        `version ${id} of ${ns}/${key}, which this would supersede, has a damaged record on this node's disk, and nothing ` +
        'was stored. It is fetched again as soon as a node that has it is connected; until then only a version that is ' +
        'sound can be named as parent, which makes a branch';
      return refuse('damaged', message, { version: id });
    }
  }

  #namedParents(reader: KvReader, doc: DocId, input: WriteTarget, named: readonly string[]): Outcome<Version[]> {
    const { objects } = this.#dependencies;
    const ids = [...new Set(named)];
    if (ids.length === 0) return refuse('invalid_request', 'parents is empty: name a version, or leave it out');
    if (ids.length > parentsMax) return refuse('invalid_request', `at most ${parentsMax} parents can be named`);
    const versions: Version[] = [];
    for (const id of ids) {
      if (!isHash(id)) return refuse('invalid_version', `'${id}' is not a version id`);
      const stored = this.#stored(reader, id as VersionId, input);
      if (!stored.ok) return stored;
      const version = stored.value;
      if (version === undefined) return refuse('unknown_parent', `version ${id} is not known here`, { version: id });
      if (objects.documentId(version.record.ns, version.record.key) !== doc) {
        const { ns, key } = version.record;
        return refuse('foreign_parent', `version ${id} belongs to ${ns}/${key}`, { version: id });
      }
      versions.push(version);
    }
    return ok(withoutAncestors(versions, objects.ancestry(reader)));
  }

  #nextCounter(row: ObjectRow | undefined): number {
    if (row === undefined) return 1;
    const dots = decodeContext(row.dots);
    return contextMax(dots.ok ? dots.value : emptyContext, this.#dependencies.incarnation.actor) + 1;
  }

  #object(reader: KvReader, input: WriteTarget): ObjectRow | undefined {
    const { objects } = this.#dependencies;
    return objects.object(reader, objects.documentId(input.ns, input.key));
  }
}

type Refused = ReturnType<typeof refuse>;

const tombstone: Payload = { content: null, type: '', meta: {}, keep: () => false };

/** Stands for content that is not taken in yet; its place in a record is as long as any other's. */
const unknownContent: Pick<Payload, 'content' | 'keep'> = {
  content: { manifest: 'a'.repeat(hashTextLength) as BlobHash, size: Number.MAX_SAFE_INTEGER, b3: '0'.repeat(64) },
  keep: () => false,
};

function checkName({ ns, key }: WriteTarget): Refused | undefined {
  const badNamespace = checkNamespace(ns);
  if (badNamespace !== undefined) return refuse('invalid_namespace', badNamespace);
  const badKey = checkKey(key);
  return badKey === undefined ? undefined : refuse('invalid_key', badKey);
}

/** A parent that is an ancestor of another adds nothing: what remains is an antichain, as a record asks. */
function withoutAncestors(versions: readonly Version[], isAncestor: AncestryLookup): Version[] {
  return versions.filter(
    (elder) =>
      !versions.some(
        (version) =>
          version !== elder && contextHas(version.context, elder.record.dot) && isAncestor(elder.id, version.id),
      ),
  );
}

function writtenVersion({ version, headsAfter }: Appended): WrittenVersion {
  const { ns, key, kind, parents, generation, content } = version.record;
  return {
    ns,
    key,
    version: version.id,
    kind,
    state: 'provisional',
    parents,
    generation,
    size: content?.size ?? null,
    b3: content?.b3 ?? null,
    heads: headsAfter,
    conflict: headsAfter.length > 1,
  };
}
