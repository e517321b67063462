import { coordinatorsOf } from '../../crdt/control/state.ts';
import type { BlobHash, NodeId, PeerId } from '../../crdt/ids.ts';
import { inboundStreamsMax, replicasProtocol } from '../../protocols/replicas/limits.ts';
import { serveReplicas } from '../../protocols/replicas/server.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Counter } from '../ports/metrics.ts';
import { type Absent, absentOf, fullNodes, repairDelayMsDefault, watchGone } from './absences.ts';
import { ReplicationAuditor } from './auditor.ts';
import { ContentDropper } from './content-dropper.ts';
import { DemandedAudits } from './demanded-audits.ts';
import { type DrainProgress, DrainSurveys } from './drain-progress.ts';
import { IndexFollower } from './index-follower.ts';
import { WriteIntents } from './intents.ts';
import { ContentInventory } from './inventory.ts';
import { Leases } from './leases.ts';
import { MeshView } from './mesh-view.ts';
import { OrderTaker } from './order-taker.ts';
import { PlacementDirectory } from './placement-directory.ts';
import { PlacementFollower } from './placement-follower.ts';
import { type MeshChange, type MovePage, MovePreview, nodesAfter, type PreviewBounds } from './preview.ts';
import { ProofGiver } from './proof-giver.ts';
import { RepairQueue } from './repair-queue.ts';
import { ReplicaIndex } from './replica-index.ts';
import { ReplicaPeers } from './replica-peers.ts';
import { ReplicaProver } from './replica-prover.ts';
import { ReplicaService } from './replica-service.ts';
import { ReplicaViews } from './replica-views.ts';
import type { FalseProof, ReplicationDependencies, ReplicationOptions } from './replication-dependencies.ts';
import type { Subject } from './subject.ts';
import { SubjectIndex } from './subject-index.ts';
import { UnprovedCopies } from './unproved-copies.ts';

export type {
  FalseProof,
  ReplicatedContent,
  ReplicationDependencies,
  ReplicationSettings,
} from './replication-dependencies.ts';

/** Everything about where content should be and is: what a node's composition makes, starts, stops and asks. */
export class Replication {
  readonly placement: PlacementDirectory;
  readonly inventory: ContentInventory;
  readonly index: ReplicaIndex;
  readonly subjects: SubjectIndex;
  readonly leases: Leases;
  readonly prover: ReplicaProver;
  readonly dropper: ContentDropper;
  readonly intents: WriteIntents;
  readonly auditor: ReplicationAuditor;
  /** Replication in the whole mesh, as all coordinators know it. */
  readonly mesh: MeshView;
  readonly #views: ReplicaViews;
  readonly #drains: DrainSurveys;
  readonly #dependencies: ReplicationDependencies;
  readonly #options: ReplicationOptions;
  readonly #peers: ReplicaPeers;
  readonly #giver: ProofGiver;
  readonly #follower: IndexFollower;
  readonly #orders: OrderTaker;
  readonly #repairs: RepairQueue;
  readonly #placementFollower: PlacementFollower;
  readonly #unproved: UnprovedCopies;
  readonly #falseProofs: Counter;
  readonly #faults: Counter;
  readonly #stopping = new AbortController();
  /** The coordinators as the control log named them when it was last looked at; they share the slots. */
  #sharedAmong: string | undefined;
  #unsubscribe: () => void = () => undefined;

  constructor(dependencies: ReplicationDependencies, options: ReplicationOptions) {
    const { network, clock, random, kv, log, metrics, content, versions, state } = dependencies;
    const { self } = options;
    this.#dependencies = dependencies;
    this.#options = options;
    this.#falseProofs = metrics.counter({
      name: 'anabranch_replica_false_proofs_total',
      help: 'Challenges that were answered with what is no proof.',
    });
    this.#faults = metrics.counter({
      name: 'anabranch_replicas_faults_total',
      help: 'Streams of the replicas protocol that ended because a peer broke it.',
    });
    const base = { kv, clock, log };
    const absent = (): Absent => this.#absent();
    const peerOf = (node: NodeId): PeerId | undefined => state().members.get(node)?.peerId;
    this.placement = new PlacementDirectory({ state, nodesOf: dependencies.nodesOf });
    const placement = this.placement;
    this.inventory = new ContentInventory({
      ...base,
      random,
      heldAfter: (...page) => content.heldAfter(...page),
    });
    this.index = new ReplicaIndex(base, {
      own: {
        nodeId: self,
        sizeOf: (manifest) => content.sizeOf(kv, manifest),
        tree: () => this.inventory.tree(),
      },
    });
    this.subjects = new SubjectIndex({ ...base, versions });
    this.leases = new Leases(base);
    this.#peers = new ReplicaPeers({ network, clock });
    this.#giver = new ProofGiver({
      ...base,
      shelf: content,
      leases: this.leases,
      nodeOf: (peer) => this.#nodeOf(peer),
      localPeer: network.localPeer,
      metrics,
    });
    this.prover = new ReplicaProver({
      peers: this.#peers,
      giver: this.#giver,
      clock,
      random,
      peerOf,
      fetchFrom: (peer, hash, sizeBytes) => content.fetchFrom(peer, hash, sizeBytes),
      onWrong: (node, manifest) => this.#caught({ node, manifest }),
      log,
      metrics,
    });
    this.dropper = new ContentDropper({
      ...base,
      subjects: this.subjects,
      placement,
      absent,
      prover: this.prover,
      leases: this.leases,
      liveness: dependencies.liveness,
      shelf: content,
      drop: (transaction, manifest) => content.drop(transaction, manifest),
      dropped: () => content.dropped(),
      self,
      metrics,
    });
    this.#orders = new OrderTaker({
      kv,
      versions,
      placement,
      absent,
      self,
      want: (wanted) => content.want(wanted),
      bring: dependencies.bring,
      log,
    });
    this.intents = new WriteIntents({
      ...base,
      random,
      placement,
      absent,
      prover: this.prover,
      peers: this.#peers,
      peerOf,
      dropper: this.dropper,
      shelf: content,
      self,
      onProved: (node, manifest) => {
        if (this.#isCoordinator(self)) this.index.note(node, manifest, 'proved');
      },
      metrics,
    });
    this.#follower = new IndexFollower(
      {
        index: this.index,
        peers: this.#peers,
        members: () => [...state().members.values()],
        isKeeper: () => this.#isCoordinator(self),
        clock,
        random,
        log,
        metrics,
      },
      { self, followEveryMs: options.followEveryMs },
    );
    this.#repairs = new RepairQueue({
      index: this.index,
      peers: this.#peers,
      peerOf,
      self,
      takeOwn: (orders) => this.#orders.take(orders, true),
      refresh: (node) => this.#follower.refreshOne(node),
      onDone: () => this.auditor.repaired(),
      clock,
      log,
      metrics,
    });
    this.#unproved = new UnprovedCopies(
      {
        prover: this.prover,
        isOnline: (node) => state().members.has(node) && dependencies.liveness.offlineForMs(node) === undefined,
        note: (...finding) => this.index.note(...finding),
        onUnproved: (copies) => {
          for (const copy of copies) dependencies.onUnproved(copy);
        },
        onWanting: () => this.auditor.copyWanting(),
        clock,
        log,
        metrics,
      },
      { repairDelayMs: this.#repairDelayMs },
    );
    this.auditor = new ReplicationAuditor(
      {
        index: this.index,
        follower: this.#follower,
        subjects: this.subjects,
        written: (version) => versions.record(kv, version),
        placement,
        repairs: this.#repairs,
        liveness: dependencies.liveness,
        absent,
        fetchedUntilMs: () => content.fetchedUntilMs(),
        full: () => fullNodes(state().members.keys(), dependencies.freeBytesOf),
        members: () => new Set(state().members.keys()),
        coordinators: () => this.#coordinators(),
        slotOf: dependencies.slotOf,
        checks: {
          ...base,
          index: this.index,
          prover: this.prover,
          peers: this.#peers,
          peerOf,
          shelf: content,
          random,
          unproved: this.#unproved,
        },
        clock,
        random,
        log,
        metrics,
      },
      { self, auditEveryMs: options.auditEveryMs },
    );
    this.#drains = new DrainSurveys({
      ...{ clock, log, self, placement, absent, index: this.index, subjects: this.subjects, prover: this.prover },
      isReachable: (node) => node === self || this.#peers.isConnected(peerOf(node) ?? ('' as PeerId)),
      isDraining: (node) => state().members.get(node)?.draining === true,
    });
    this.#views = new ReplicaViews({
      auditor: this.auditor,
      demanded: new DemandedAudits({ audit: () => this.auditor.audit('demand'), clock }),
      index: this.index,
      follower: this.#follower,
      intents: this.intents,
      placement,
      absent,
      graceMs: (node) => this.graceMs(node),
      isMember: (node) => state().members.has(node),
      nodeOf: (peer) => this.#nodeOf(peer),
      coordinators: () => this.#coordinators(),
      drainProgress: (node) => this.drainProgress(node),
      preview: (...question) => this.preview(...question),
      self,
      clock,
      log,
    });
    this.mesh = new MeshView({
      peers: this.#peers,
      own: this.#views,
      coordinators: () => coordinatorsOf(state()),
      peerOf,
      self: { nodeId: self, peerId: network.localPeer },
      log,
    });
    this.#placementFollower = new PlacementFollower({
      ...base,
      subjects: this.subjects,
      placement,
      orders: this.#orders,
      state,
      stateAt: dependencies.stateAt,
      onChanged: () => {
        content.reconsider();
        this.auditor.placementChanged();
      },
    });
  }

  /** Before the network starts, and before anything may be dropped. Resolves once the inventory is whole. */
  async start(): Promise<void> {
    const { network, clock } = this.#dependencies;
    const { signal } = this.#stopping;
    this.leases.start();
    await this.inventory.start();
    const source = new ReplicaService({
      ...this.#dependencies,
      inventory: this.inventory,
      giver: this.#giver,
      orders: this.#orders,
      prover: this.prover,
      shelf: this.#dependencies.content,
      nodeOf: (peer) => this.#nodeOf(peer),
      isCoordinator: (node) => this.#isCoordinator(node),
      views: this.#views,
      self: this.#options.self,
    });
    network.handle(
      replicasProtocol,
      (stream) => this.#serve(serveReplicas(stream, source, { clock, signal }), stream.remotePeer),
      { inboundStreamsMax },
    );
    this.#peers.start();
    this.#unsubscribe = network.onPeerChange(({ kind, peer }) => {
      if (kind !== 'disconnected') return;
      this.#giver.peerGone(peer);
      const node = this.#nodeOf(peer);
      if (node !== undefined) for (const each of [this.intents, this.dropper]) each.nodeGone(node);
    });
    this.#follower.start();
    this.#repairs.start();
    // Whoever has come, or stands in for one that is gone, can prove what nobody could before.
    this.intents.start((listener) => {
      const unsubscribe = network.onPeerChange(({ kind }) => {
        if (kind === 'connected') listener();
      });
      const unwatch = watchGone({ ...this.#dependencies, absent: () => this.#absent() }, listener);
      return () => {
        unsubscribe();
        unwatch();
      };
    });
    this.#sharedAmong = this.#coordinators().join();
    this.auditor.start();
    this.#placementFollower.start();
  }

  /** Ends what is under way; what is on disk is taken up at the next start. */
  async stop(): Promise<void> {
    this.#unsubscribe();
    this.#stopping.abort();
    this.#peers.stop();
    await Promise.all([
      this.auditor.stop(),
      this.#unproved.stop(),
      this.#placementFollower.stop(),
      this.intents.stop(),
      this.#repairs.stop(),
      this.#orders.stop(),
      this.#follower.stop(),
    ]);
    this.leases.stop();
    await this.index.stop();
    await this.inventory.stop();
  }

  /** The control log has grown. */
  controlChanged(): void {
    this.#placementFollower.changed();
    this.#drains.controlChanged();
    this.intents.membersChanged(this.#dependencies.state().members);
    const before = this.#sharedAmong;
    this.#sharedAmong = this.#coordinators().join();
    // Slots that were another's are to be audited by who has them now.
    if (before !== undefined && before !== this.#sharedAmong) this.auditor.placementChanged();
  }

  /** Whether this node is to hold the content of a version: as a desired holder, or in the place of one that is gone. */
  shouldHold(version: Pick<Subject, 'ns' | 'key' | 'version'>): boolean {
    return this.#orders.shouldHold(version);
  }

  /** The peers that may have a content, most likely first: named by an order, known to the index, desired, and the rest. */
  holdersOf(
    content: { readonly manifest: BlobHash } | undefined,
    object: { readonly ns: string; readonly key: string } | undefined,
  ): readonly PeerId[] {
    const { network } = this.#dependencies;
    const nodes = content === undefined ? [] : this.#namedHolders(content.manifest);
    if (object !== undefined) {
      const { desired, substitutes } = this.placement.assigned(object.ns, object.key, this.#absent().gone);
      nodes.push(...desired.holders, ...substitutes);
    }
    return [...new Set([...this.#peersOf(nodes), ...network.connectedPeers()])];
  }

  /** The other peers that are said to have a content: by an order, or by themselves to the index. */
  namedHoldersOf(manifest: BlobHash): readonly PeerId[] {
    return this.#peersOf(this.#namedHolders(manifest));
  }

  #namedHolders(manifest: BlobHash): NodeId[] {
    return [...this.#orders.hinted(manifest), ...this.#indexedHolders(manifest)];
  }

  #peersOf(nodes: readonly NodeId[]): PeerId[] {
    const { members } = this.#dependencies.state();
    return nodes.flatMap((node) => (node === this.#options.self ? [] : (members.get(node)?.peerId ?? [])));
  }

  /** It is asked between two blobs of a transfer: a store that is closed or fails by then ends that, and nothing else. */
  #indexedHolders(manifest: BlobHash): NodeId[] {
    try {
      return this.index.holders(manifest).flatMap(({ nodeId, isSuspect }) => (isSuspect ? [] : [nodeId]));
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      return [];
    }
  }

  /** How far a node that drains has come; undefined on a node that keeps no index. */
  async drainProgress(node: NodeId): Promise<DrainProgress | undefined> {
    return this.#isCoordinator(this.#options.self) ? this.#drains.look(node) : undefined;
  }

  /**
   * A page of what a change would move, of the versions after one of them. What nodes have already is known on
   * coordinators only.
   */
  async preview(
    change: MeshChange,
    bounds: PreviewBounds,
    after?: Pick<Subject, 'doc' | 'version'>,
  ): Promise<MovePage> {
    const before = this.placement.map();
    const view = {
      before,
      after: before.withNodes(nodesAfter(before.nodes, change)),
      holds: (node: NodeId, manifest: BlobHash) => this.index.holds(node, manifest),
    };
    const preview = new MovePreview(view, bounds);
    await this.subjects.catchUp();
    for await (const page of this.subjects.walk(after)) {
      for (const subject of page) {
        preview.add(subject);
        if (preview.isFull) return preview.page();
      }
    }
    return preview.page();
  }

  /** Who is offline, as this node sees it: waited for, or replaced. */
  absent(): Absent {
    return this.#absent();
  }

  /** Milliseconds until a node that is offline counts as gone; the whole delay for one that is not offline. */
  graceMs(node: NodeId): number {
    return Math.max(0, this.#repairDelayMs - (this.#dependencies.liveness.offlineForMs(node) ?? 0));
  }

  get #repairDelayMs(): number {
    return this.#options.repairDelayMs ?? repairDelayMsDefault;
  }

  #absent(): Absent {
    const { state, liveness } = this.#dependencies;
    return absentOf(state().members.keys(), liveness, this.#repairDelayMs);
  }

  #isCoordinator(node: NodeId): boolean {
    return this.#coordinators().includes(node);
  }

  /** By node id. */
  #coordinators(): readonly NodeId[] {
    return coordinatorsOf(this.#dependencies.state()).map(({ nodeId }) => nodeId);
  }

  #nodeOf(peer: PeerId): NodeId | undefined {
    for (const { nodeId, peerId } of this.#dependencies.state().members.values()) if (peerId === peer) return nodeId;
    return undefined;
  }

  #caught({ node, manifest }: FalseProof): void {
    this.#falseProofs.add(1);
    this.index.note(node, manifest, 'wrong');
    this.#dependencies.onFalseProof({ node, manifest });
  }

  async #serve(serving: Promise<void>, peer: PeerId): Promise<void> {
    try {
      await serving;
    } catch (error) {
      const isFault = error instanceof MeshError && error.code === 'protocol_violation';
      if (isFault) this.#faults.add(1);
      this.#dependencies.log[isFault ? 'warn' : 'debug']('replicas:serving_failed', { peer, error });
      throw error;
    }
  }
}
