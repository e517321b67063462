import type { Member } from '../../crdt/genesis.ts';
import type { NodeId, PeerId, VersionId } from '../../crdt/ids.ts';
import { type Signer, signerFromSeed } from '../../crdt/signature.ts';
import type { MemoryBlobStore } from '../../src/adapters/memory/blob-store.ts';
import type { VirtualClock } from '../../src/adapters/memory/clock.ts';
import type { MemoryKv } from '../../src/adapters/memory/kv.ts';
import type { MemoryLog } from '../../src/adapters/memory/log.ts';
import type { MemoryMetrics } from '../../src/adapters/memory/metrics.ts';
import type { MemoryNetwork } from '../../src/adapters/memory/network.ts';
import type { MeshEvent, ObjectGraph, Outcome, WrittenVersion } from '../../src/node/api.ts';
import type { Node } from '../../src/node/mesh-node.ts';
import { Simulation } from '../sim/simulation.ts';

export { unwrap } from '../sim/simulation.ts';

export interface TestNode {
  readonly name: string;
  readonly peerId: PeerId;
  readonly nodeId: NodeId;
  readonly signer: Signer;
  readonly network: MemoryNetwork;
  /** The disk: what a restart finds. Another may be put in while the node is down. */
  kv: MemoryKv;
  readonly blobs: MemoryBlobStore;
  readonly metrics: MemoryMetrics;
  readonly log: MemoryLog;
  readonly node: Node;
}

/**
 * A simulation whose links and disks are sound until a test says otherwise, in the words unit tests use. No checker
 * looks on: these tests hand nodes what none would store, and say themselves what must come of it.
 */
export class Mesh {
  readonly sim: Simulation;
  readonly clock: VirtualClock;
  readonly members: readonly Member[];
  readonly nodes = new Map<string, TestNode>();

  constructor(names: readonly string[], seed = 'mesh', coordinators?: readonly string[]) {
    this.sim = new Simulation({
      seed,
      nodes: names,
      checkers: [],
      ...(coordinators === undefined ? {} : { coordinators }),
    });
    this.clock = this.sim.clock;
    this.members = this.sim.members;
  }

  static async start(names: readonly string[], seed?: string, coordinators?: readonly string[]): Promise<Mesh> {
    const mesh = new Mesh(names, seed, coordinators);
    for (const name of names) await mesh.startNode(name);
    await mesh.settle();
    return mesh;
  }

  /** Starts a node for the first time, or again on what it kept. */
  async startNode(name: string): Promise<TestNode> {
    await this.sim.restart(name);
    const { sim } = this;
    const machine = sim.get(name);
    const { network, metrics, log, node } = sim.process(name);
    const started: TestNode = {
      name,
      peerId: machine.member.peerId,
      nodeId: machine.member.nodeId,
      signer: machine.signer,
      network,
      metrics,
      log: log.lines,
      node,
      get kv() {
        return machine.kv;
      },
      set kv(kv) {
        sim.replaceDisk(machine, () => {
          machine.kv = kv;
        });
      },
      get blobs() {
        return machine.blobs;
      },
    };
    this.nodes.set(name, started);
    return started;
  }

  /** Joins the network as a member without running a node: whoever holds this plays by no rules. */
  async impersonate(name: string): Promise<{ network: MemoryNetwork; signer: Signer; member: Member }> {
    const member = this.sim.member(name);
    const network = this.sim.hub.join(member.peerId);
    await network.start();
    return { network, signer: signerFromSeed(this.sim.keySeed(name)), member };
  }

  get(name: string): TestNode {
    const found = this.nodes.get(name);
    if (found === undefined) throw new Error(`${name} was not started`);
    return found;
  }

  stopNode(name: string): Promise<void> {
    return this.sim.stop(name);
  }

  /** Cuts a node's power: what was not flushed is gone, or survives, as chance has it. */
  async crash(name: string): Promise<void> {
    this.sim.crash(name);
    await this.settle(10);
  }

  /** A node's disk is lost: it starts with nothing but its key. */
  wipe(name: string): void {
    this.sim.wipe(name);
  }

  partition(left: readonly string[], right: readonly string[]): void {
    this.sim.partition(left, right);
  }

  heal(): void {
    this.sim.heal();
  }

  /** Lets virtual time pass until the promise is settled. */
  run<T>(promise: Promise<T>): Promise<T> {
    return this.sim.run(promise);
  }

  /** Lets virtual time pass until the condition holds. */
  until(condition: () => boolean): Promise<void> {
    return this.sim.until(condition);
  }

  /** Lets so much virtual time pass; a few seconds are enough for gossip, connects and small rounds. */
  settle(ms = 2_000): Promise<void> {
    return this.sim.advance(ms);
  }

  put(name: string, key: string, text: string, parents?: readonly string[]): Promise<WrittenVersion> {
    return this.sim.write(name, key, text, parents);
  }

  graph(name: string, key: string): ObjectGraph {
    return this.sim.graphOf(name, key);
  }

  heads(name: string, key: string): readonly VersionId[] {
    return this.sim.headsOf(name, key);
  }

  text(name: string, key: string, version?: string): Promise<string> {
    return this.sim.read(name, key, version);
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
    for (const name of this.nodes.keys()) if (this.sim.get(name).process !== undefined) await this.stopNode(name);
  }
}

/** The code of an outcome that must be a refusal. */
export function refusalOf(outcome: Outcome<unknown>): string {
  if (outcome.ok) throw new Error('was not refused');
  return outcome.error.code;
}
