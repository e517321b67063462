import type { ControlState } from '../../crdt/control/state.ts';
import { ok, type PeerId } from '../../crdt/ids.ts';
import type { Replication } from '../replication/replication.ts';
import type {
  Confirmation,
  ConfirmInput,
  ConflictPage,
  ConflictsInput,
  ContentStatus,
  ListInput,
  Listing,
  MergeInput,
  MeshEvent,
  MeshNode,
  NodeInfo,
  NodeStatus,
  ObjectGraph,
  Outcome,
  PutInput,
  ReadInput,
  ReadVersion,
  WriteTarget,
  WrittenVersion,
} from './api.ts';
import { ClusterAdmin } from './cluster-admin.ts';
import type { ClusterModel } from './membership/cluster-model.ts';
import { NodeContent } from './node-content.ts';
import { type NodeAdapters, NodeParts, type NodeSettings } from './node-parts.ts';
import { NodeReplication } from './node-replication.ts';
import { refuse } from './refusals.ts';

/** Of the 5 s a stop may take, what writes under way get. The HTTP API has had as long before; the rest is for flushing. */
const drainMsMax = 2_000;

/** A node of the mesh: objects, their versions and contents, and the workers that keep it in step. */
export class Node implements MeshNode {
  readonly #adapters: NodeAdapters;
  readonly #settings: NodeSettings;
  readonly #parts: NodeParts;
  readonly #startedMs: number;
  readonly #stopping = new AbortController();
  readonly #unsubscribers: (() => void)[] = [];
  readonly cluster: ClusterAdmin;
  readonly replication: NodeReplication;
  readonly content: NodeContent;
  #ready = false;

  constructor(adapters: NodeAdapters, settings: NodeSettings) {
    this.#adapters = adapters;
    this.#settings = settings;
    this.#startedMs = adapters.clock.monotonicMs();
    this.#parts = new NodeParts(adapters, settings);
    this.cluster = new ClusterAdmin(this.#parts.control, settings.genesisText);
    const { replication, members, objects, slots, content } = this.#parts;
    this.replication = new NodeReplication({ ...adapters, replication, members, objects, slots });
    this.content = new NodeContent({ ...adapters, content, subjects: replication.subjects });
  }

  /** What the members say of themselves, and which of them live. */
  get model(): ClusterModel {
    return this.#parts.model;
  }

  async start(): Promise<void> {
    const { network, log } = this.#adapters;
    const incarnation = await this.#parts.incarnation.start();
    const { damaged, objects } = this.#parts;
    await damaged.open((id) => objects.sound(this.#adapters.kv, id) !== undefined);
    await this.#startControl();
    await this.#parts.model.open();
    await this.#parts.slots.start();
    await this.#parts.content.start();
    await this.#parts.replication.start();
    this.#parts.content.onStored(({ ns, key, version }) => {
      this.#parts.recorder.record({ type: 'replication', data: { ns, key, version, status: 'stored' } });
    });
    this.#parts.content.onDead(({ ns, key, version }) => {
      this.#parts.recorder.record({ type: 'replication', data: { ns, key, version, status: 'dead' } });
    });
    this.#parts.sync.start();
    this.#parts.gossip.start();
    this.#unsubscribers.push(network.onPeerChange(({ kind, peer }) => this.#peerChanged(kind === 'connected', peer)));
    this.#parts.puller.start();
    this.#parts.confirmations.start();
    await network.start();
    this.#parts.control.resume();
    this.#parts.model.start();
    this.#ready = true;
    const { nodeId, name } = this.#settings.identity;
    log.info('node:started', { nodeId, name, incarnation: this.#parts.incarnation.name, was: incarnation });
  }

  async stop(): Promise<void> {
    const { kv, blobs, network, log } = this.#adapters;
    this.#ready = false;
    await this.#parts.confirmations.stop();
    const unfinished = await this.#parts.gate.close(drainMsMax);
    this.#stopping.abort();
    for (const unsubscribe of this.#unsubscribers.splice(0)) unsubscribe();
    await this.#parts.model.stop();
    this.#parts.stopVoting();
    this.#parts.control.stop();
    this.#parts.puller.stop();
    this.#parts.gossip.stop();
    this.#parts.sync.stop();
    await this.#parts.slots.stop();
    await this.#parts.trees.idle();
    await this.#parts.replication.stop();
    await this.#parts.content.stop();
    await network.stop();
    await this.#parts.compactor.stop();
    this.#parts.documents.clear();
    await this.#parts.recorder.drain();
    await blobs.flush();
    await kv.flush();
    // A write that is still under way could issue a dot after the marker: then the next start takes a new incarnation.
    if (unfinished === 0) await this.#parts.incarnation.markCleanStop();
    log.info('node:stopped', { unfinished });
  }

  /** Where content should be and is: for tests that look into a node. */
  get replicationParts(): Replication {
    return this.#parts.replication;
  }

  ready(): boolean {
    return this.#ready;
  }

  put(input: PutInput): Promise<Outcome<WrittenVersion>> {
    return this.#parts.gate.pass(() => this.#after(input, () => this.#parts.writer.put(input)));
  }

  delete(input: WriteTarget): Promise<Outcome<WrittenVersion>> {
    return this.#parts.gate.pass(() => this.#after(input, () => this.#parts.writer.delete(input)));
  }

  merge(input: MergeInput): Promise<Outcome<WrittenVersion>> {
    return this.#parts.gate.pass(() => this.#after(input, () => this.#parts.writer.merge(input)));
  }

  confirm(input: ConfirmInput): Promise<Outcome<Confirmation>> {
    return this.#parts.gate.pass(() => this.#after(input, () => this.#parts.confirmations.confirm(input)));
  }

  bring(input: ReadInput): Promise<unknown> | undefined {
    return this.#parts.slots.bring(input);
  }

  read(input: ReadInput): Outcome<ReadVersion> {
    return this.#parts.slots.judged(input, this.#parts.reader.read(input));
  }

  list(input: ListInput): Outcome<Listing> {
    return this.#parts.slots.ofEverything(() => this.#parts.reader.list(input));
  }

  wholeList(input: ListInput): Promise<Outcome<Listing>> {
    return this.#parts.slots.list(input);
  }

  graph(input: { readonly ns: string; readonly key: string }): Outcome<ObjectGraph> {
    return this.#parts.slots.judged(input, this.#parts.reader.graph(input));
  }

  /** The object's Automerge document as one file, which any Automerge tool opens: one change a version. */
  document(object: { readonly ns: string; readonly key: string }): Promise<Outcome<Uint8Array>> {
    const { ns, key } = object;
    return this.#after(object, async () => {
      const document = await this.#parts.documents.get(this.#parts.objects.documentId(ns, key));
      return document === undefined ? refuse('not_found', `there is no object ${ns}/${key} here`) : ok(document.save());
    });
  }

  conflicts(input: ConflictsInput): Outcome<ConflictPage> {
    return this.#parts.slots.ofEverything(() => this.#parts.reader.conflicts(input));
  }

  wholeConflicts(input: ConflictsInput): Promise<Outcome<ConflictPage>> {
    return this.#parts.slots.conflicts(input);
  }

  events(options: { readonly after?: number; readonly signal: AbortSignal }): AsyncIterable<MeshEvent> {
    const signal = AbortSignal.any([options.signal, this.#stopping.signal]);
    return this.#parts.events.read(options.after ?? this.#parts.events.last(), signal);
  }

  async status(): Promise<NodeStatus> {
    const { kv, blobs, clock, network } = this.#adapters;
    const { cluster, genesis, identity, version } = this.#settings;
    const counts = this.#parts.objects.counts(kv);
    return {
      cluster,
      clusterName: genesis.cluster,
      nodeId: identity.nodeId,
      peerId: identity.peerId,
      name: identity.name,
      version,
      incarnation: this.#parts.incarnation.name,
      ready: this.#ready,
      uptimeMs: Math.round(clock.monotonicMs() - this.#startedMs),
      ...counts,
      provisional: counts.versions - counts.confirmed,
      quorum: this.#parts.confirmations.status(),
      pendingContent: this.#parts.content.pending(),
      records: { damaged: this.#parts.damaged.count },
      content: this.#contentStatus(),
      peers: { connected: network.connectedPeers().length, known: this.#parts.members.others(identity.nodeId) },
      disk: await blobs.space(),
      control: this.#parts.control.status(),
      membership: this.#parts.membership.status(),
      slots: this.#parts.slots.holdings.status(),
    };
  }

  nodes(): readonly NodeInfo[] {
    return this.#parts.model.nodes();
  }

  #contentStatus(): ContentStatus {
    const { content } = this.#parts;
    return { dead: content.deadCount(), ...content.damaged(), scrubbedAt: content.scrubStatus().last?.time ?? null };
  }

  /** The control log comes first: who may connect, vote and write follows from it. */
  async #startControl(): Promise<void> {
    const { control, membership } = this.#parts;
    await this.#parts.openControl();
    membership.membersChanged();
    this.#unsubscribers.push(control.onChange((state, before) => this.#controlChanged(state, before)));
  }

  #controlChanged(state: ControlState, before: ControlState): void {
    if (state.members !== before.members) {
      this.#parts.model.membersChanged();
      this.#parts.membership.membersChanged();
      this.#parts.slots.holdings.membersChanged();
    }
    this.#parts.replication.controlChanged();
    this.#parts.intake.logReached(state.seq);
    if (state.epoch !== before.epoch) {
      this.#parts.confirmations.epochChanged();
      this.#parts.missed.epochReached(state.epoch);
    }
    this.#adapters.log.info('control:appended', { seq: state.seq, hash: state.hash, epoch: state.epoch });
  }

  /** Does what needs an object's versions once they are here, as far as they can be had. */
  async #after<T>(
    object: { readonly ns: string; readonly key: string; readonly parents?: readonly string[] },
    act: () => Promise<Outcome<T>>,
  ): Promise<Outcome<T>> {
    const bringing = this.#parts.slots.bring(object);
    if (bringing !== undefined) await bringing;
    return this.#parts.slots.judged(object, await act());
  }

  #peerChanged(isOnline: boolean, peer: PeerId): void {
    const member = this.#parts.members.byPeer(peer);
    if (member === undefined) return;
    const { nodeId, name } = member;
    this.#adapters.log.info(isOnline ? 'peer:connected' : 'peer:disconnected', { name, nodeId });
  }
}
