import type { Genesis } from '../../crdt/genesis.ts';
import { type ClusterId, type NodeId, ok, type PeerId } from '../../crdt/ids.ts';
import type { Signer } from '../../crdt/signature.ts';
import type { BlobStore } from '../ports/blob-store.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Network } from '../ports/network.ts';
import type { Random } from '../ports/random.ts';
import type { Verifier } from '../ports/verifier.ts';
import type {
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
import { SyncView } from './sync-view.ts';
import { SyncWorker } from './sync-worker.ts';
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
  /** The program's version, for status. */
  readonly version: string;
  readonly syncIntervalMs?: number;
}

/** A node of the mesh: objects, their versions and contents, and the workers that keep it in step. */
export class Node implements MeshNode {
  readonly #adapters: NodeAdapters;
  readonly #settings: NodeSettings;
  readonly #members: MemberDirectory;
  readonly #objects: ObjectStore;
  readonly #incarnation: Incarnation;
  readonly #events: EventLog;
  readonly #recorder: EventRecorder;
  readonly #content: ContentPlane;
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
  #unsubscribe: () => void = () => undefined;

  constructor(adapters: NodeAdapters, settings: NodeSettings) {
    const { clock, kv, log, metrics, network, random, verifier } = adapters;
    const { cluster, identity, signer } = settings;
    this.#adapters = adapters;
    this.#settings = settings;
    this.#startedMs = clock.monotonicMs();
    this.#gate = new WriteGate(clock);
    this.#members = new MemberDirectory(settings.genesis);
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
    const journal = new VersionJournal({ objects, events: this.#events, compactor: this.#compactor, log, metrics });
    const view = new SyncView({ kv, objects, incarnation: this.#incarnation, content });
    const intake = new RecordIntake(
      {
        kv,
        clock,
        verifier,
        objects,
        journal,
        members: this.#members,
        incarnation: this.#incarnation,
        content,
        log,
        metrics,
      },
      cluster,
    );
    const propagation = new PropagationMonitor({ clock, members: this.#members, metrics });
    this.#sync = new SyncWorker(
      { network, clock, random, kv, objects, view, intake, propagation, log, metrics },
      { slots: slotsDefault, intervalMs: settings.syncIntervalMs ?? syncIntervalMsDefault },
    );
    this.#gossip = new GossipWorker(
      { network, clock, objects, view, intake, sync: this.#sync, content, propagation, log, metrics },
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
        announce: (appended) => this.#gossip.announce(appended),
      },
      { identity, cluster },
    );
    this.#reader = new ObjectReader({ kv, objects, content });
  }

  async start(): Promise<void> {
    const { network, log } = this.#adapters;
    const incarnation = await this.#incarnation.start();
    await this.#content.start();
    this.#content.onStored(({ ns, key, version }) => {
      this.#recorder.record({ type: 'replication', data: { ns, key, version, status: 'stored' } });
    });
    this.#sync.start();
    this.#gossip.start();
    this.#unsubscribe = network.onPeerChange(({ kind, peer }) => this.#peerChanged(kind === 'connected', peer));
    await network.start();
    this.#ready = true;
    const { nodeId, name } = this.#settings.identity;
    log.info('node:started', { nodeId, name, incarnation: this.#incarnation.name, was: incarnation });
  }

  async stop(): Promise<void> {
    const { kv, blobs, network, log } = this.#adapters;
    this.#ready = false;
    const unfinished = await this.#gate.close(drainMsMax);
    this.#stopping.abort();
    this.#unsubscribe();
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
      ...this.#objects.counts(kv),
      pendingContent: this.#content.pending(),
      peers: { connected: network.connectedPeers().length, known: this.#members.members.length - 1 },
      disk: await blobs.space(),
    };
  }

  nodes(): readonly NodeInfo[] {
    const connected = new Set(this.#adapters.network.connectedPeers());
    const ownId = this.#settings.identity.nodeId;
    return this.#members.members.map(({ nodeId, peerId, name, addresses }) => {
      const self = nodeId === ownId;
      return { nodeId, peerId, name, state: self || connected.has(peerId) ? 'online' : 'offline', self, addresses };
    });
  }

  #peerChanged(isOnline: boolean, peer: PeerId): void {
    const member = this.#members.byPeer(peer);
    if (member === undefined) return;
    const { nodeId, name } = member;
    this.#recorder.record({ type: 'node', data: { nodeId, name, state: isOnline ? 'online' : 'offline' } });
    this.#adapters.log.info(isOnline ? 'peer:connected' : 'peer:disconnected', { name, nodeId });
  }
}
