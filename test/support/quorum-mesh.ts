import { type Certificate, majorityOf, type RegisterValue, verifyCertificate } from '../../crdt/certificate.ts';
import { blake3, toBase32 } from '../../crdt/digest.ts';
import type { NodeId, PeerId } from '../../crdt/ids.ts';
import { peerIdOf } from '../../crdt/signature.ts';
import type { AcceptorStore } from '../../protocols/quorum/acceptor-store.ts';
import { QuorumEngine } from '../../protocols/quorum/engine.ts';
import type { CertificateBook, Coordinator, QuorumView, RegisterKind } from '../../protocols/quorum/register-kind.ts';
import { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../src/adapters/memory/kv.ts';
import { steadyLinks } from '../../src/adapters/memory/links.ts';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { MemoryHub, type MemoryNetwork } from '../../src/adapters/memory/network.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { KvAcceptorStore } from '../../src/node/confirmation/acceptor-store.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import { testCluster, testNode } from './versions.ts';

const patienceMs = 120_000;

/** The head whose history is these words: a head follows another when its history starts with the other's. */
const histories = new Map<string, readonly string[]>();

export function headOf(...history: readonly string[]): string {
  const head = toBase32(blake3(Buffer.from(history.join('/'))));
  histories.set(head, history);
  return head;
}

function historyOf(head: string): readonly string[] {
  return histories.get(head) as readonly string[];
}

const startsWith = (long: readonly string[], short: readonly string[]): boolean =>
  short.every((word, at) => long[at] === word);

export function registerOf(name: string): string {
  return toBase32(blake3(Buffer.from(`register ${name}`)));
}

/** The coordinator of that name. */
export function coordinatorOf(name: string): Coordinator {
  const { nodeId, signer } = testNode(name);
  return { nodeId, publicKey: signer.publicKey, peerId: peerIdOf(signer.publicKey) };
}

/** Certificates in memory: durable at once, and all that were ever kept. */
class MemoryBook implements CertificateBook {
  readonly kept: Certificate[] = [];
  readonly #latest = new Map<string, Certificate>();
  readonly #epochs: ReadonlyMap<number, readonly Coordinator[]>;

  constructor(epochs: ReadonlyMap<number, readonly Coordinator[]>) {
    this.#epochs = epochs;
  }

  latest(register: string): Certificate | null {
    return this.#latest.get(register) ?? null;
  }

  /** As if its disk were empty. */
  forget(): void {
    this.#latest.clear();
  }

  verify(certificate: Certificate): boolean {
    const coordinators = this.#epochs.get(certificate.statement.epoch);
    return coordinators !== undefined && verifyCertificate(certificate, { cluster: testCluster, coordinators });
  }

  async keep(certificate: Certificate): Promise<void> {
    this.kept.push(certificate);
    const { register, position } = certificate.statement;
    if ((this.latest(register)?.statement.position ?? 0) <= position) this.#latest.set(register, certificate);
  }
}

/** One node with an engine and nothing else. */
export class QuorumNode {
  readonly name: string;
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  readonly log = new MemoryLog();
  readonly book: MemoryBook;
  readonly mesh: QuorumMesh;
  /** Heads this node cannot get. */
  readonly withheld = new Set<string>();
  /** What was asked to be held, in order. */
  readonly held: { readonly register: string; readonly value: RegisterValue; readonly from: PeerId }[] = [];
  /** What others enclosed with heads, as it was taken in: no such head is withheld from this node any more. */
  readonly takenIn: { readonly head: string; readonly from: PeerId }[] = [];
  /** Heads whose enclosure this node's disk has no room for. */
  readonly unstorable = new Set<string>();
  /** Heads whose enclosure is lost between the store and the disk. */
  readonly unflushable = new Set<string>();
  /** How long what is enclosed is on its way to this node's disk. */
  arrivalMs = 0;
  readonly arriving = new Map<string, Promise<void>>();
  readonly aheadOf: number[] = [];
  /** Certificates are not kept in the transaction of a vote, as those of the control log. */
  certifiesApart = false;
  /** Heads are taken to follow others, as entries of the control log do: none may come first. */
  refusesEmpty = false;
  epoch = 1;
  kv: MemoryKv;
  network!: MemoryNetwork;
  engine!: QuorumEngine;
  readonly #registerKind: RegisterKind;
  #lives = 0;

  constructor(mesh: QuorumMesh, name: string) {
    const { nodeId, signer } = testNode(name);
    this.mesh = mesh;
    this.name = name;
    this.nodeId = nodeId;
    this.peerId = peerIdOf(signer.publicKey);
    this.book = new MemoryBook(mesh.epochs);
    this.kv = new MemoryKv(mesh.clock, { name, flushDelayMs: mesh.flushDelayMs });
    this.#registerKind = this.#kind();
  }

  async start(wrap: (store: AcceptorStore) => AcceptorStore = (store) => store): Promise<void> {
    this.#lives += 1;
    this.network = this.mesh.hub.join(this.peerId);
    this.engine = new QuorumEngine({
      nodeId: this.nodeId,
      signer: testNode(this.name).signer,
      network: this.network,
      clock: this.mesh.clock,
      random: this.mesh.random.split(`${this.name} ${this.#lives}`),
      log: this.log,
      store: wrap(
        new KvAcceptorStore(this.kv, {
          holds: (_reader, _register, head) =>
            !this.withheld.has(head) || (this.arriving.has(head) && !this.unflushable.has(head)),
          certify: (_transaction, certificate) =>
            this.certifiesApart ? undefined : () => void this.book.keep(certificate),
        }),
      ),
      certificates: this.book,
      view: () => this.view(),
      kindOf: () => this.#registerKind,
      epochAhead: (_peer, epoch) => this.aheadOf.push(epoch),
    });
    this.engine.start();
    await this.network.start();
  }

  view(): QuorumView {
    const coordinators = this.mesh.epochs.get(this.epoch) as readonly Coordinator[];
    return { cluster: testCluster, epoch: this.epoch, coordinators, carried: this.epoch === 1, logSeq: this.epoch };
  }

  async stop(): Promise<void> {
    this.engine.stop();
    await this.network.stop();
  }

  /** Power loss: what was not flushed may be gone. `start` brings it up again. */
  crash(): void {
    this.network.crash();
    this.engine.stop();
    this.kv = this.kv.crash(this.mesh.random);
  }

  propose(register: string, head: string, timeoutMs?: number) {
    return this.mesh.run(this.engine.propose(register, head, timeoutMs === undefined ? {} : { timeoutMs }));
  }

  #kind(): RegisterKind {
    return {
      check: (_register, current, candidate) => {
        if (current === null && this.refusesEmpty) return { code: 'log_moved', message: 'it follows another' };
        if (current === null) return 'accept';
        const [ours, theirs] = [historyOf(candidate), historyOf(current.head)];
        if (startsWith(theirs, ours)) return 'held';
        if (startsWith(ours, theirs)) return 'accept';
        return { code: 'not_a_descendant', message: 'the candidate does not follow the head' };
      },
      hold: async (register, value, from) => {
        this.held.push({ register, value, from });
        await this.arriving.get(value.head);
        return !this.withheld.has(value.head);
      },
      enclose: (head) => [Buffer.from(head)],
      takeIn: async (heads, from) => {
        const taken = new Set<string>();
        for (const { head, enclosed } of heads) {
          if (this.unstorable.has(head)) throw new MeshError('disk_full', 'no room');
          if (from === this.peerId || Buffer.from(enclosed[0] ?? []).toString() !== head) continue;
          this.takenIn.push({ head, from });
          taken.add(head);
          if (this.arrivalMs === 0) this.#arrived(head);
          else
            this.arriving.set(
              head,
              this.mesh.clock.sleep(this.arrivalMs).then(() => this.#arrived(head)),
            );
        }
        return { heads: taken, flushed: Promise.all(this.arriving.values()).then(() => undefined) };
      },
      isArriving: (_register, head) => this.arriving.has(head),
    };
  }

  #arrived(head: string): void {
    this.arriving.delete(head);
    if (!this.unflushable.has(head)) this.withheld.delete(head);
  }
}

/** Engines on virtual time, over the memory adapters. */
export class QuorumMesh {
  readonly clock = new VirtualClock();
  readonly hub: MemoryHub;
  readonly random: SeededRandom;
  readonly flushDelayMs: number;
  readonly epochs = new Map<number, readonly Coordinator[]>();
  readonly nodes = new Map<string, QuorumNode>();

  constructor(options: { readonly seed?: string; readonly linkMs?: number; readonly flushDelayMs?: number } = {}) {
    this.hub = new MemoryHub({ clock: this.clock }, { links: steadyLinks(options.linkMs ?? 5) });
    this.random = new SeededRandom(options.seed ?? 'quorum');
    this.flushDelayMs = options.flushDelayMs ?? 1;
  }

  /** Starts nodes; the first `coordinators` of them vote in epoch 1. */
  static async start(
    names: readonly string[],
    coordinators = names.length,
    options: ConstructorParameters<typeof QuorumMesh>[0] = {},
  ): Promise<QuorumMesh> {
    const mesh = new QuorumMesh(options);
    mesh.epochs.set(1, names.slice(0, coordinators).map(coordinatorOf));
    for (const name of names) mesh.nodes.set(name, new QuorumNode(mesh, name));
    for (const node of mesh.nodes.values()) await node.start();
    await mesh.clock.advance(100);
    return mesh;
  }

  node(name: string): QuorumNode {
    return this.nodes.get(name) as QuorumNode;
  }

  /** The words of a head's history; none for an empty register. */
  historyOf(head: string | undefined): readonly string[] {
    return head === undefined ? [] : historyOf(head);
  }

  peers(...names: readonly string[]): PeerId[] {
    return names.map((name) => this.node(name).peerId);
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.run(promise, patienceMs);
  }

  async stop(): Promise<void> {
    for (const node of this.nodes.values()) await node.stop();
  }

  /** Everything that was ever certified on any node. */
  certificates(): readonly Certificate[] {
    return [...this.nodes.values()].flatMap(({ book }) => book.kept);
  }

  /** Certificates that contradict one another or do not hold, described. */
  faults(): readonly string[] {
    const heads = new Map<string, string>();
    const faults: string[] = [];
    for (const certificate of this.certificates()) {
      const { register, position, head, previous, epoch } = certificate.statement;
      const coordinators = this.epochs.get(epoch) ?? [];
      const holds = verifyCertificate(certificate, { cluster: testCluster, coordinators });
      if (!holds || certificate.signatures.length < majorityOf(coordinators.length)) faults.push(`${head} is unproven`);
      const place = `${register} ${position}`;
      const known = heads.get(place);
      if (known !== undefined && known !== `${head} ${previous}`) faults.push(`${place} has two heads`);
      heads.set(place, `${head} ${previous}`);
    }
    return faults;
  }
}
