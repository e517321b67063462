import type { Role } from '../../crdt/control/member.ts';
import { toBase32 } from '../../crdt/digest.ts';
import { encodeGenesis, type Member } from '../../crdt/genesis.ts';
import type { NodeId, PeerId } from '../../crdt/ids.ts';
import { peerIdOf, signerFromSeed } from '../../crdt/signature.ts';
import { MemoryBlobStore } from '../../src/adapters/memory/blob-store.ts';
import { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../src/adapters/memory/metrics.ts';
import { MemoryHub, type MemoryNetwork } from '../../src/adapters/memory/network.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { InlineVerifier } from '../../src/adapters/memory/verifier.ts';
import { composeNode } from '../../src/compose.ts';
import type { AskedOperation, ChangeInput, CommittedChange, Outcome } from '../../src/node/api.ts';
import type { Node } from '../../src/node/mesh-node.ts';

const patienceMs = 120_000;

/** A machine of the mesh: what it is, what it kept, and the node that runs on it, if any. */
export interface ControlNode {
  readonly name: string;
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  readonly keySeed: Uint8Array;
  readonly log: MemoryLog;
  kv: MemoryKv;
  blobs: MemoryBlobStore;
  network: MemoryNetwork;
  node: Node;
}

/** Whole nodes on virtual time in which the first so many founding members are coordinators, and others may join. */
export class ControlMesh {
  readonly clock = new VirtualClock();
  readonly hub = new MemoryHub({ clock: this.clock });
  readonly genesisText: string;
  readonly nodes = new Map<string, ControlNode>();
  readonly #random: SeededRandom;
  #lives = 0;

  constructor(names: readonly string[], coordinators = names.length, seed = 'control') {
    this.#random = new SeededRandom(seed);
    const members = names.map((name, at) =>
      this.memberOf(name, at < coordinators ? ['coordinator', 'storage'] : ['storage']),
    );
    const genesisSeed = toBase32(this.#random.split('genesis').bytes(16));
    this.genesisText = encodeGenesis({ v: 1, cluster: 'test', seed: genesisSeed, members });
  }

  static async start(names: readonly string[], coordinators?: number): Promise<ControlMesh> {
    const mesh = new ControlMesh(names, coordinators);
    for (const name of names) await mesh.startNode(name);
    await mesh.settle();
    return mesh;
  }

  keySeed(name: string): Uint8Array {
    return this.#random.split(`key ${name}`).bytes(32);
  }

  memberOf(name: string, roles: readonly Role[] = ['storage']): Required<Member> {
    const nodeId = toBase32(this.#random.split(`id ${name}`).bytes(16)) as NodeId;
    const peerId = peerIdOf(signerFromSeed(this.keySeed(name)).publicKey);
    return { name, nodeId, peerId, addresses: [], roles, labels: {} };
  }

  /** Starts a node for the first time, or again on what it kept. */
  async startNode(name: string): Promise<ControlNode> {
    const { nodeId, peerId } = this.memberOf(name);
    const former = this.nodes.get(name);
    const kv = former?.kv ?? new MemoryKv(this.clock, { name, flushDelayMs: 1 });
    const blobs = former?.blobs ?? new MemoryBlobStore();
    this.#lives += 1;
    const log = new MemoryLog();
    const network = this.hub.join(peerId);
    const node = composeNode(
      {
        clock: this.clock,
        random: this.#random.split(`${name} ${this.#lives}`),
        network,
        kv,
        blobs,
        verifier: new InlineVerifier(),
        log,
        metrics: new MemoryMetrics(),
      },
      { keySeed: this.keySeed(name), genesisText: this.genesisText, version: 'test', identity: { nodeId, name } },
    );
    const started = { name, nodeId, peerId, keySeed: this.keySeed(name), log, kv, blobs, network, node };
    this.nodes.set(name, started);
    await this.run(node.start());
    return started;
  }

  /** Joins the network as a founding member without running a node: whoever holds this plays by no rules. */
  async impersonate(name: string): Promise<MemoryNetwork> {
    const network = this.hub.join(this.memberOf(name).peerId);
    await network.start();
    return network;
  }

  async stopNode(name: string): Promise<void> {
    const node = this.get(name);
    await this.run(node.node.stop());
    node.kv = node.kv.reopen();
    node.blobs = node.blobs.reopen();
  }

  get(name: string): ControlNode {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`${name} was not started`);
    return node;
  }

  peers(...names: readonly string[]): PeerId[] {
    return names.map((name) => this.get(name).peerId);
  }

  partition(left: readonly string[], right: readonly string[]): void {
    this.hub.partition(this.peers(...left), this.peers(...right));
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.run(promise, patienceMs);
  }

  settle(ms = 2_000): Promise<void> {
    return this.clock.advance(ms);
  }

  until(condition: () => boolean): Promise<void> {
    return this.clock.runUntil(condition, patienceMs);
  }

  change(name: string, operation: AskedOperation, more: Partial<ChangeInput> = {}): Promise<Outcome<CommittedChange>> {
    return this.run(this.get(name).node.cluster.change({ operation, actor: 'ada', ...more }));
  }

  /** Puts a version and says how it went; the node's own answer, whatever it is. */
  async put(name: string, key: string, text: string) {
    const body = [Buffer.from(text)];
    return this.run(this.get(name).node.put({ ns: 'test', key, body, author: 'ada' }));
  }

  heads(name: string, key: string): number {
    const graph = this.get(name).node.graph({ ns: 'test', key });
    return graph.ok ? graph.value.heads.length : 0;
  }

  seq(name: string): number {
    return this.get(name).node.cluster.checkpoint().size - 1;
  }

  /** The names that a node takes for members, in order. */
  members(name: string): string[] {
    return this.get(name)
      .node.nodes()
      .map((each) => each.name)
      .sort();
  }

  async stop(): Promise<void> {
    for (const { node } of this.nodes.values()) if (node.ready()) await this.run(node.stop());
  }
}
