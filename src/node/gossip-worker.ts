import { type Certificate, encodeCertificate } from '../../crdt/certificate.ts';
import { blake3, toBase32 } from '../../crdt/digest.ts';
import type { ClusterId, DocId, PeerId, VersionId } from '../../crdt/ids.ts';
import type { Version } from '../../crdt/version.ts';
import { HintBatcher } from '../../protocols/gossip/batcher.ts';
import {
  certificateHint,
  decodeGossip,
  type GossipHint,
  gossipTopic,
  hintOf,
} from '../../protocols/gossip/messages.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Counter, Metrics } from '../ports/metrics.ts';
import type { GossipVerdict, Network } from '../ports/network.ts';
import type { Certificates } from './confirmation/certificates.ts';
import type { ContentPlane } from './content/content-plane.ts';
import type { Appended, ObjectStore } from './object-store.ts';
import type { PropagationMonitor } from './propagation.ts';
import type { IntakeReport, RecordIntake } from './record-intake.ts';
import type { SyncView } from './sync-view.ts';
import type { SyncWorker } from './sync-worker.ts';

/** The largest content that is gossiped with its record: asking for it would take more bytes than it has. */
const contentBytesMax = 1_024;
/** Messages being taken in at once; past it hints are dropped, and sync asks for what they told of. */
const intakeAtOnceMax = 64;
/** A certificate is waited for by nobody who did not ask for it, and many share a message. */
const certificateDelayMs = 300;

interface Dependencies {
  readonly network: Network;
  readonly clock: Clock;
  readonly objects: ObjectStore;
  readonly view: SyncView;
  readonly intake: RecordIntake;
  readonly certificates: Pick<Certificates, 'check' | 'keep'>;
  readonly sync: Pick<SyncWorker, 'requestDocuments'>;
  readonly content: Pick<ContentPlane, 'small'>;
  readonly propagation: Pick<PropagationMonitor, 'arrived'>;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** What a message brought that is new here. */
interface Brought {
  readonly versions: readonly Version[];
  readonly proofs: readonly Certificate[];
}

/**
 * Tells the others what was written here, and hears of what was written there. Every message is a hint:
 * whatever is lost, late, repeated or dropped changes nothing but speed.
 */
export class GossipWorker {
  readonly #dependencies: Dependencies;
  readonly #cluster: ClusterId;
  readonly #slots: number;
  readonly #batcher: HintBatcher;
  readonly #messages: Counter;
  readonly #records: Counter;
  readonly #unsubscribers: (() => void)[] = [];
  #takingIn = 0;

  constructor(dependencies: Dependencies, options: { readonly cluster: ClusterId; readonly slots: number }) {
    this.#dependencies = dependencies;
    this.#cluster = options.cluster;
    this.#slots = options.slots;
    this.#batcher = new HintBatcher({
      clock: dependencies.clock,
      publish: (slot, message) => void this.#publish(slot, message),
    });
    this.#messages = dependencies.metrics.counter({
      name: 'anabranch_gossip_hints_total',
      help: 'Gossip messages of this node: sent, unsent for want of peers; received: accept, dropped for want of room, reject.',
      labels: ['outcome'],
    });
    this.#records = dependencies.metrics.counter({
      name: 'anabranch_gossip_records_total',
      help: 'Records that gossip brought: new, duplicate (held already), or incomplete (waiting for their ancestors).',
      labels: ['outcome'],
    });
  }

  start(): void {
    const { network } = this.#dependencies;
    for (let slot = 0; slot < this.#slots; slot += 1) {
      this.#unsubscribers.push(
        network.subscribe(gossipTopic(this.#cluster, slot), (data, from) => this.#receive(data, from)),
      );
    }
  }

  stop(): void {
    this.#batcher.flush();
    for (const unsubscribe of this.#unsubscribers.splice(0)) unsubscribe();
  }

  /** Tells of a version that was written here and is on disk; at once when somebody waits for it to be confirmed. */
  announce({ doc, version, headsAfter }: Appended, isUrgent: boolean): void {
    const slot = this.#dependencies.objects.slotOf(doc);
    const { content: told } = version.record;
    const small = told === null ? undefined : this.#dependencies.content.small(told, contentBytesMax);
    const contents = small === undefined ? [] : [small];
    this.#batcher.add(slot, hintOf(doc, headsAfter, [Buffer.from(version.text)], contents));
    if (isUrgent) this.#batcher.flushSlot(slot);
  }

  /** Tells of a certificate that was made here and is on disk. */
  announceCertificate(doc: DocId, certificate: Certificate): void {
    const hint = certificateHint(doc, certificate.statement.head as VersionId, encodeCertificate(certificate));
    this.#batcher.add(this.#dependencies.objects.slotOf(doc), hint, certificateDelayMs);
  }

  async #publish(slot: number, message: Uint8Array): Promise<void> {
    const recipients = await this.#dependencies.network.publish(gossipTopic(this.#cluster, slot), message);
    this.#messages.add(1, { outcome: recipients > 0 ? 'sent' : 'unsent' });
  }

  #receive(data: Uint8Array, from: PeerId): GossipVerdict {
    const verdict = this.#judge(data, from);
    this.#messages.add(1, { outcome: verdict === 'ignore' ? 'dropped' : verdict });
    return verdict;
  }

  #judge(data: Uint8Array, from: PeerId): GossipVerdict {
    const { log, sync } = this.#dependencies;
    const message = decodeGossip(data);
    if (!message.ok) {
      log.warn('gossip:refused', { from, reason: message.error, message: toBase32(blake3(data)) });
      return 'reject';
    }
    if (this.#takingIn >= intakeAtOnceMax) {
      // What is dropped is asked for when there is room, rather than left to the next comparison.
      sync.requestDocuments(
        from,
        message.value.hints.map((hint) => toBase32(hint.doc) as DocId),
      );
      return 'ignore';
    }
    const brought = this.#check(message.value.hints, from);
    if (typeof brought === 'string') {
      log.warn('gossip:refused', { from, reason: brought });
      return 'reject';
    }
    void this.#takeIn(message.value.hints, brought, from);
    return 'accept';
  }

  /** What the hints bring, as far as it is new; or what is wrong with it. */
  #check(hints: readonly GossipHint[], from: PeerId): Brought | string {
    const { intake, certificates } = this.#dependencies;
    const versions: Version[] = [];
    const proofs: Certificate[] = [];
    for (const hint of hints) {
      for (const text of hint.records) {
        const { version, fault } = intake.check(text, from);
        if (fault !== undefined) return fault.message;
        if (version !== undefined) versions.push(version);
      }
      for (const text of hint.certificates ?? []) {
        const { certificate, fault } = certificates.check(text, from);
        if (fault !== undefined) return fault;
        if (certificate !== undefined) proofs.push(certificate);
      }
    }
    return { versions, proofs };
  }

  async #takeIn(hints: readonly GossipHint[], { versions, proofs }: Brought, from: PeerId): Promise<void> {
    const { intake, certificates, sync, objects, view, propagation, log } = this.#dependencies;
    this.#takingIn += 1;
    try {
      const contents = hints.flatMap((hint) => hint.contents ?? []);
      const report = await intake.receiveChecked(versions, from, contents);
      await Promise.all(proofs.map((certificate) => certificates.keep(certificate)));
      propagation.arrived(report.added, 'gossip');
      this.#count(report, versions.length);
      const gaps = new Set<DocId>();
      for (const { version } of report.incomplete) {
        gaps.add(objects.documentId(version.record.ns, version.record.key));
      }
      for (const hint of hints) {
        const doc = toBase32(hint.doc) as DocId;
        if (hint.heads.some((head) => !view.holds(toBase32(head) as VersionId))) gaps.add(doc);
      }
      if (gaps.size > 0) sync.requestDocuments(from, gaps);
    } catch (error) {
      log.warn('gossip:not-taken-in', { from, error });
    } finally {
      this.#takingIn -= 1;
    }
  }

  #count({ added, incomplete, faults }: IntakeReport, received: number): void {
    this.#records.add(added.length, { outcome: 'new' });
    this.#records.add(incomplete.length, { outcome: 'incomplete' });
    // Records that had waited may be added with these, so there can be more new ones than came.
    const duplicates = received - added.length - incomplete.length - faults.length;
    this.#records.add(Math.max(0, duplicates), { outcome: 'duplicate' });
  }
}
