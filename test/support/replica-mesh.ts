import { defaultChunking } from '../../crdt/chunking.ts';
import type { NamespacePolicy } from '../../crdt/control/namespace-policy.ts';
import { placementNodes } from '../../crdt/control/placement-nodes.ts';
import type { ControlState } from '../../crdt/control/state.ts';
import { blake3, blobHashOf, toBase32, toHex } from '../../crdt/digest.ts';
import type { BlobHash, DocId, NodeId, PeerId, VersionId } from '../../crdt/ids.ts';
import { buildManifest } from '../../crdt/manifest.ts';
import type { Content } from '../../crdt/version.ts';
import { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../src/adapters/memory/metrics.ts';
import { MemoryHub, type MemoryNetwork } from '../../src/adapters/memory/network.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { heldAfter } from '../../src/node/content/held-contents.ts';
import { PullJobs } from '../../src/node/content/pull-jobs.ts';
import type { KvReader, KvTransaction } from '../../src/ports/kv.ts';
import type { NodeLiveness } from '../../src/replication/absences.ts';
import type { WantedContent } from '../../src/replication/order-taker.ts';
import { type FalseProof, type ReplicatedContent, Replication } from '../../src/replication/replication.ts';
import type { Subject } from '../../src/replication/subject.ts';
import type { SubjectRecord, VersionSource } from '../../src/replication/subject-index.ts';
import type { UnprovedCopy } from '../../src/replication/unproved-copies.ts';
import { memberOf, TestLog } from './control-log.ts';

const patienceMs = 3_600_000;
/** How long a pull takes in virtual time. */
const pullMs = 20;
/** Chunks of the contents that tests write. */
const chunkBytes = 256 * 1024;

export interface ReplicaMeshOptions {
  /** Names to labels, the coordinators first. */
  readonly nodes: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly coordinators?: readonly string[];
  /** Those that hold content; all when absent. */
  readonly storage?: readonly string[];
  readonly policy?: NamespacePolicy;
  readonly repairDelayMs?: number;
}

/** A node that was not heard of for longer is in doubt. */
const doubtfulMs = 15_000;

/** A version that was written, and the bytes of it. */
export interface WrittenContent extends Subject {
  readonly content: Content;
  readonly origin: NodeId;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly parents: readonly VersionId[];
  readonly blobs: ReadonlyMap<BlobHash, Uint8Array>;
}

/** The versions a node knows, in the order in which it came to know them. */
class KnownVersions implements VersionSource {
  readonly #docs: DocId[] = [];
  readonly #versions = new Map<VersionId, WrittenContent>();
  readonly damaged = new Set<VersionId>();

  add(written: WrittenContent): void {
    if (this.#versions.has(written.version)) return;
    this.#versions.set(written.version, written);
    this.#docs.push(written.doc);
  }

  changedAfter(_reader: KvReader, change: number, limit: number): { doc: DocId; change: number }[] {
    return this.#docs.slice(change, change + limit).map((doc, at) => ({ doc, change: change + at + 1 }));
  }

  headsOf(_reader: KvReader, doc: DocId): VersionId[] {
    const all = [...this.#versions.values()].filter((written) => written.doc === doc);
    return all
      .filter(({ version }) => !all.some(({ parents }) => parents.includes(version)))
      .map(({ version }) => version);
  }

  record(_reader: KvReader, version: VersionId): SubjectRecord | undefined {
    const known = this.#versions.get(version);
    if (known === undefined || this.damaged.has(version)) return undefined;
    const { ns, key, parents, content, origin, time } = known;
    return { ns, key, parents, generation: this.#generation(known), content, node: origin, time };
  }

  #generation({ parents }: WrittenContent): number {
    return 1 + Math.max(0, ...parents.map((parent) => this.#generation(this.#versions.get(parent) as WrittenContent)));
  }
}

/** Contents on a node's disk: the markers as the content plane has them, the blobs in memory. */
export class TestContents implements ReplicatedContent {
  readonly blobs = new Map<BlobHash, Uint8Array>();
  readonly wanted: string[] = [];
  readonly drops: BlobHash[] = [];
  jobs: PullJobs;
  readonly #node: ReplicaNode;
  /** Called for each content that is to be pulled; tests hold pulls back by it. */
  mayPull: (manifest: BlobHash) => boolean = () => true;

  constructor(node: ReplicaNode) {
    this.#node = node;
    this.jobs = this.#makeJobs();
  }

  /** After a restart, when there is another store and another inventory. */
  reopen(): void {
    this.jobs = this.#makeJobs();
  }

  #makeJobs(): PullJobs {
    const { kv, log } = this.#node;
    const inventory = {
      completed: (transaction: KvTransaction, manifest: BlobHash, sizeBytes: number) =>
        this.#node.replication.inventory.completed(transaction, manifest, sizeBytes),
      gone: (transaction: KvTransaction, manifest: BlobHash) =>
        this.#node.replication.inventory.gone(transaction, manifest),
    };
    return new PullJobs({ kv, log, inventory });
  }

  sizeOf(reader: KvReader, manifest: BlobHash): number | undefined {
    return this.jobs.completeSize(reader, manifest);
  }

  /** A copy, which is of no use to anybody once it was given back. */
  lend(hash: BlobHash): Uint8Array | undefined {
    const bytes = this.blobs.get(hash);
    return bytes !== undefined && blobHashOf(bytes) === hash ? bytes.slice() : undefined;
  }

  giveBack(bytes: Uint8Array): void {
    bytes.fill(0xff);
  }

  heldAfter(reader: KvReader, after: BlobHash | undefined, limit: number): ReturnType<typeof heldAfter> {
    return heldAfter(this.jobs, reader, after, limit);
  }

  async want(wanted: readonly WantedContent[]): Promise<void> {
    for (const { content, subject } of wanted) {
      if (this.sizeOf(this.#node.kv, content.manifest) !== undefined) continue;
      this.wanted.push(`${subject.ns}/${subject.key}`);
      this.#pull(content);
    }
  }

  drop(transaction: KvTransaction, manifest: BlobHash): 'dropped' | 'leased' | 'absent' {
    if (this.#node.replication.leases.isBound(manifest)) return 'leased';
    if (!this.jobs.drop(transaction, manifest)) return 'absent';
    this.drops.push(manifest);
    return 'dropped';
  }

  async fetchFrom(peer: PeerId, hash: BlobHash): Promise<Uint8Array | undefined> {
    const bytes = this.#node.mesh.byPeer(peer)?.contents.blobs.get(hash);
    return bytes !== undefined && blobHashOf(bytes) === hash ? bytes : undefined;
  }

  dropped(): void {}

  fetchedUntilMs(): undefined {}

  reconsider(): void {}

  /** Stores a content in one transaction, with whatever else belongs to it. */
  keep(transaction: KvTransaction, { manifest, sizeBytes, blobs }: WrittenContent): void {
    for (const [hash, bytes] of blobs) this.blobs.set(hash, bytes);
    this.jobs.markComplete(transaction, manifest, sizeBytes);
  }

  #pull(content: Content): void {
    const { mesh, kv } = this.#node;
    mesh.clock.setTimer(pullMs, () => {
      const written = mesh.written.find(({ manifest }) => manifest === content.manifest);
      const source = mesh.nodes.find(
        (other) =>
          other.isUp && other !== this.#node && other.contents.sizeOf(other.kv, content.manifest) !== undefined,
      );
      if (!this.#node.isUp) return;
      if (written === undefined || source === undefined || !this.mayPull(content.manifest)) this.#pull(content);
      else kv.transact((transaction) => this.keep(transaction, written)).catch(() => undefined);
    });
  }
}

/** One node with replication and what stands in for the rest of a node. */
export class ReplicaNode {
  readonly name: string;
  readonly mesh: ReplicaMesh;
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  readonly versions = new KnownVersions();
  readonly log = new MemoryLog();
  readonly falseProofs: FalseProof[] = [];
  readonly unproved: UnprovedCopy[] = [];
  metrics = new MemoryMetrics();
  kv: MemoryKv;
  network: MemoryNetwork;
  replication: Replication;
  readonly contents: TestContents;
  incarnation = 1;
  isUp = false;

  constructor(mesh: ReplicaMesh, name: string) {
    this.mesh = mesh;
    this.name = name;
    const { nodeId, peerId } = memberOf(name);
    this.nodeId = nodeId;
    this.peerId = peerId;
    this.kv = new MemoryKv(mesh.clock, { name, flushDelayMs: 1 });
    this.network = mesh.hub.join(peerId);
    this.contents = new TestContents(this);
    this.replication = this.#make();
  }

  #make(): Replication {
    const { mesh, network, kv, log, metrics, contents, versions, name } = this;
    return new Replication(
      {
        network,
        clock: mesh.clock,
        random: new SeededRandom(`${name} ${this.incarnation}`),
        kv,
        log,
        metrics,
        content: contents,
        versions,
        liveness: mesh.livenessOf(this),
        state: () => mesh.states.at(-1) as ControlState,
        stateAt: (seq) => mesh.states[seq],
        nodesOf: placementNodes,
        slotOf: (doc) => (doc.codePointAt(0) ?? 0) % 16,
        bring: () => undefined,
        freeBytesOf: () => undefined,
        onFalseProof: (caught) => this.falseProofs.push(caught),
        onUnproved: (copy) => this.unproved.push(copy),
      },
      { self: this.nodeId, repairDelayMs: mesh.repairDelayMs, followEveryMs: 1_000 },
    );
  }

  async start(): Promise<void> {
    await this.mesh.clock.run(this.replication.start(), patienceMs);
    await this.network.start();
    this.isUp = true;
    this.mesh.changedLiveness(this);
  }

  async stop(): Promise<void> {
    this.isUp = false;
    await this.mesh.clock.run(this.replication.stop(), patienceMs);
    await this.network.stop();
    this.mesh.changedLiveness(this);
  }

  /** Power fails; what was not flushed may be lost. */
  crash(): void {
    this.isUp = false;
    this.network.crash();
    this.kv = this.kv.crash(new SeededRandom(`crash ${this.name} ${this.incarnation}`));
    this.mesh.changedLiveness(this);
  }

  /** Starts again on its disk, or on an empty one. */
  async restart({ isWiped = false, isClean = false } = {}): Promise<void> {
    if (!isClean) this.incarnation += 1;
    if (isWiped) {
      this.kv = new MemoryKv(this.mesh.clock, { name: this.name, flushDelayMs: 1 });
      this.contents.blobs.clear();
    } else if (isClean) this.kv = this.kv.reopen();
    this.metrics = new MemoryMetrics();
    this.network = this.mesh.hub.join(this.peerId);
    this.contents.reopen();
    this.replication = this.#make();
    await this.start();
  }

  holds({ manifest }: Pick<Subject, 'manifest'>): boolean {
    return this.contents.sizeOf(this.kv, manifest) !== undefined;
  }
}

/** Five nodes in three places, three of them coordinators. */
export const fiveNodes: ReplicaMeshOptions = {
  nodes: { north: { dc: 'a' }, east: { dc: 'a' }, south: { dc: 'b' }, west: { dc: 'b' }, home: { dc: 'c' } },
  coordinators: ['north', 'east', 'south'],
  policy: { replicas: 3, diversity: { dc: 2 } },
  repairDelayMs: 60_000,
};

/** Replication on several nodes of one virtual clock: scenarios read as scripts. */
export class ReplicaMesh {
  readonly clock = new VirtualClock();
  readonly hub = new MemoryHub({ clock: this.clock });
  readonly control: TestLog;
  readonly states: ControlState[];
  readonly nodes: ReplicaNode[] = [];
  readonly written: WrittenContent[] = [];
  readonly repairDelayMs: number;
  /** How long nothing was heard of nodes, in the eyes of all, though their connections stand. */
  readonly silentMs = new Map<NodeId, number>();
  readonly #downSinceMs = new Map<ReplicaNode, number>();
  readonly #listeners = new Map<ReplicaNode, Set<() => void>>();

  constructor({
    nodes,
    coordinators = Object.keys(nodes).slice(0, 1),
    storage,
    policy,
    repairDelayMs,
  }: ReplicaMeshOptions) {
    this.repairDelayMs = repairDelayMs ?? 600_000;
    this.control = new TestLog(
      Object.entries(nodes).map(([name, labels]) => {
        const isStorage = storage?.includes(name) ?? true;
        const roles = [
          ...(coordinators.includes(name) ? (['coordinator'] as const) : []),
          ...(isStorage ? (['storage'] as const) : []),
        ];
        return memberOf(name, roles.length === 0 ? ['agent'] : roles, { labels });
      }),
    );
    this.states = [this.control.state];
    if (policy !== undefined) this.change(() => this.control.add({ type: 'namespace', ns: 'docs', policy }));
    for (const name of Object.keys(nodes)) this.nodes.push(new ReplicaNode(this, name));
  }

  static async start(options: ReplicaMeshOptions): Promise<ReplicaMesh> {
    const mesh = new ReplicaMesh(options);
    for (const node of mesh.nodes) await node.start();
    await mesh.settle(100);
    return mesh;
  }

  get(name: string): ReplicaNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`there is no node ${name}`);
    return found;
  }

  byPeer(peer: PeerId): ReplicaNode | undefined {
    return this.nodes.find((node) => node.isUp && node.peerId === peer);
  }

  named(id: NodeId): string {
    return this.nodes.find(({ nodeId }) => nodeId === id)?.name ?? id;
  }

  /** Appends to the control log, and tells every node. */
  change(add: () => unknown): void {
    add();
    this.states.push(this.control.state);
    for (const node of this.nodes) if (node.isUp) node.replication.controlChanged();
  }

  /** What a node sees of the others: exactly what is so. */
  livenessOf(viewer: ReplicaNode): NodeLiveness {
    return {
      offlineForMs: (id) => {
        const node = this.nodes.find(({ nodeId }) => nodeId === id);
        const since = node === undefined || node === viewer ? undefined : this.#downSinceMs.get(node);
        return since === undefined ? undefined : this.clock.monotonicMs() - since;
      },
      silentForMs: (id) => this.silentMs.get(id) ?? 0,
      isDoubtful: (id) => (this.silentMs.get(id) ?? 0) > doubtfulMs,
      onChange: (listener) => {
        const listeners = this.#listeners.get(viewer) ?? new Set<() => void>();
        this.#listeners.set(viewer, listeners.add(listener));
        return () => listeners.delete(listener);
      },
    };
  }

  changedLiveness(node: ReplicaNode): void {
    if (node.isUp) this.#downSinceMs.delete(node);
    else this.#downSinceMs.set(node, this.clock.monotonicMs());
    for (const [viewer, listeners] of this.#listeners) {
      if (viewer !== node && viewer.isUp) for (const listener of [...listeners]) listener();
    }
  }

  /** Writes so many objects at a node, one after the other. */
  async writeMany(count: number, from = 'north'): Promise<WrittenContent[]> {
    const written: WrittenContent[] = [];
    for (let index = 0; index < count; index += 1)
      written.push(await this.write(from, `key-${index}`, `content ${index}`));
    return written;
  }

  /** Writes an object at a node, which every node hears of; its desired holders begin to pull it. */
  async write(
    name: string,
    key: string,
    bytes: Uint8Array | string,
    parents: readonly VersionId[] = [],
  ): Promise<WrittenContent> {
    const node = this.get(name);
    const written = contentOf(node, key, typeof bytes === 'string' ? Buffer.from(bytes) : bytes, parents);
    this.written.push(written);
    await this.run(
      node.kv.transact((transaction) => {
        node.contents.keep(transaction, written);
        node.versions.add(written);
        node.replication.intents.note(transaction, written);
      }),
    );
    for (const other of this.nodes) {
      other.versions.add(written);
      if (other === node || !other.isUp || !other.replication.shouldHold(written)) continue;
      await other.contents.want([{ content: written.content, subject: { ...written } }]);
    }
    return written;
  }

  holders(written: Pick<Subject, 'manifest'>): string[] {
    return this.nodes.filter((node) => node.holds(written)).map(({ name }) => name);
  }

  desired({ ns, key }: Subject): string[] {
    const [first] = this.nodes as [ReplicaNode, ...ReplicaNode[]];
    return first.replication.placement.desired(ns, key).holders.map((id) => this.named(id));
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.run(promise, patienceMs);
  }

  until(condition: () => boolean): Promise<void> {
    return this.clock.runUntil(condition, patienceMs);
  }

  settle(ms = 5_000): Promise<void> {
    return this.clock.advance(ms);
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) if (node.isUp) await node.stop();
  }
}

function contentOf(node: ReplicaNode, key: string, bytes: Uint8Array, parents: readonly VersionId[]): WrittenContent {
  const chunks: { hash: BlobHash; size: number; bytes: Uint8Array }[] = [];
  for (let start = 0; start < bytes.length; start += chunkBytes) {
    const chunk = bytes.subarray(start, start + chunkBytes);
    chunks.push({ hash: blobHashOf(chunk), size: chunk.length, bytes: chunk });
  }
  const { root, size, blobs } = buildManifest(chunks, defaultChunking);
  return {
    doc: toBase32(blake3(Buffer.from(`doc ${key}`))) as DocId,
    ns: 'docs',
    key,
    version: toBase32(blake3(Buffer.concat([Buffer.from(`version ${key} ${parents.join()} `), bytes]))) as VersionId,
    manifest: root,
    sizeBytes: size,
    content: { manifest: root, size, b3: toHex(blake3(bytes)) },
    origin: node.nodeId,
    time: node.mesh.clock.nowMs(),
    parents,
    blobs: new Map([...chunks, ...blobs].map(({ hash, bytes: blob }) => [hash, blob])),
  };
}
