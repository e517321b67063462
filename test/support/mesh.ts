import { toBase32 } from '../../crdt/digest.ts';
import { encodeGenesis, type Member } from '../../crdt/genesis.ts';
import type { NodeId, PeerId, VersionId } from '../../crdt/ids.ts';
import { peerIdOf, type Signer, signerFromSeed } from '../../crdt/signature.ts';
import { MemoryBlobStore } from '../../src/adapters/memory/blob-store.ts';
import { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../src/adapters/memory/metrics.ts';
import { MemoryHub, type MemoryNetwork } from '../../src/adapters/memory/network.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { composeNode } from '../../src/compose.ts';
import type { MeshEvent, ObjectGraph, Outcome, WrittenVersion } from '../../src/node/api.ts';
import type { Node } from '../../src/node/mesh-node.ts';

/** How long, in virtual time, anything a test waits for may take. */
const patienceMs = 120_000;

export interface TestNode {
  readonly name: string;
  readonly peerId: PeerId;
  readonly nodeId: NodeId;
  readonly signer: Signer;
  readonly network: MemoryNetwork;
  /** What a restart finds; `crash` replaces both. */
  kv: MemoryKv;
  blobs: MemoryBlobStore;
  readonly metrics: MemoryMetrics;
  readonly log: MemoryLog;
  readonly node: Node;
}

/** Several whole nodes on in-memory adapters and one virtual clock: scenarios read as scripts. */
export class Mesh {
  readonly clock = new VirtualClock();
  readonly random: SeededRandom;
  readonly hub: MemoryHub;
  readonly members: readonly Member[];
  readonly genesisText: string;
  readonly nodes = new Map<string, TestNode>();
  readonly #seeds = new Map<string, Uint8Array>();
  #wiped = 0;

  constructor(names: readonly string[], seed = 'mesh') {
    this.random = new SeededRandom(seed);
    this.hub = new MemoryHub({ clock: this.clock });
    this.members = names.map((name) => {
      const keySeed = this.random.split(`key:${name}`).bytes(32);
      this.#seeds.set(name, keySeed);
      const nodeId = toBase32(this.random.split(`id:${name}`).bytes(16)) as NodeId;
      return { name, nodeId, peerId: peerIdOf(signerFromSeed(keySeed).publicKey), addresses: [] };
    });
    this.genesisText = encodeGenesis({
      v: 1,
      cluster: 'test',
      seed: toBase32(this.random.bytes(16)),
      members: this.members,
    });
  }

  static async start(names: readonly string[], seed?: string): Promise<Mesh> {
    const mesh = new Mesh(names, seed);
    for (const name of names) await mesh.startNode(name);
    await mesh.settle();
    return mesh;
  }

  /** Starts a node for the first time, or again on what it kept. */
  async startNode(name: string): Promise<TestNode> {
    const keySeed = this.#seeds.get(name);
    if (keySeed === undefined) throw new Error(`no node is called ${name}`);
    const signer = signerFromSeed(keySeed);
    const peerId = peerIdOf(signer.publicKey);
    const kept = this.nodes.get(name);
    const random = this.random.split(`node:${name}:${this.clock.monotonicMs()}`);
    const kv = kept?.kv ?? new MemoryKv(this.clock, { name: `${name}-${this.#wiped}`, flushDelayMs: 1 });
    const blobs = kept?.blobs ?? new MemoryBlobStore();
    const log = new MemoryLog();
    const metrics = new MemoryMetrics();
    const network = this.hub.join(peerId);
    const node = composeNode(
      { clock: this.clock, random, network, kv, blobs, log, metrics },
      { keySeed, genesisText: this.genesisText, version: 'test' },
    );
    const nodeId = node.nodes().find((info) => info.self)?.nodeId as NodeId;
    const started: TestNode = { name, peerId, nodeId, signer, network, kv, blobs, metrics, log, node };
    this.nodes.set(name, started);
    await this.run(node.start());
    return started;
  }

  /** Joins the network as a member without running a node: whoever holds this plays by no rules. */
  async impersonate(name: string): Promise<{ network: MemoryNetwork; signer: Signer; member: Member }> {
    const keySeed = this.#seeds.get(name);
    const member = this.members.find((candidate) => candidate.name === name);
    if (keySeed === undefined || member === undefined) throw new Error(`no node is called ${name}`);
    const network = this.hub.join(member.peerId);
    await network.start();
    return { network, signer: signerFromSeed(keySeed), member };
  }

  get(name: string): TestNode {
    const found = this.nodes.get(name);
    if (found === undefined) throw new Error(`${name} was not started`);
    return found;
  }

  async stopNode(name: string): Promise<void> {
    await this.run(this.get(name).node.stop());
  }

  /** Cuts a node's power: what was not flushed is gone, or survives, as chance has it. */
  async crash(name: string): Promise<void> {
    const crashed = this.get(name);
    const random = this.random.split(`crash:${name}:${this.clock.monotonicMs()}`);
    crashed.kv = crashed.kv.crash(random);
    crashed.blobs = crashed.blobs.crash(random);
    await this.run(crashed.network.stop());
  }

  /** A stopped node's disk is lost: it starts with nothing but its key. */
  wipe(name: string): void {
    this.nodes.delete(name);
    this.#wiped += 1;
  }

  partition(left: readonly string[], right: readonly string[]): void {
    this.hub.partition(
      left.map((name) => this.get(name).peerId),
      right.map((name) => this.get(name).peerId),
    );
  }

  heal(): void {
    this.hub.heal();
  }

  /** Lets virtual time pass until the promise is settled. */
  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.run(promise, patienceMs);
  }

  /** Lets virtual time pass until the condition holds. */
  until(condition: () => boolean): Promise<void> {
    return this.clock.runUntil(condition, patienceMs);
  }

  /** Lets so much virtual time pass; a few seconds are enough for gossip, connects and small rounds. */
  settle(ms = 2_000): Promise<void> {
    return this.clock.advance(ms);
  }

  async put(name: string, key: string, text: string, parents?: readonly string[]): Promise<WrittenVersion> {
    const input = { ns: 'test', key, body: [Buffer.from(text)], author: 'admin' };
    return unwrap(await this.run(this.get(name).node.put(parents === undefined ? input : { ...input, parents })));
  }

  graph(name: string, key: string): ObjectGraph {
    return unwrap(this.get(name).node.graph({ ns: 'test', key }));
  }

  heads(name: string, key: string): readonly VersionId[] {
    const graph = this.get(name).node.graph({ ns: 'test', key });
    return graph.ok ? graph.value.heads : [];
  }

  async text(name: string, key: string, version?: string): Promise<string> {
    const { node } = this.get(name);
    const found = unwrap(node.read(version === undefined ? { ns: 'test', key } : { ns: 'test', key, version }));
    return this.run(collect(found.open()));
  }

  /** The events a node has recorded so far. */
  async eventsOf(name: string, type?: MeshEvent['type']): Promise<MeshEvent[]> {
    const stopped = new AbortController();
    const seen: MeshEvent[] = [];
    const reading = (async () => {
      for await (const event of this.get(name).node.events({ after: 0, signal: stopped.signal })) seen.push(event);
    })();
    await this.settle(10);
    stopped.abort();
    await reading;
    return seen.filter((event) => type === undefined || event.type === type);
  }

  async stop(): Promise<void> {
    for (const name of this.nodes.keys()) await this.stopNode(name);
  }
}

/** The value of an outcome that must not be a refusal. */
export function unwrap<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new Error(`refused: ${outcome.error.code}: ${outcome.error.message}`);
  return outcome.value;
}

/** The code of an outcome that must be a refusal. */
export function refusalOf(outcome: Outcome<unknown>): string {
  if (outcome.ok) throw new Error('was not refused');
  return outcome.error.code;
}

async function collect(opened: Promise<Outcome<AsyncIterable<Uint8Array>>>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of unwrap(await opened)) parts.push(part);
  return Buffer.concat(parts).toString('utf8');
}
