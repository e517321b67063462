import { controlLogRegister } from '../../crdt/certificate.ts';
import { effectivePolicy } from '../../crdt/control/namespace-policy.ts';
import { coordinatorsOfEpoch } from '../../crdt/control/state.ts';
import { type Genesis, slotsOfCluster } from '../../crdt/genesis.ts';
import type { ClusterId, NodeId, PeerId } from '../../crdt/ids.ts';
import type { Signer } from '../../crdt/signature.ts';
import { QuorumEngine } from '../../protocols/quorum/engine.ts';
import { ControlLog } from '../control/control-log.ts';
import { Membership } from '../control/membership.ts';
import type { BlobStore } from '../ports/blob-store.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Network } from '../ports/network.ts';
import type { Random } from '../ports/random.ts';
import type { Verifier } from '../ports/verifier.ts';
import type { Replication, ReplicationSettings } from '../replication/replication.ts';
import { KvAcceptorStore } from './confirmation/acceptor-store.ts';
import { Certificates } from './confirmation/certificates.ts';
import { Confirmations } from './confirmation/confirmations.ts';
import { MissedCertificates } from './confirmation/missed-certificates.ts';
import { holdsHead, ObjectKind } from './confirmation/object-kind.ts';
import { RegisterBooks } from './confirmation/register-books.ts';
import { ContentPlane, type ContentSettings } from './content/content-plane.ts';
import { DamagedRecords } from './damaged-records.ts';
import { DocumentCompactor } from './document-compactor.ts';
import { DocumentPuller } from './document-puller.ts';
import { EnclosedContents } from './enclosed-contents.ts';
import { EventLog } from './event-log.ts';
import { EventRecorder } from './event-recorder.ts';
import { GossipWorker } from './gossip-worker.ts';
import { Incarnation } from './incarnation.ts';
import { intentOf, joinReplication } from './joined-replication.ts';
import { MemberDirectory } from './member-directory.ts';
import { ClusterModel } from './membership/cluster-model.ts';
import type { MembershipSettings } from './membership/settings.ts';
import { ObjectReader } from './object-reader.ts';
import { ObjectStore } from './object-store.ts';
import { ObjectWriter } from './object-writer.ts';
import { OpenDocuments } from './open-documents.ts';
import { PropagationMonitor } from './propagation.ts';
import { RecordIntake } from './record-intake.ts';
import { SlotTrees } from './slot-trees.ts';
import { type SlotSettings, Slots } from './slots/slots.ts';
import { syncSink } from './sync-sink.ts';
import { SyncView } from './sync-view.ts';
import { SyncWorker } from './sync-worker.ts';
import { TipFinder } from './tip-finder.ts';
import { VersionJournal } from './version-journal.ts';
import { WriteGate } from './write-gate.ts';

const syncIntervalMsDefault = 30_000;

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
  /** What this node says of itself, and how it watches the others. */
  readonly membership?: MembershipSettings;
  /** Places slots in a small mesh too, as tests need it. */
  readonly slotPlacement?: SlotSettings;
  readonly content?: ContentSettings;
  /** How patient replication is. */
  readonly replication?: ReplicationSettings;
}

/**
 * The parts of one node, each made with what it needs of the others. Some need one another: what is made later is reached
 * through a function, and none is called before all are there.
 */
export class NodeParts {
  readonly members: MemberDirectory;
  readonly control: ControlLog;
  readonly membership: Membership;
  readonly votes: KvAcceptorStore;
  readonly intake: RecordIntake;
  readonly objects: ObjectStore;
  readonly damaged: DamagedRecords;
  readonly trees: SlotTrees;
  readonly incarnation: Incarnation;
  readonly events: EventLog;
  readonly recorder: EventRecorder;
  readonly content: ContentPlane;
  /** Where content should be and is. */
  readonly replication: Replication;
  readonly certificates: Certificates;
  readonly missed: MissedCertificates;
  readonly confirmations: Confirmations;
  readonly objectKind: ObjectKind;
  readonly puller: DocumentPuller;
  readonly slots: Slots;
  readonly writer: ObjectWriter;
  readonly reader: ObjectReader;
  readonly documents: OpenDocuments;
  readonly compactor: DocumentCompactor;
  readonly sync: SyncWorker;
  readonly gossip: GossipWorker;
  readonly gate: WriteGate;
  /** What the members say of themselves, and which of them live. */
  readonly model: ClusterModel;
  readonly #adapters: NodeAdapters;
  readonly #settings: NodeSettings;
  #engine: QuorumEngine | undefined;

  constructor(adapters: NodeAdapters, settings: NodeSettings) {
    const { clock, kv, log, metrics, network, random, verifier } = adapters;
    const { cluster, identity, signer } = settings;
    this.#adapters = adapters;
    this.#settings = settings;
    this.gate = new WriteGate(clock);
    this.votes = new KvAcceptorStore(kv, {
      holds: (reader, register, head) => holdsHead(reader, this.objects, { register, head }),
      // The control log keeps its certificates with its entries.
      certify: (transaction, certificate) =>
        certificate.statement.register === controlLogRegister
          ? undefined
          : this.certificates.certify(transaction, certificate),
    });
    const control = new ControlLog(
      { kv, network, clock, random, log, votes: this.votes, quorum: () => this.#engine },
      { nodeId: identity.nodeId, genesis: settings.genesis, genesisText: settings.genesisText, cluster },
    );
    this.control = control;
    this.members = new MemberDirectory(() => control.state());
    const propagation = new PropagationMonitor({ clock, members: this.members, metrics });
    this.membership = new Membership(
      {
        network,
        log,
        state: () => control.state(),
        addressesOf: (member) => this.model.addressesOf(member),
        part: (peers) => control.part(peers),
        changed: (data) => this.recorder.record({ type: 'membership', data }),
      },
      identity,
    );
    this.model = new ClusterModel(
      {
        ...adapters,
        signer,
        members: this.members,
        control,
        record: (event) => this.recorder.record(event),
        moved: () => this.membership.membersMoved(),
        clockOffsetMs: (node) => propagation.offsetMs(node),
      },
      { nodeId: identity.nodeId, cluster, version: settings.version, settings: settings.membership ?? {} },
    );
    const slotCount = slotsOfCluster(settings.genesis);
    this.slots = new Slots(
      {
        ...adapters,
        members: this.members,
        objects: () => this.objects,
        puller: { pull: (...asked) => this.puller.pull(...asked) },
        reader: {
          list: (...asked) => this.reader.list(...asked),
          conflicts: (...asked) => this.reader.conflicts(...asked),
        },
        owed: () => this.sync.dutiesArose(),
      },
      { nodeId: identity.nodeId, slots: slotCount, settings: settings.slotPlacement },
    );
    const slots = this.slots.holdings;
    const { duties } = this.slots;
    this.damaged = new DamagedRecords(adapters);
    this.objects = new ObjectStore({
      cluster,
      slots: slotCount,
      damaged: this.damaged,
      changed: (transaction, change) => {
        this.trees.noted(change.change);
        duties.changed(transaction, change);
      },
    });
    this.trees = new SlotTrees({ kv, clock, log, states: this.objects });
    this.incarnation = new Incarnation({ kv, random }, identity.nodeId);
    this.events = new EventLog(kv);
    this.recorder = new EventRecorder({ kv, events: this.events, log });
    this.content = new ContentPlane(adapters, {
      holdersOf: (content, subject) => this.replication.holdersOf(content, subject),
      namedHoldersOf: (manifest) => this.replication.namedHoldersOf(manifest),
      peerOf: (node) => this.members.byNode(node)?.peerId,
      shouldHold: (subject) => this.replication.shouldHold(subject),
      inventory: {
        completed: (...held) => this.replication.inventory.completed(...held),
        gone: (...dropped) => this.replication.inventory.gone(...dropped),
      },
      isLeased: (_reader, manifest) => this.replication.leases.isBound(manifest),
      chunkingOf: (ns) => effectivePolicy(control.state().namespaces.get(ns)).chunking,
      ...settings.content,
    });
    const objects = this.objects;
    const content = this.content;
    const { liveness } = this.model;
    this.replication = joinReplication(
      adapters,
      {
        content,
        control,
        objects,
        liveness,
        recorder: this.recorder,
        freeBytesOf: (node) => this.model.freeBytesOf(node),
        bring: (object) => this.slots.bring(object),
      },
      { self: identity.nodeId, settings: settings.replication ?? {} },
    );
    const { intents } = this.replication;
    this.documents = new OpenDocuments({ kv, objects, log, metrics });
    this.compactor = new DocumentCompactor({ kv, clock, objects, documents: this.documents, log, metrics });
    const { nodeId } = identity;
    this.missed = new MissedCertificates({
      epoch: () => control.state().epoch,
      follow: (peer) => control.followLater(peer),
      receive: (texts, from) => this.certificates.receive(texts, from),
      check: (texts, from) => this.certificates.check(texts, from),
      keep: (certificate) => this.certificates.keep(certificate),
      certify: (...certified) => this.certificates.certify(...certified),
      ask: (peer, docs) => this.sync.requestDocuments(peer, docs),
    });
    const missed = this.missed;
    const events = this.events;
    this.certificates = new Certificates(
      {
        kv,
        verifier,
        objects,
        events,
        log,
        metrics,
        coordinatorsOf: (epoch) => coordinatorsOfEpoch(control.state(), epoch),
        epochAhead: (peer) => missed.ahead(peer),
        announce: (doc, certificate) => {
          const enclosed = this.objectKind.takeEnclosed(certificate.statement.head);
          this.gossip.announceCertificate(doc, certificate, enclosed);
        },
        changed: ({ doc, row }) => row !== undefined && this.confirmations.changed(doc, row),
      },
      { cluster, nodeId },
    );
    const certificates = this.certificates;
    this.confirmations = new Confirmations(
      {
        ...adapters,
        objects,
        certificates,
        engine: {
          propose: (...proposal) => this.engine.propose(...proposal),
          restoredCoordinators: () => this.#engine?.restoredCoordinators() ?? [],
        },
        recorder: this.recorder,
        view: () => control.view(),
        writesUnderWay: () => this.gate.underWay,
        copies: {
          isBacked: (version) => {
            const intent = intentOf(version);
            return intent === undefined || intents.isBacked(intent);
          },
          onProved: (listener) => intents.onProved(listener),
        },
      },
      { nodeId },
    );
    const journal = new VersionJournal({
      objects,
      events,
      compactor: this.compactor,
      changed: (doc, row) => this.confirmations.changed(doc, row),
      log,
      metrics,
    });
    const view = new SyncView({ kv, objects, incarnation: this.incarnation, content, slots, trees: this.trees });
    const intake = new RecordIntake(
      { kv, clock, verifier, objects, journal, control, incarnation: this.incarnation, content, log, metrics },
      cluster,
    );
    this.intake = intake;
    this.sync = new SyncWorker(
      {
        network,
        clock,
        random,
        kv,
        objects,
        view,
        intake,
        propagation,
        certificates: missed,
        control,
        slots,
        duties,
        nodeOf: (peer) => this.members.byPeer(peer)?.nodeId,
        log,
        metrics,
      },
      { intervalMs: settings.syncIntervalMs ?? syncIntervalMsDefault },
    );
    const { placement } = this.replication;
    const peersOf = (nodes: readonly NodeId[]): PeerId[] =>
      nodes.flatMap((node) => (node === nodeId ? [] : (this.members.byNode(node)?.peerId ?? [])));
    const enclosed = new EnclosedContents({
      network,
      clock,
      isLimited: settings.content?.uploadBytesPerSecond !== undefined,
      holdersOf: (ns, key) => peersOf(placement.desired(ns, key).holders),
    });
    intents.onProved((manifest, node) => {
      for (const peer of peersOf([node])) enclosed.proved(manifest, peer);
    });
    this.gossip = new GossipWorker(
      {
        network,
        clock,
        objects,
        view,
        intake,
        certificates: missed,
        voters: () => control.view().coordinators,
        sync: this.sync,
        content,
        enclosed,
        slots,
        propagation,
        log,
        metrics,
      },
      { cluster },
    );
    this.writer = new ObjectWriter(
      {
        kv,
        clock,
        signer,
        objects,
        journal,
        incarnation: this.incarnation,
        content,
        control,
        tips: new TipFinder(objects),
        intend: (transaction, version) => {
          const intent = intentOf(version);
          if (intent !== undefined) intents.note(transaction, intent);
        },
        announce: (appended, isProposed) => this.gossip.announce(appended, isProposed),
        arrives: (...arriving) => this.objectKind.wrote(...arriving),
        settle: (...settling) => this.confirmations.settle(...settling),
      },
      { identity, cluster },
    );
    const readModeOf = (ns: string) => effectivePolicy(control.state().namespaces.get(ns)).readMode;
    this.reader = new ObjectReader({ kv, objects, content, readModeOf });
    const parts = { clock, view, propagation, certificates: missed };
    this.puller = new DocumentPuller({
      network,
      clock,
      sinkOf: (peer) => syncSink(parts, peer, (texts, contents) => intake.receive(texts, peer, contents)),
    });
    this.objectKind = new ObjectKind({
      kv,
      objects,
      localPeer: network.localPeer,
      intake,
      content,
      propagation,
      pull: async (peer, doc, signal) => void (await this.puller.pull(peer, doc, signal)),
    });
  }

  /** The quorum register; there once the control log is open. */
  get engine(): QuorumEngine {
    if (this.#engine === undefined) throw new Error('the quorum engine has not started yet');
    return this.#engine;
  }

  /** Opens the votes and the control log, and starts the quorum register on them. */
  async openControl(): Promise<void> {
    const { network, clock, random, log } = this.#adapters;
    const { identity, signer } = this.#settings;
    const { control, votes, certificates, objectKind } = this;
    if (!(await votes.open())) log.error('quorum:restored', { node: identity.nodeId });
    await control.start();
    this.#engine = new QuorumEngine({
      nodeId: identity.nodeId,
      signer,
      network,
      clock,
      random,
      log,
      store: votes,
      certificates: new RegisterBooks((name) => (name === controlLogRegister ? control.certificates : certificates)),
      view: () => control.view(),
      kindOf: (register) => (register === controlLogRegister ? control.kind : objectKind),
      epochAhead: (peer) => control.followLater(peer),
    });
    this.#engine.start();
  }

  /** Ends the votes; nothing happens when they have not begun. */
  stopVoting(): void {
    this.#engine?.stop();
  }
}
