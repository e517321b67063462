import type { Labels } from '../../crdt/control/member.ts';
import { toBase32 } from '../../crdt/digest.ts';
import { decodeGenesis, encodeGenesis, type Member, slotsOfCluster } from '../../crdt/genesis.ts';
import type { BlobHash, ClusterId, DocId, NodeId, PeerId, VersionId } from '../../crdt/ids.ts';
import { peerIdOf, publicKeyOf, signerFromSeed } from '../../crdt/signature.ts';
import type { BlobPool } from '../../src/adapters/memory/blob-store.ts';
import { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { MemoryMetrics } from '../../src/adapters/memory/metrics.ts';
import { MemoryHub } from '../../src/adapters/memory/network.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { InlineVerifier } from '../../src/adapters/memory/verifier.ts';
import { composeNode } from '../../src/compose.ts';
import { completeKey, hashOfKey, isCompleteKey, jobIndexKey } from '../../src/node/content/content-keys.ts';
import type { MembershipSettings } from '../../src/node/membership/settings.ts';
import type { NodeAdapters } from '../../src/node/node-parts.ts';
import { textOfRow } from '../../src/node/rows.ts';
import type { SlotSettings } from '../../src/node/slots/slots.ts';
import { objectKey, versionKey } from '../../src/node/storage-keys.ts';
import type { KvKey, KvReader } from '../../src/ports/kv.ts';
import type { PlacementMap } from '../../src/replication/placement-map.ts';
import type { ReplicationSettings } from '../../src/replication/replication.ts';
import { allCheckers } from './checkers/all.ts';
import type { Checker, CheckerFactory, World } from './checkers/checker.ts';
import { holdingsOnDisk } from './checkers/recovery.ts';
import { Ledger } from './ledger.ts';
import { Machine, type Process } from './machine.ts';
import { Placements } from './placements.ts';
import { calmLinks, type LinkProfile, SimLinks } from './sim-links.ts';
import { SimLog } from './sim-log.ts';
import { Trace } from './trace.ts';
import { type KnownVersion, VersionLibrary } from './version-library.ts';
import { Violation } from './violation.ts';
import { watchedBlobs } from './watched-blobs.ts';

/** How long, in virtual time, anything a script waits for may take. */
const patienceMs = 120_000;

/** Others stand in for a node that has been offline for so long, unless a run says otherwise. */
const repairDelayMsDefault = 15_000;

/** The leading bytes of the rows a simulation reads for itself. */
const anyHash = 'a'.repeat(52);
const versionRoom = versionKey(anyHash as VersionId)[0];
const objectRoom = objectKey(anyHash as DocId)[0];
const blobRoom = completeKey(anyHash as BlobHash)[0];

export interface SimulationOptions {
  readonly seed: string;
  readonly nodes: readonly string[];
  /** Members that keep no rule; no node runs for them. */
  readonly hostile?: readonly string[];
  /** Names of those who vote; the first three nodes when absent, or the first of fewer. */
  readonly coordinators?: readonly string[];
  readonly links?: LinkProfile;
  /** For how long a node remembers a gossip message, so that a replayed one is new to it after that; as the hub has it when absent. */
  readonly seenGossipMs?: number;
  /** How long a transaction waits for its flush; 1 ms when absent. */
  readonly flushDelayMs?: readonly [min: number, max: number];
  readonly syncIntervalMs?: number;
  /** Places slots among these few nodes too; every node has every slot when absent. */
  readonly slotPlacement?: SlotSettings;
  /** How long each node's scrub takes to look at everything; two weeks when absent, which no run lasts. */
  readonly scrubPeriodMs?: number;
  /** Labels of members, by name, as the cluster is founded with them. */
  readonly labels?: Readonly<Record<string, Labels>>;
  /** How patient replication is; a quarter of a minute until others stand in for a node, when absent. */
  readonly replication?: ReplicationSettings;
  /** How fast hearts beat, and how soon a silent node is offline. */
  readonly membership?: MembershipSettings;
  /** Puts faulty adapters in the place of sound ones, to show that the checkers notice. */
  readonly tamper?: (adapters: NodeAdapters, name: string) => NodeAdapters;
  /** All of them when absent. With none, nobody looks on at all, and a node may be handed what no node would store. */
  readonly checkers?: readonly CheckerFactory[];
}

/**
 * Many whole nodes on simulated adapters and one virtual clock: the same factory, protocols and workers as in
 * production. All randomness comes from one seed, split by name. Scenarios read as scripts: `partition`, `crash`,
 * `restart`, `write`; checkers look on.
 */
export class SimulatedNodes implements World {
  readonly clock = new VirtualClock({ withoutIo: true });
  readonly random: SeededRandom;
  readonly trace: Trace;
  readonly links: SimLinks;
  readonly hub: MemoryHub;
  readonly members: readonly Member[];
  readonly genesisText: string;
  readonly cluster: ClusterId;
  readonly machines = new Map<string, Machine>();
  readonly hostile: ReadonlySet<NodeId>;
  readonly askedForByHostile = new Set<VersionId>();
  readonly library: VersionLibrary;
  readonly ledger = new Ledger();
  readonly placements: Placements;
  /** Conflicts that nodes told of, over all their lives. */
  conflictsRaised = 0;
  readonly repairDelayMs: number;
  /** Faults injected so far, by kind. */
  readonly faults = new Map<string, number>();
  readonly #options: SimulationOptions;
  readonly #checkers: readonly { readonly name: string; readonly checker: Checker }[];
  readonly #keySeeds = new Map<string, Uint8Array>();
  readonly #blobs: BlobPool = new Map();
  readonly #verifier = new InlineVerifier();
  #violation: Violation | undefined;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.repairDelayMs = options.replication?.repairDelayMs ?? repairDelayMsDefault;
    this.random = new SeededRandom(options.seed);
    this.trace = new Trace(() => this.clock.monotonicMs());
    this.links = new SimLinks(this.random.split('network'), this.trace, options.links ?? calmLinks);
    const { seenGossipMs } = options;
    this.hub = new MemoryHub(
      { clock: this.clock },
      { links: this.links, ...(seenGossipMs === undefined ? {} : { seenGossipMs }) },
    );
    const names = [...options.nodes, ...(options.hostile ?? [])];
    this.members = names.map((name) => this.#enrol(name));
    this.hostile = new Set(this.members.slice(options.nodes.length).map((member) => member.nodeId));
    this.genesisText = encodeGenesis({
      v: 1,
      cluster: 'test',
      seed: toBase32(this.random.split('genesis').bytes(16)),
      members: this.members,
    });
    const genesis = decodeGenesis(this.genesisText);
    if (!genesis.ok) throw new Error(genesis.error);
    this.cluster = genesis.value.id;
    const { machines, hostile } = this;
    const slots = slotsOfCluster(genesis.value.genesis);
    this.placements = new Placements({ machines, hostile, slots, slotPlacement: options.slotPlacement });
    const keys = new Map(this.members.map((member) => [member.nodeId, publicKeyOf(member.peerId)]));
    this.library = new VersionLibrary(genesis.value.id, (node) => keys.get(node));
    const factories = options.checkers ?? allCheckers;
    this.#checkers = factories.map((factory) => ({ name: factory.name, checker: factory.create(this) }));
    for (const member of this.members.slice(0, options.nodes.length))
      this.machines.set(member.name, this.#build(member));
  }

  // --- looking ---

  get(name: string): Machine {
    const machine = this.machines.get(name);
    if (machine === undefined) throw new Error(`no node is called ${name}`);
    return machine;
  }

  peer(name: string): PeerId {
    return this.member(name).peerId;
  }

  member(name: string): Member {
    const member = this.members.find((candidate) => candidate.name === name);
    if (member === undefined) throw new Error(`no member is called ${name}`);
    return member;
  }

  keySeed(name: string): Uint8Array {
    return this.#keySeeds.get(name) as Uint8Array;
  }

  /** The process of a node that is up. */
  process(name: string): Process {
    const { process } = this.get(name);
    if (process === undefined) throw new Error(`${name} is not running`);
    return process;
  }

  /** Names of the nodes that are up and take calls. */
  up(): string[] {
    return [...this.machines.values()].filter((machine) => machine.isUp).map((machine) => machine.name);
  }

  /** True when slots are placed, so that nodes hold different ones. */
  get isPlaced(): boolean {
    return this.#options.slotPlacement !== undefined;
  }

  /** The machines that are to hold a document, by the longest control log there is; all where slots are not placed. */
  holdersOf(doc: DocId): Machine[] {
    return this.placements.holdersOf(doc);
  }

  contentPlacement(): PlacementMap | undefined {
    return this.placements.contents();
  }

  contentHoldersOf(object: { readonly ns: string; readonly key: string }): readonly Machine[] {
    return this.placements.contentHoldersOf(object);
  }

  nowMs(): number {
    return this.clock.monotonicMs();
  }

  // --- time ---

  /** Lets virtual time pass until the promise is settled. */
  async run<T>(promise: Promise<T>): Promise<T> {
    const value = await this.clock.run(promise, patienceMs);
    this.throwIfViolated();
    return value;
  }

  /** Lets virtual time pass until the condition holds. */
  async until(condition: () => boolean, limitMs = patienceMs): Promise<void> {
    await this.clock.runUntil(() => this.#violation !== undefined || condition(), limitMs);
    this.throwIfViolated();
  }

  async advance(ms: number): Promise<void> {
    await this.clock.advance(ms);
    this.throwIfViolated();
  }

  // --- nodes ---

  /** A node that is starting, for the first time or on what its disk kept; resolves, as time passes, when it is ready. */
  async starting(name: string): Promise<void> {
    const machine = this.get(name);
    if (machine.process !== undefined) throw new Error(`${name} runs already`);
    machine.lives += 1;
    machine.stoppedCleanly = false;
    const process = this.#spawn(machine, machine.lives);
    machine.process = process;
    this.trace.note(`start ${name} (life ${process.life})`);
    await Promise.race([process.node.start(), process.died.promise]);
    if (machine.process !== process) return;
    process.ready = true;
    this.trace.note(`ready ${name}`);
  }

  /** A node that is being stopped in good order; resolves, as time passes, when it has ended. */
  async stopping(name: string): Promise<void> {
    const machine = this.get(name);
    const process = this.process(name);
    process.ready = false;
    this.trace.note(`stop ${name}`);
    await Promise.race([process.node.stop(), process.died.promise]);
    if (machine.process !== process) return;
    machine.kv = machine.kv.reopen();
    machine.blobs = machine.blobs.reopen();
    machine.stoppedCleanly = true;
    this.#ended(machine);
    this.trace.note(`stopped ${name}`);
  }

  /** Cuts a machine's power: what was not flushed is gone, survives, or is left torn, as chance has it. */
  crash(name: string): void {
    const machine = this.get(name);
    this.trace.note(`crash ${name}`);
    this.#kill(machine);
    const random = this.random.split(`disk:crash:${name}:${machine.lives}`);
    machine.kv = machine.kv.crash(random);
    machine.blobs = machine.blobs.crash(random, { tornShare: 0.3 });
    this.#ended(machine);
  }

  /** Changes a machine's disk while nothing runs on it; `swap` puts the new one in place. */
  replaceDisk(machine: Machine, swap: () => void): void {
    if (machine.process !== undefined) this.#kill(machine);
    swap();
    machine.disksBefore += 1;
    machine.contents.replace(machine.kv, this.nowMs(), true);
    machine.holdings = holdingsOnDisk(machine, this);
    for (const id of [...machine.owed]) if (machine.kv.get(versionKey(id)) === undefined) machine.owed.delete(id);
    machine.owedContents.clear();
    this.#ended(machine);
  }

  // --- watching ---

  /** Notes that something is wrong; the script ends at its next step. */
  violate(checker: string, message: string): void {
    if (this.#violation !== undefined) return;
    this.#violation = new Violation(checker, message);
    this.trace.note(`VIOLATION of ${this.#violation.message}`);
  }

  throwIfViolated(): void {
    if (this.#violation !== undefined) throw this.#violation;
  }

  /** Asks every checker whether the whole is in order, now that everything has come to rest. */
  async checkQuiet(): Promise<void> {
    for (const { name, checker } of this.#checkers) await checker.quiet?.((message) => this.violate(name, message));
    this.throwIfViolated();
  }

  /** True when checkers look on, and so what each node holds is known. */
  get isWatched(): boolean {
    return this.#checkers.length > 0;
  }

  countFault(kind: string): void {
    this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1);
  }

  /** Faults by kind, those of the links included. */
  countedFaults(): Map<string, number> {
    const { lost, duplicated, torn } = this.links.faults;
    return new Map([...this.faults, ['gossipLost', lost], ['gossipDuplicated', duplicated], ['torn', torn]]);
  }

  #enrol(name: string): Member {
    const keySeed = this.random.split(`key:${name}`).bytes(32);
    this.#keySeeds.set(name, keySeed);
    const nodeId = toBase32(this.random.split(`id:${name}`).bytes(16)) as NodeId;
    const member = { name, nodeId, peerId: peerIdOf(signerFromSeed(keySeed).publicKey), addresses: [] };
    const { nodes, coordinators = nodes.slice(0, nodes.length < 3 ? 1 : 3) } = this.#options;
    const labels = this.#options.labels?.[name];
    return {
      ...member,
      ...(coordinators.includes(name) ? { roles: ['coordinator', 'storage'] } : {}),
      ...(labels === undefined ? {} : { labels }),
    };
  }

  #build(member: Member): Machine {
    const [minMs, maxMs] = this.#options.flushDelayMs ?? [1, 1];
    const flushes = this.random.split(`disk:flush:${member.name}`);
    return new Machine(member, this.keySeed(member.name), {
      clock: this.clock,
      pool: this.#blobs,
      flushDelayMs: () => (minMs === maxMs ? minMs : minMs + flushes.fraction() * (maxMs - minMs)),
      observe: (machine, store, keys) => this.#committed(machine, store, keys),
    });
  }

  #spawn(machine: Machine, life: number): Process {
    const { name } = machine;
    const clock = machine.clock.startProcess();
    const log = new SimLog(this.trace, name);
    const metrics = new MemoryMetrics();
    const network = this.hub.join(machine.member.peerId);
    const blobs = watchedBlobs(machine.blobs, (hash, bytes) => {
      for (const { name: of, checker } of this.#checkers) {
        checker.stored?.(machine, hash, bytes, (message) => this.violate(of, message));
      }
    });
    const sound: NodeAdapters = {
      clock,
      random: this.random.split(`node:${name}:${life}`),
      network,
      kv: machine.kv,
      blobs,
      verifier: this.#verifier,
      log,
      metrics,
    };
    const adapters = this.#options.tamper?.(sound, name) ?? sound;
    const { syncIntervalMs, slotPlacement, scrubPeriodMs } = this.#options;
    const node = composeNode(adapters, {
      keySeed: machine.keySeed,
      genesisText: this.genesisText,
      version: 'test',
      ...(syncIntervalMs === undefined ? {} : { syncIntervalMs }),
      ...(slotPlacement === undefined ? {} : { slotPlacement }),
      ...(scrubPeriodMs === undefined ? {} : { content: { scrub: { periodMs: scrubPeriodMs } } }),
      ...(this.#options.membership === undefined ? {} : { membership: this.#options.membership }),
      replication: { repairDelayMs: this.repairDelayMs, ...this.#options.replication },
    });
    return { life, node, network, clock, log, metrics, ready: false, died: Promise.withResolvers() };
  }

  #kill(machine: Machine): void {
    const { process } = machine;
    if (process === undefined) return;
    this.#countConflicts(process);
    process.ready = false;
    process.clock.kill();
    process.network.crash();
    process.died.resolve();
  }

  #ended(machine: Machine): void {
    machine.holdings = holdingsOnDisk(machine, this);
    machine.contents.replace(machine.kv, this.nowMs(), false);
    for (const { name, checker } of this.#checkers) checker.ended?.(machine, (message) => this.violate(name, message));
    if (machine.process?.clock.isDead === false) this.#countConflicts(machine.process);
    machine.process?.clock.kill();
    machine.process = undefined;
  }

  #countConflicts({ metrics }: Process): void {
    this.conflictsRaised += metrics.value('anabranch_conflicts_raised_total');
  }

  #committed(machine: Machine, store: KvReader, keys: readonly KvKey[]): void {
    this.trace.mix(machine.name);
    if (!this.isWatched) return;
    const added: KnownVersion[] = [];
    const dropped: BlobHash[] = [];
    const gained: BlobHash[] = [];
    const docs = new Set<DocId>();
    for (const key of keys) {
      this.trace.mix(key.subarray(0, 12));
      if (key[0] === objectRoom) docs.add(toBase32(key.subarray(1)) as DocId);
      if (key[0] === blobRoom && isCompleteKey(key)) {
        const manifest = hashOfKey(key);
        if (store.get(key) === undefined) {
          if (this.#isDropped(machine, store, manifest)) dropped.push(manifest);
        } else if (machine.contents.add(manifest)) gained.push(manifest);
      }
      if (key[0] !== versionRoom) continue;
      const known = this.#learn(store, key);
      if (known === undefined || machine.holdings.has(known.version.id)) continue;
      machine.holdings.add(known);
      added.push(known);
    }
    const commit = { machine, store, keys, added, docs, dropped, gained };
    for (const { name, checker } of this.#checkers) {
      checker.committed?.(commit, (message) => this.violate(name, message));
    }
  }

  /** True for a content that was whole, and that the node gave up: one that was found rotten has a job from then on. */
  #isDropped({ contents }: Machine, store: KvReader, manifest: BlobHash): boolean {
    const isRotten = store.get(jobIndexKey(manifest)) !== undefined;
    return contents.delete(manifest, this.nowMs(), isRotten) && !isRotten;
  }

  /** A client was given all bytes of a version by a node. */
  protected served(machine: Machine, id: VersionId, bytes: Uint8Array): void {
    const known = this.library.get(id);
    if (known === undefined) return;
    for (const { name, checker } of this.#checkers) {
      checker.served?.(machine, known, bytes, (message) => this.violate(name, message));
    }
  }

  #learn(store: KvReader, key: KvKey): KnownVersion | undefined {
    const row = store.get(key);
    if (row === undefined) return undefined;
    return this.library.learn(
      toBase32(key.subarray(1)) as VersionId,
      textOfRow(row),
      (known) => {
        for (const { name, checker } of this.#checkers) {
          checker.learned?.(known, (message) => this.violate(name, message));
        }
      },
      (message) => this.violate('verified-bytes', message),
    );
  }
}
