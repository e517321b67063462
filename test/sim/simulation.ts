import type { BlobHash, DocId, VersionId } from '../../crdt/ids.ts';
import { documentId } from '../../crdt/object-document.ts';
import type { Version } from '../../crdt/version.ts';
import type {
  AskedOperation,
  CommitMode,
  CommittedChange,
  ObjectGraph,
  Outcome,
  Refusal,
  WrittenVersion,
} from '../../src/node/api.ts';
import type { Node } from '../../src/node/mesh-node.ts';
import type { ObjectRow } from '../../src/node/rows.ts';
import { listingKey, objectKey, versionKey } from '../../src/node/storage-keys.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import { ControlHistory } from './checkers/control-history.ts';
import { strangeness } from './checkers/membership.ts';
import { isCertifiedOn } from './checkers/quorum-writes.ts';
import { unsettledReplicas } from './checkers/replicas.ts';
import { FaultyMesh } from './faulty-mesh.ts';
import type { Holdings } from './holdings.ts';
import type { Machine, Process } from './machine.ts';
import { certificateRoom, certificatesOf, parsedRow } from './parsed-rows.ts';
import { RoomMemo, roomsOf } from './room-memo.ts';
import { isContentIntact, isVersionIntact } from './soundness.ts';
import { Violation } from './violation.ts';

/** The namespace scripts write to. */
export const namespace = 'test';
/** The rooms of objects' rows and of versions' texts, and those that tell what of an object is confirmed. */
const anyHash = 'a'.repeat(52);
const objectRoom = objectKey(anyHash as DocId)[0] as number;
const versionRoom = versionKey(anyHash as VersionId)[0] as number;
const graphRooms = roomsOf(objectRoom, versionRoom);
const confirmationRooms = roomsOf(objectRoom, certificateRoom);
/** How often a waiting script looks whether everything has come to rest. */
const pollMs = 1_000;

/** What a client sends: text, or bytes in pieces. */
export type Body = string | readonly Uint8Array[];

export interface WriteOptions {
  readonly author?: string;
  readonly commit?: CommitMode;
}

/** Nodes, faults and the clients that call them: what scenarios are written in. */
export class Simulation extends FaultyMesh {
  /** Processes that have read every record of theirs, and found all sound. */
  readonly #readAll = new RoomMemo<Process, true>(graphRooms);
  /** Machines on whose disk every record is sound. */
  readonly #allSound = new RoomMemo<Holdings, true>(roomsOf(versionRoom));
  /** How far each object is confirmed, by machine. */
  readonly #lastLinks = new RoomMemo<Machine, Map<DocId, string>>(confirmationRooms);

  /** Starts nodes, all of them when none is named, and lets them connect. */
  async startAll(names: readonly string[] = [...this.machines.keys()]): Promise<void> {
    for (const name of names) await this.run(this.starting(name));
  }

  /** Starts a node on what its disk kept. */
  restart(name: string): Promise<void> {
    return this.run(this.starting(name));
  }

  /** Stops a node in good order. */
  stop(name: string): Promise<void> {
    return this.run(this.stopping(name));
  }

  /** Writes through a node, which must acknowledge it. */
  async write(name: string, key: string, body: Body, parents?: readonly string[]): Promise<WrittenVersion> {
    return unwrap(await this.run(this.put(name, key, body, parents)));
  }

  async remove(name: string, key: string, parents?: readonly string[]): Promise<WrittenVersion> {
    const target = { ns: namespace, key, author: 'admin', ...(parents === undefined ? {} : { parents }) };
    return unwrap(await this.run(this.acknowledge(name, this.node(name).delete(target))));
  }

  /** Merges all of a key's heads at a node, keeping the content of one. */
  async merge(name: string, key: string, pick?: string): Promise<WrittenVersion> {
    const { heads, preferred } = this.graphOf(name, key);
    const input = { ns: namespace, key, parents: heads, pick: pick ?? preferred, author: 'admin' };
    return unwrap(await this.run(this.acknowledge(name, this.node(name).merge(input))));
  }

  /** Reads a key's preferred head, or one version, to its end. */
  async read(name: string, key: string, version?: string): Promise<string> {
    const read = this.readBytes(name, key, version);
    return Buffer.from(unwrap(await this.run(read))).toString('utf8');
  }

  graphOf(name: string, key: string): ObjectGraph {
    return unwrap(this.node(name).graph({ ns: namespace, key }));
  }

  headsOf(name: string, key: string): readonly VersionId[] {
    const graph = this.node(name).graph({ ns: namespace, key });
    return graph.ok ? graph.value.heads : [];
  }

  documentOf(key: string): DocId {
    return documentId(this.cluster, namespace, key);
  }

  /** The keys that a listing shows, by what the holders of each have. */
  listedKeys(): string[] {
    const keys = new Set<string>();
    for (const { version, doc } of this.library.all()) {
      const [holder] = this.holdersOf(doc);
      const { ns, key } = version.record;
      if (ns === namespace && holder?.kv.get(listingKey(ns, key)) !== undefined) keys.add(key);
    }
    return [...keys].sort((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right)));
  }

  node(name: string): Node {
    return this.process(name).node;
  }

  /** A write under way: not awaited, it goes on while other things happen. */
  put(
    name: string,
    key: string,
    body: Body,
    parents?: readonly string[],
    { author = 'admin', commit = 'local' }: WriteOptions = {},
  ): Promise<Outcome<WrittenVersion>> {
    const pieces = typeof body === 'string' ? [Buffer.from(body)] : body;
    const target = { ns: namespace, key, author, commit, body: pieces, ...(parents === undefined ? {} : { parents }) };
    // While it is being confirmed a node may give up content that is not placed on it.
    return this.acknowledge(name, this.node(name).put(target), { commit, ownContent: commit === 'local' });
  }

  /** Enters what a node acknowledges into the ledger, at the moment it does. */
  async acknowledge(
    name: string,
    answer: Promise<Outcome<WrittenVersion>>,
    { commit = 'local', ownContent = false }: { readonly commit?: CommitMode; readonly ownContent?: boolean } = {},
  ): Promise<Outcome<WrittenVersion>> {
    const machine = this.get(name);
    const outcome = await answer;
    const version = outcome.ok ? outcome.value.version : storedAllTheSame(outcome.error);
    if (version === undefined) return outcome;
    if (!outcome.ok && commit === 'local')
      this.violate('quorum-writes', `${name} had ${version} wait to be confirmed, which nobody had asked for`);
    this.ledger.acknowledged.set(version, name);
    machine.owed.add(version);
    const known = this.library.get(version);
    if (known === undefined && this.isWatched)
      this.violate('no-loss', `${name} acknowledged ${version}, which it never stored`);
    if (outcome.ok && commit === 'quorum' && outcome.value.state !== 'confirmed')
      this.violate('quorum-writes', `${name} did not wait until ${version} is confirmed`);
    if (outcome.ok && outcome.value.state === 'confirmed') {
      this.ledger.confirmed.add(version);
      if (known !== undefined && this.isWatched && !isCertifiedOn(machine, known, this.library))
        this.violate('quorum-writes', `${name} called ${version} confirmed, and has no certificate of it`);
    }
    const manifest = known?.version.record.content?.manifest;
    if (ownContent && manifest !== undefined) machine.owedContents.add(manifest);
    return outcome;
  }

  /** Changes the cluster through a node, and enters into the ledger what that answers; not awaited, it goes on. */
  async change(through: string, operation: AskedOperation): Promise<Outcome<CommittedChange>> {
    const outcome = await this.node(through).cluster.change({ operation, actor: 'operator' });
    const { changes } = this.ledger;
    if (outcome.ok) {
      const { seq, hash } = outcome.value;
      changes.push({ operationId: outcome.value.operationId, through, committed: { seq, hash } });
      return outcome;
    }
    const { code, detail } = outcome.error;
    const id = String(detail?.operationId);
    changes.push({ operationId: id, through, ...(code === 'unknown_outcome' ? {} : { refused: code }) });
    return outcome;
  }

  /** Reads a version to its end; any node has it, from its own disk or through those that hold it. */
  async readBytes(name: string, key: string, version?: string): Promise<Outcome<Uint8Array>> {
    const input = { ns: namespace, key, ...(version === undefined ? {} : { version }) };
    const node = this.node(name);
    const bringing = node.bring(input);
    if (bringing !== undefined) await bringing;
    const found = node.read(input);
    if (!found.ok) return found;
    const opened = await found.value.open();
    if (!opened.ok) return opened;
    const parts: Uint8Array[] = [];
    for await (const part of opened.value) parts.push(part);
    const bytes = Buffer.concat(parts);
    this.served(this.get(name), found.value.version, bytes);
    return { ok: true, value: bytes };
  }

  /**
   * Lets time pass until every node is up, holds all versions that any of them holds and the contents that are placed
   * on it, and knows of the others' copies, and then asks the checkers. More than `limitMs` of virtual time is a violation of its own: the mesh does not converge.
   * Excepted are two control logs, which a majority of forgetful coordinators can make: their sides grow apart, see docs/consistency.md.
   */
  async runUntilQuiet(limitMs = 600_000): Promise<void> {
    const startMs = this.clock.monotonicMs();
    for (let rest = this.unrest(); rest !== undefined; rest = this.unrest()) {
      if (this.clock.monotonicMs() - startMs > limitMs) {
        if (ControlHistory.of(this).isForked) return this.trace.note(`two control logs: ${rest}`);
        throw new Violation('convergence', `after ${limitMs / 1_000} s without faults ${rest}`);
      }
      if (rest.includes('mended')) this.#readRotten();
      for (const name of rest.includes('remembers') ? this.#withHiddenRot() : []) {
        await this.stop(name);
        await this.restart(name);
      }
      await this.advance(pollMs);
    }
    this.trace.note(`quiet after ${((this.clock.monotonicMs() - startMs) / 1_000).toFixed(0)} s`);
    await this.checkQuiet();
  }

  /** Why the mesh is not at rest; undefined when it is. */
  unrest(): string | undefined {
    return this.placements.atOnce(() => this.#unrest());
  }

  #unrest(): string | undefined {
    const union = new Set<VersionId>();
    for (const machine of this.machines.values()) {
      if (!machine.isUp) return `${machine.name} is not up`;
      for (const id of machine.holdings.ids()) union.add(id);
    }
    return (
      this.#missingVersion(union) ??
      this.placements.unsettled() ??
      // Before contents: whoever is restarted for a record waits from then on for the others to be missed.
      this.#damagedObject() ??
      this.#hiddenRot() ??
      this.#missingContent(union) ??
      this.#missingCertificate() ??
      this.#unconfirmed() ??
      strangeness([...this.machines.values()]) ??
      unsettledReplicas(this)
    );
  }

  /** Every holder of a version's slot has it: every node, where slots are not placed. */
  #missingVersion(union: ReadonlySet<VersionId>): string | undefined {
    if (!this.isPlaced) {
      const behind = [...this.machines.values()].find(({ holdings }) => holdings.size < union.size);
      return behind && `${behind.name} holds ${behind.holdings.size} of ${union.size} versions`;
    }
    for (const id of union) {
      const known = this.library.get(id);
      const behind = known && this.holdersOf(known.doc).find(({ holdings }) => !holdings.has(id));
      if (behind !== undefined) return `${behind.name} lacks version ${id} of a slot that it holds`;
    }
    return undefined;
  }

  /** Certificates spread as versions do, and where a position has two, all nodes choose the same. */
  #missingCertificate(): string | undefined {
    for (const doc of new Set(Array.from(this.library.all(), (known) => known.doc))) {
      const [first, ...others] = this.holdersOf(doc);
      if (first === undefined) continue;
      const expected = this.#lastLink(first, doc);
      const other = others.find((machine) => this.#lastLink(machine, doc) !== expected);
      if (other !== undefined) {
        return `${first.name} knows ${expected} of ${doc} and ${other.name} ${this.#lastLink(other, doc)}`;
      }
    }
    return undefined;
  }

  #lastLink(machine: Machine, doc: DocId): string {
    const { kv } = machine;
    const links = this.#lastLinks.get(machine, kv) ?? this.#lastLinks.note(machine, kv, new Map());
    const link = links.get(doc) ?? lastLink(machine, doc);
    links.set(doc, link);
    return link;
  }

  /** What nodes wrote is confirmed by itself, while a majority of the coordinators has not lost its memory. */
  #unconfirmed(): string | undefined {
    if (!this.#hasVoters()) return undefined;
    const writers = new Set([...this.machines.values()].map(({ member }) => member.nodeId));
    for (const doc of new Set(Array.from(this.library.all(), (known) => known.doc))) {
      const [first] = this.holdersOf(doc);
      if (first === undefined || first.holdings.versionsOf(doc).size === 0) continue;
      const row = parsedRow<ObjectRow>(first.kv, objectKey(doc));
      // What is confirmed by itself has copies; of a content that is nowhere, or can be in too few places, there are none.
      const isOurs =
        row?.heads.some(
          ({ id, node, size }) =>
            writers.has(node) && !this.#isExcused(id) && (size === null || this.placements.canBeBacked(row)),
        ) === true;
      if (isOurs && row.confirmed === undefined) return `nothing of ${row.ns}/${row.key} is confirmed`;
    }
    return undefined;
  }

  /** Whoever has another disk may have forgotten votes, and gives no more: of an epoch and of the one carried into it, most have not. */
  #hasVoters(): boolean {
    const history = ControlHistory.of(this);
    if (history.isForked) return false;
    const { epoch } = history.state;
    return [epoch, epoch - 1].every((each) => {
      const voters = history.votersOf(each) ?? [];
      const forgetful = [...this.machines.values()].filter(
        ({ hadAnotherDisk, member }) => hadAnotherDisk && voters.some(({ nodeId }) => nodeId === member.nodeId),
      );
      return voters.length === 0 || forgetful.length * 2 < voters.length;
    });
  }

  #isExcused(id: VersionId): boolean {
    const manifest = this.library.get(id)?.version.record.content?.manifest;
    return manifest !== undefined && this.ledger.excusedContents.has(manifest);
  }

  /** Looks at every object through every node, which is how a node comes upon a rotten record. */
  #damagedObject(): string | undefined {
    const names = new Map<string, { ns: string; key: string }>();
    for (const { version, doc } of this.library.all()) names.set(doc, version.record);
    for (const { name, process, holdings, kv } of this.machines.values()) {
      if (process === undefined || this.#readAll.get(process, kv)) continue;
      for (const doc of holdings.docs()) {
        const { ns, key } = names.get(doc) as { ns: string; key: string };
        try {
          process.node.graph({ ns, key });
        } catch (error) {
          if (!(error instanceof MeshError) || error.code !== 'corrupt') throw error;
          return `${name} has a damaged record of ${ns}/${key}`;
        }
      }
      this.#readAll.note(process, kv, true);
    }
    return undefined;
  }

  /** A running node does not come upon a record that rots on its disk while it remembers it: its next start does. */
  #hiddenRot(): string | undefined {
    const [name] = this.#withHiddenRot();
    return name === undefined ? undefined : `${name} remembers a record that is rotten on its disk`;
  }

  #withHiddenRot(): string[] {
    if (!this.faults.has('rotRecord')) return [];
    return [...this.machines.values()].filter((machine) => this.#hasRot(machine)).map(({ name }) => name);
  }

  #hasRot(machine: Machine): boolean {
    const { holdings, kv } = machine;
    if (this.#allSound.get(holdings, kv)) return false;
    for (const id of holdings.ids()) if (!isVersionIntact(machine, id, 'now')) return true;
    this.#allSound.note(holdings, kv, true);
    return false;
  }

  #missingContent(union: ReadonlySet<VersionId>): string | undefined {
    for (const id of union) {
      const record = this.library.get(id)?.version.record;
      const manifest = record?.content?.manifest;
      if (record === undefined || manifest === undefined || this.ledger.excusedContents.has(manifest)) continue;
      const lacking = this.contentHoldersOf(record).find(({ contents }) => !contents.has(manifest));
      if (lacking !== undefined) return `${lacking.name} waits for content ${manifest} of ${record.key}`;
    }
    return this.#rottenContents(union)
      .map(({ machine, manifest }) => `${machine.name} has not mended content ${manifest}`)
      .at(0);
  }

  /** Contents that a node believes to have whole, and has not: those that rotted. Of any other the checkers tell. */
  #rottenContents(ids: Iterable<VersionId>): { machine: Machine; version: Version; manifest: BlobHash }[] {
    const rotten: { machine: Machine; version: Version; manifest: BlobHash }[] = [];
    const spoiled = [...this.machines.values()].filter(({ spoiledContents }) => spoiledContents.size > 0);
    for (const id of spoiled.length === 0 ? [] : ids) {
      const version = this.library.get(id)?.version;
      const manifest = version?.record.content?.manifest;
      if (version === undefined || manifest === undefined || this.ledger.excusedContents.has(manifest)) continue;
      for (const machine of spoiled) {
        if (!machine.spoiledContents.has(manifest) || !machine.contents.has(manifest)) continue;
        if (!isContentIntact(machine, manifest, 'now')) rotten.push({ machine, version, manifest });
      }
    }
    return rotten;
  }

  /** A node comes upon rotten bytes when somebody reads them. */
  #readRotten(): void {
    const ids = Array.from(this.library.all(), ({ version }) => version.id);
    for (const { machine, version } of this.#rottenContents(ids)) {
      if (!machine.isUp) continue;
      this.readBytes(machine.name, version.record.key, version.id).catch(() => undefined);
    }
  }
}

/** The version of a write that waited to be confirmed, was not, and is stored. */
function storedAllTheSame({ code, detail }: Refusal): VersionId | undefined {
  if (code !== 'not_a_descendant' && code !== 'quorum_unavailable') return undefined;
  return detail?.version as VersionId | undefined;
}

/** The end of an object's confirmed chain as a node knows it, and which head it calls confirmed. */
function lastLink({ kv }: Machine, doc: DocId): string {
  const statement = certificatesOf(kv, doc)?.latest.statement;
  if (statement === undefined) return 'no position';
  const confirmed = parsedRow<ObjectRow>(kv, objectKey(doc))?.confirmed?.id;
  return `position ${statement.position} with head ${statement.head}, ${confirmed} confirmed`;
}

/** The value of an outcome that must not be a refusal. */
export function unwrap<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new Error(`refused: ${outcome.error.code}: ${outcome.error.message}`);
  return outcome.value;
}
