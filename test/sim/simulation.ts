import type { BlobHash, DocId, VersionId } from '../../crdt/ids.ts';
import { documentId } from '../../crdt/object-document.ts';
import type { Version } from '../../crdt/version.ts';
import type { ObjectGraph, Outcome, WrittenVersion } from '../../src/node/api.ts';
import { certificateRows } from '../../src/node/confirmation/certificate-rows.ts';
import { completeKey } from '../../src/node/content/content-keys.ts';
import type { Node } from '../../src/node/mesh-node.ts';
import type { ObjectRow } from '../../src/node/rows.ts';
import { objectKey } from '../../src/node/storage-keys.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import { FaultyMesh } from './faulty-mesh.ts';
import type { Machine } from './machine.ts';
import { isContentIntact } from './soundness.ts';
import { Violation } from './violation.ts';

/** The namespace scripts write to. */
export const namespace = 'test';
/** Faults after which a coordinator may have forgotten votes, and gives no more: then there may be no majority left. */
const forgetting = ['rollBack', 'restoreBackup', 'cloneDirectory', 'wipe'] as const;
/** How often a waiting script looks whether everything has come to rest. */
const pollMs = 1_000;

/** What a client sends: text, or bytes in pieces. */
export type Body = string | readonly Uint8Array[];

/** Nodes, faults and the clients that call them: what scenarios are written in. */
export class Simulation extends FaultyMesh {
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

  node(name: string): Node {
    return this.process(name).node;
  }

  /** A write under way: not awaited, it goes on while other things happen. */
  put(
    name: string,
    key: string,
    body: Body,
    parents?: readonly string[],
    author = 'admin',
  ): Promise<Outcome<WrittenVersion>> {
    const pieces = typeof body === 'string' ? [Buffer.from(body)] : body;
    const target = { ns: namespace, key, author, body: pieces, ...(parents === undefined ? {} : { parents }) };
    return this.acknowledge(name, this.node(name).put(target), true);
  }

  /** Enters what a node acknowledges into the ledger, at the moment it does. */
  async acknowledge(
    name: string,
    answer: Promise<Outcome<WrittenVersion>>,
    ownContent = false,
  ): Promise<Outcome<WrittenVersion>> {
    const machine = this.get(name);
    const outcome = await answer;
    if (!outcome.ok) return outcome;
    const { version } = outcome.value;
    this.ledger.acknowledged.set(version, name);
    machine.owed.add(version);
    const known = this.library.get(version);
    if (known === undefined && this.isWatched)
      this.violate('no-loss', `${name} acknowledged ${version}, which it never stored`);
    const manifest = known?.version.record.content?.manifest;
    if (ownContent && manifest !== undefined) machine.owedContents.add(manifest);
    return outcome;
  }

  async readBytes(name: string, key: string, version?: string): Promise<Outcome<Uint8Array>> {
    const found = this.node(name).read({ ns: namespace, key, ...(version === undefined ? {} : { version }) });
    if (!found.ok) return found;
    const opened = await found.value.open();
    if (!opened.ok) return opened;
    const parts: Uint8Array[] = [];
    for await (const part of opened.value) parts.push(part);
    return { ok: true, value: Buffer.concat(parts) };
  }

  /**
   * Lets time pass until every node is up and holds all that any of them holds, contents too, and then asks the
   * checkers. More than `limitMs` of virtual time is a violation of its own: the mesh does not converge.
   */
  async runUntilQuiet(limitMs = 600_000): Promise<void> {
    const startMs = this.clock.monotonicMs();
    for (let rest = this.unrest(); rest !== undefined; rest = this.unrest()) {
      if (this.clock.monotonicMs() - startMs > limitMs) {
        throw new Violation('convergence', `after ${limitMs / 1_000} s without faults ${rest}`);
      }
      if (rest.includes('mended')) this.#readRotten();
      await this.advance(pollMs);
    }
    this.trace.note(`quiet after ${((this.clock.monotonicMs() - startMs) / 1_000).toFixed(0)} s`);
    await this.checkQuiet();
  }

  /** Why the mesh is not at rest; undefined when it is. */
  unrest(): string | undefined {
    const union = new Set<VersionId>();
    for (const machine of this.machines.values()) {
      if (!machine.isUp) return `${machine.name} is not up`;
      for (const id of machine.holdings.ids()) union.add(id);
    }
    for (const machine of this.machines.values()) {
      if (machine.holdings.size < union.size) {
        return `${machine.name} holds ${machine.holdings.size} of ${union.size} versions`;
      }
    }
    return this.#missingContent(union) ?? this.#damagedObject() ?? this.#missingCertificate() ?? this.#unconfirmed();
  }

  /** Certificates spread as versions do. */
  #missingCertificate(): string | undefined {
    for (const doc of new Set(Array.from(this.library.all(), (known) => known.doc))) {
      const positions = [...this.machines.values()].map(({ name, kv }) => {
        return { name, position: certificateRows.get(kv, doc)?.latest.statement.position ?? 0 };
      });
      const highest = Math.max(...positions.map(({ position }) => position));
      const behind = positions.find(({ position }) => position < highest);
      if (behind !== undefined) return `${behind.name} knows position ${behind.position} of ${highest} of ${doc}`;
    }
    return undefined;
  }

  /** What nodes wrote is confirmed by itself, while the coordinators have not lost their memory. */
  #unconfirmed(): string | undefined {
    if (forgetting.some((fault) => this.faults.has(fault))) return undefined;
    const writers = new Set([...this.machines.values()].map(({ member }) => member.nodeId));
    const [first] = this.machines.values();
    if (first === undefined) return undefined;
    for (const doc of first.holdings.docs()) {
      const row = JSON.parse(Buffer.from(first.kv.get(objectKey(doc)) ?? '{}').toString('utf8')) as Partial<ObjectRow>;
      const isOurs = row.heads?.some(({ node }) => writers.has(node)) === true;
      if (isOurs && row.confirmed === undefined) return `nothing of ${row.ns}/${row.key} is confirmed`;
    }
    return undefined;
  }

  /** Looks at every object through every node, which is how a node comes upon a rotten record. */
  #damagedObject(): string | undefined {
    const names = new Map<string, { ns: string; key: string }>();
    for (const { version, doc } of this.library.all()) names.set(doc, version.record);
    for (const machine of this.machines.values()) {
      for (const doc of machine.holdings.docs()) {
        const { ns, key } = names.get(doc) as { ns: string; key: string };
        try {
          machine.process?.node.graph({ ns, key });
        } catch (error) {
          if (!(error instanceof MeshError) || error.code !== 'corrupt') throw error;
          return `${machine.name} has a damaged record of ${ns}/${key}`;
        }
      }
    }
    return undefined;
  }

  #missingContent(union: ReadonlySet<VersionId>): string | undefined {
    const manifests = new Set<BlobHash>();
    for (const id of union) {
      const content = this.library.get(id)?.version.record.content;
      if (content && !this.ledger.excusedContents.has(content.manifest)) manifests.add(content.manifest);
    }
    for (const machine of this.machines.values()) {
      for (const manifest of manifests) {
        if (machine.kv.get(completeKey(manifest)) === undefined) return `${machine.name} waits for content ${manifest}`;
      }
    }
    return this.#rottenContents(union)
      .map(({ machine, manifest }) => `${machine.name} has not mended content ${manifest}`)
      .at(0);
  }

  /** Contents that a node believes to have whole, and has not. */
  #rottenContents(ids: Iterable<VersionId>): { machine: Machine; version: Version; manifest: BlobHash }[] {
    const rotten: { machine: Machine; version: Version; manifest: BlobHash }[] = [];
    for (const id of ids) {
      const version = this.library.get(id)?.version;
      const manifest = version?.record.content?.manifest;
      if (version === undefined || manifest === undefined || this.ledger.excusedContents.has(manifest)) continue;
      for (const machine of this.machines.values()) {
        if (machine.kv.get(completeKey(manifest)) === undefined) continue;
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

/** The value of an outcome that must not be a refusal. */
export function unwrap<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new Error(`refused: ${outcome.error.code}: ${outcome.error.message}`);
  return outcome.value;
}
