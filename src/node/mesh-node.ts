import { controlLogRegister } from '../../crdt/certificate.ts';
import { type ControlState, coordinatorsOfEpoch } from '../../crdt/control/state.ts';
import type { Genesis } from '../../crdt/genesis.ts';
import { type ClusterId, type NodeId, ok, type PeerId } from '../../crdt/ids.ts';
import type { Signer } from '../../crdt/signature.ts';
import { QuorumEngine } from '../../protocols/quorum/engine.ts';
import { ControlLog } from '../control/control-log.ts';
import type { BlobStore } from '../ports/blob-store.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Network } from '../ports/network.ts';
import type { Random } from '../ports/random.ts';
import type { Verifier } from '../ports/verifier.ts';
import type {
  Confirmation,
  ConfirmInput,
  ConflictPage,
  ConflictsInput,
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
import { KvAcceptorStore } from './confirmation/acceptor-store.ts';
import { Certificates } from './confirmation/certificates.ts';
import { Confirmations } from './confirmation/confirmations.ts';
import { DocumentPuller } from './confirmation/document-puller.ts';
import { ObjectKind } from './confirmation/object-kind.ts';
import { RegisterBooks } from './confirmation/register-books.ts';
import { ContentPlane } from './content/content-plane.ts';
import { DocumentCompactor } from './document-compactor.ts';
import { EventLog } from './event-log.ts';
import { EventRecorder } from './event-recorder.ts';
import { GossipWorker } from './gossip-worker.ts';
import { Incarnation } from './incarnation.ts';
import { MemberDirectory } from './member-directory.ts';
import { ObjectReader } from './object-reader.ts';
import { ObjectStore } from './object-store.ts';
import { ObjectWriter } from './object-writer.ts';
import { OpenDocuments } from './open-documents.ts';
import { PropagationMonitor } from './propagation.ts';
import { RecordIntake } from './record-intake.ts';
import { refuse } from './refusals.ts';
import { syncSink } from './sync-sink.ts';
import { SyncView } from './sync-view.ts';
import { SyncWorker } from './sync-worker.ts';
import { TipFinder } from './tip-finder.ts';
import { VersionJournal } from './version-journal.ts';
import { WriteGate } from './write-gate.ts';

/** Shares of the metadata, fixed when a cluster is founded. */
const slotsDefault = 16;
const syncIntervalMsDefault = 30_000;
/** Of the 5 s a stop may take, what writes under way get; the rest is for flushing. */
const drainMsMax = 3_000;

/** The adapters a node stands on. */
export interface NodeAdapters {
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly kv: Kv;
  readonly blobs: BlobStore;
  readonly verifier: Verifier;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Who a node is. */
export interface NodeIdentity {
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  readonly name: string;
}

export interface NodeSettings {
  readonly identity: NodeIdentity;
  readonly signer: Signer;
  readonly cluster: ClusterId;
  readonly genesis: Genesis;
  /** The genesis entry's text, without a newline at its end. */
  readonly genesisText: string;
  /** The program's version, for status. */
  readonly version: string;
  readonly syncIntervalMs?: number;
}

/** A node of the mesh: objects, their versions and contents, and the workers that keep it in step. */
export class Node implements MeshNode {
  readonly #adapters: NodeAdapters;
  readonly #settings: NodeSettings;
  readonly #members: MemberDirectory;
  readonly #control: ControlLog;
  readonly #votes: KvAcceptorStore;
  readonly #intake: RecordIntake;
  readonly #objects: ObjectStore;
  readonly #incarnation: Incarnation;
  readonly #events: EventLog;
  readonly #recorder: EventRecorder;
  readonly #content: ContentPlane;
  readonly #certificates: Certificates;
  readonly #confirmations: Confirmations;
  readonly #objectKind: ObjectKind;
  readonly #puller: DocumentPuller;
  readonly #writer: ObjectWriter;
  readonly #reader: ObjectReader;
  readonly #documents: OpenDocuments;
  readonly #compactor: DocumentCompactor;
  readonly #sync: SyncWorker;
  readonly #gossip: GossipWorker;
  readonly #gate: WriteGate;
  readonly #startedMs: number;
  readonly #stopping = new AbortController();
  #ready = false;
  #quorum: QuorumEngine | undefined;
  readonly cluster: ClusterAdmin;
  readonly #unsubscribers: (() => void)[] = [];

  constructor(adapters: NodeAdapters, settings: NodeSettings) {
    const { clock, kv, log, metrics, network, random, verifier } = adapters;
    const { cluster, identity, signer } = settings;
    this.#adapters = adapters;
    this.#settings = settings;
    this.#startedMs = clock.monotonicMs();
    this.#gate = new WriteGate(clock);
    this.#votes = new KvAcceptorStore(kv);
    const control = new ControlLog(
      { kv, network, clock, random, log, votes: this.#votes, quorum: () => this.#quorum },
      { nodeId: identity.nodeId, genesis: settings.genesis, genesisText: settings.genesisText, cluster },
    );
    this.#control = control;
    this.cluster = new ClusterAdmin(control, settings.genesisText);
    this.#members = new MemberDirectory(() => control.state());
    this.#objects = new ObjectStore({ cluster, slots: slotsDefault });
    this.#incarnation = new Incarnation({ kv, random }, identity.nodeId);
    this.#events = new EventLog(kv);
    this.#recorder = new EventRecorder({ kv, events: this.#events, log });
    this.#content = new ContentPlane(adapters, {
      // Every member may hold everything, and everyone wants it, until placement chooses.
      holdersOf: () => network.connectedPeers(),
      peerOf: (node) => this.#members.byNode(node)?.peerId,
      shouldHold: () => true,
    });
    const objects = this.#objects;
    const content = this.#content;
    this.#documents = new OpenDocuments({ kv, objects, log, metrics });
    this.#compactor = new DocumentCompactor({ kv, clock, objects, documents: this.#documents, log, metrics });
    const { nodeId } = identity;
    const events = this.#events;
    this.#certificates = new Certificates(
      {
        kv,
        verifier,
        objects,
        events,
        log,
        metrics,
        coordinatorsOf: (epoch) => coordinatorsOfEpoch(control.state(), epoch),
        epochAhead: (peer) => control.followLater(peer),
        announce: (doc, certificate) => this.#gossip.announceCertificate(doc, certificate),
        changed: ({ doc, row }) => row !== undefined && this.#confirmations.changed(doc, row),
      },
      { cluster, nodeId },
    );
    const certificates = this.#certificates;
    this.#confirmations = new Confirmations(
      {
        ...adapters,
        objects,
        certificates,
        engine: {
          propose: (...proposal) => this.#engine().propose(...proposal),
          restoredCoordinators: () => this.#quorum?.restoredCoordinators() ?? [],
        },
        recorder: this.#recorder,
        view: () => control.view(),
        writesUnderWay: () => this.#gate.underWay,
      },
      { nodeId },
    );
    const journal = new VersionJournal({
      objects,
      events,
      compactor: this.#compactor,
      changed: (doc, row) => this.#confirmations.changed(doc, row),
      log,
      metrics,
    });
    const view = new SyncView({ kv, objects, incarnation: this.#incarnation, content });
    const intake = new RecordIntake(
      { kv, clock, verifier, objects, journal, control, incarnation: this.#incarnation, content, log, metrics },
      cluster,
    );
    this.#intake = intake;
    const propagation = new PropagationMonitor({ clock, members: this.#members, metrics });
    this.#sync = new SyncWorker(
      { network, clock, random, kv, objects, view, intake, propagation, certificates, control, log, metrics },
      { slots: slotsDefault, intervalMs: settings.syncIntervalMs ?? syncIntervalMsDefault },
    );
    this.#gossip = new GossipWorker(
      { network, clock, objects, view, intake, certificates, sync: this.#sync, content, propagation, log, metrics },
      { cluster, slots: slotsDefault },
    );
    this.#writer = new ObjectWriter(
      {
        kv,
        clock,
        signer,
        objects,
        journal,
        incarnation: this.#incarnation,
        content,
        control,
        tips: new TipFinder(objects),
        announce: (appended, isUrgent) => this.#gossip.announce(appended, isUrgent),
        settle: (doc, written, signal) => this.#confirmations.settle(doc, written, signal),
      },
      { identity, cluster },
    );
    this.#reader = new ObjectReader({ kv, objects, content });
    const parts = { clock, view, propagation, certificates };
    this.#puller = new DocumentPuller({
      network,
      clock,
      sinkOf: (peer) => syncSink(parts, peer, (texts, contents) => intake.receive(texts, peer, contents)),
    });
    this.#objectKind = new ObjectKind({
      kv,
      objects,
      localPeer: network.localPeer,
      pull: (peer, doc, signal) => this.#puller.pull(peer, doc, signal),
    });
  }

  async start(): Promise<void> {
    const { network, log } = this.#adapters;
    const incarnation = await this.#incarnation.start();
    await this.#startControl();
    await this.#content.start();
    this.#content.onStored(({ ns, key, version }) => {
      this.#recorder.record({ type: 'replication', data: { ns, key, version, status: 'stored' } });
    });
    this.#sync.start();
    this.#gossip.start();
    this.#unsubscribers.push(network.onPeerChange(({ kind, peer }) => this.#peerChanged(kind === 'connected', peer)));
    this.#puller.start();
    this.#confirmations.start();
    await network.start();
    this.#control.resume();
    this.#ready = true;
    const { nodeId, name } = this.#settings.identity;
    log.info('node:started', { nodeId, name, incarnation: this.#incarnation.name, was: incarnation });
  }

  async stop(): Promise<void> {
    const { kv, blobs, network, log } = this.#adapters;
    this.#ready = false;
    await this.#confirmations.stop();
    const unfinished = await this.#gate.close(drainMsMax);
    this.#stopping.abort();
    for (const unsubscribe of this.#unsubscribers.splice(0)) unsubscribe();
    this.#quorum?.stop();
    this.#control.stop();
    this.#puller.stop();
    this.#gossip.stop();
    this.#sync.stop();
    await this.#content.stop();
    await network.stop();
    await this.#compactor.stop();
    this.#documents.clear();
    await this.#recorder.drain();
    await blobs.flush();
    await kv.flush();
    // A write that is still under way could issue a dot after the marker: then the next start takes a new incarnation.
    if (unfinished === 0) await this.#incarnation.markCleanStop();
    log.info('node:stopped', { unfinished });
  }

  ready(): boolean {
    return this.#ready;
  }

  put(input: PutInput): Promise<Outcome<WrittenVersion>> {
    return this.#gate.pass(() => this.#writer.put(input));
  }

  delete(input: WriteTarget): Promise<Outcome<WrittenVersion>> {
    return this.#gate.pass(() => this.#writer.delete(input));
  }

  merge(input: MergeInput): Promise<Outcome<WrittenVersion>> {
    return this.#gate.pass(() => this.#writer.merge(input));
  }

  confirm(input: ConfirmInput): Promise<Outcome<Confirmation>> {
    return this.#gate.pass(() => this.#confirmations.confirm(input));
  }

  read(input: ReadInput): Outcome<ReadVersion> {
    return this.#reader.read(input);
  }

  list(input: ListInput): Outcome<Listing> {
    return this.#reader.list(input);
  }

  graph(input: { readonly ns: string; readonly key: string }): Outcome<ObjectGraph> {
    return this.#reader.graph(input);
  }

  /** The object's Automerge document as one file, which any Automerge tool opens: one change a version. */
  async document({ ns, key }: { readonly ns: string; readonly key: string }): Promise<Outcome<Uint8Array>> {
    const document = await this.#documents.get(this.#objects.documentId(ns, key));
    return document === undefined ? refuse('not_found', `there is no object ${ns}/${key} here`) : ok(document.save());
  }

  conflicts(input: ConflictsInput): Outcome<ConflictPage> {
    return this.#reader.conflicts(input);
  }

  events(options: { readonly after?: number; readonly signal: AbortSignal }): AsyncIterable<MeshEvent> {
    const signal = AbortSignal.any([options.signal, this.#stopping.signal]);
    return this.#events.read(options.after ?? this.#events.last(), signal);
  }

  async status(): Promise<NodeStatus> {
    const { kv, blobs, clock, network } = this.#adapters;
    const { cluster, genesis, identity, version } = this.#settings;
    const counts = this.#objects.counts(kv);
    return {
      cluster,
      clusterName: genesis.cluster,
      nodeId: identity.nodeId,
      peerId: identity.peerId,
      name: identity.name,
      version,
      incarnation: this.#incarnation.name,
      ready: this.#ready,
      uptimeMs: Math.round(clock.monotonicMs() - this.#startedMs),
      ...counts,
      provisional: counts.versions - counts.confirmed,
      quorum: this.#confirmations.status(),
      pendingContent: this.#content.pending(),
      peers: { connected: network.connectedPeers().length, known: this.#members.others(identity.nodeId) },
      disk: await blobs.space(),
      control: this.#control.status(),
    };
  }

  nodes(): readonly NodeInfo[] {
    const connected = new Set(this.#adapters.network.connectedPeers());
    const ownId = this.#settings.identity.nodeId;
    return this.#members.members.map(({ nodeId, peerId, name, addresses, roles, labels }) => {
      const self = nodeId === ownId;
      const state = self || connected.has(peerId) ? 'online' : 'offline';
      return { nodeId, peerId, name, state, self, addresses, roles, labels };
    });
  }

  /** The control log comes first: who may connect, vote and write follows from it. */
  async #startControl(): Promise<void> {
    const { network, clock, random, log } = this.#adapters;
    const control = this.#control;
    await control.start();
    this.#quorum = new QuorumEngine({
      nodeId: this.#settings.identity.nodeId,
      signer: this.#settings.signer,
      network,
      clock,
      random,
      log,
      store: this.#votes,
      certificates: new RegisterBooks((name) =>
        name === controlLogRegister ? control.certificates : this.#certificates,
      ),
      view: () => control.view(),
      kindOf: (register) => (register === controlLogRegister ? control.kind : this.#objectKind),
      epochAhead: (peer) => control.followLater(peer),
    });
    this.#quorum.start();
    network.setMembers(this.#members.members);
    this.#unsubscribers.push(control.onChange((state, before) => this.#controlChanged(state, before)));
  }

  #controlChanged(state: ControlState, before: ControlState): void {
    if (state.members !== before.members) this.#adapters.network.setMembers(this.#members.members);
    this.#intake.logReached(state.seq);
    if (state.epoch !== before.epoch) this.#confirmations.epochChanged();
    this.#adapters.log.info('control:appended', { seq: state.seq, hash: state.hash, epoch: state.epoch });
  }

  #engine(): QuorumEngine {
    if (this.#quorum === undefined) throw new Error('the quorum engine has not started yet');
    return this.#quorum;
  }

  #peerChanged(isOnline: boolean, peer: PeerId): void {
    const member = this.#members.byPeer(peer);
    if (member === undefined) return;
    const { nodeId, name } = member;
    this.#recorder.record({ type: 'node', data: { nodeId, name, state: isOnline ? 'online' : 'offline' } });
    this.#adapters.log.info(isOnline ? 'peer:connected' : 'peer:disconnected', { name, nodeId });
  }
}
