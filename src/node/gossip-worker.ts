import { type Certificate, encodeCertificate } from '../../crdt/certificate.ts';
import { blake3, toBase32 } from '../../crdt/digest.ts';
import type { ClusterId, DocId, PeerId, VersionId } from '../../crdt/ids.ts';
import type { Version } from '../../crdt/version.ts';
import { HintBatcher } from '../../protocols/gossip/batcher.ts';
import {
  certificateHint,
  decodeGossip,
  type GossipHint,
  type GossipRoom,
  gossipTopic,
  hintOf,
} from '../../protocols/gossip/messages.ts';
import type { Enclosed } from '../../protocols/quorum/register-kind.ts';
import type { Clock } from '../ports/clock.ts';
import type { KvTransaction } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import type { Counter, Metrics } from '../ports/metrics.ts';
import type { GossipVerdict, Network } from '../ports/network.ts';
import type { Certificates } from './confirmation/certificates.ts';
import type { ContentPlane } from './content/content-plane.ts';
import type { EnclosedContents } from './enclosed-contents.ts';
import type { Appended, ObjectStore } from './object-store.ts';
import type { PropagationMonitor } from './propagation.ts';
import type { IntakeReport, RecordIntake } from './record-intake.ts';
import type { SlotHoldings } from './slots/slot-holdings.ts';
import type { SyncView } from './sync-view.ts';
import type { SyncWorker } from './sync-worker.ts';
import { WithheldRecords } from './withheld-records.ts';

/** Messages being taken in at once; past it hints are dropped, and sync asks for what they told of. */
const intakeAtOnceMax = 64;
/** A certificate is waited for by nobody who did not ask for it, and many share a message. */
const certificateDelayMs = 300;
/** The same of one whose head is news to those who were not asked for their vote. */
const freshCertificateDelayMs = 50;
/** The slot whose topic all changes are told on while slots are not placed. */
const commonRoom: GossipRoom = 0;

interface Dependencies {
  readonly network: Network;
  readonly clock: Clock;
  readonly objects: ObjectStore;
  readonly view: SyncView;
  readonly intake: RecordIntake;
  readonly certificates: Pick<Certificates, 'check' | 'keep' | 'certify'>;
  /** Who votes on heads, and so is sent the records of those that are proposed. */
  readonly voters: () => readonly { readonly peerId: PeerId }[];
  readonly sync: Pick<SyncWorker, 'requestDocuments'>;
  readonly content: Pick<ContentPlane, 'small'>;
  readonly enclosed: Pick<EnclosedContents, 'admit'>;
  readonly slots: Pick<SlotHoldings, 'kept' | 'isEverything' | 'onChange'>;
  readonly propagation: Pick<PropagationMonitor, 'arrived'>;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** What a message brought that is new here. */
interface Brought {
  readonly versions: readonly Version[];
  readonly proofs: readonly Certificate[];
  /** Records that were not looked at, since what they came with is here. */
  readonly held: number;
}

/**
 * Tells the others what was written here, and hears of what was written there. Every message is a hint:
 * whatever is lost, late, repeated or dropped changes nothing but speed.
 */
export class GossipWorker {
  readonly #dependencies: Dependencies;
  readonly #cluster: ClusterId;
  readonly #batcher: HintBatcher;
  readonly #withheld: WithheldRecords;
  readonly #messages: Counter;
  readonly #records: Counter;
  readonly #contents: Counter;
  /** By slot, of those that are kept: what ends its subscription. */
  readonly #subscriptions = new Map<number, () => void>();
  #unsubscribe: () => void = () => undefined;
  #takingIn = 0;
  /** Settles when the message that came last is being taken in or is rejected, so that they are in the order they came. */
  #judged: Promise<unknown> = Promise.resolve();
  #isStopped = false;

  constructor(dependencies: Dependencies, options: { readonly cluster: ClusterId }) {
    this.#dependencies = dependencies;
    this.#cluster = options.cluster;
    this.#batcher = new HintBatcher({
      clock: dependencies.clock,
      publish: (room, message) => void this.#publish(room, message),
    });
    this.#withheld = new WithheldRecords({ ...dependencies, tell: (appended) => this.#tell(appended) });
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
    this.#contents = dependencies.metrics.counter({
      name: 'anabranch_gossip_contents_total',
      help: 'Small contents that went with their records: sent, or received, of which those that nobody wanted were dropped.',
      labels: ['outcome'],
    });
  }

  start(): void {
    const { network, slots } = this.#dependencies;
    const ends = [
      slots.onChange(() => this.#subscribe()),
      network.subscribe(gossipTopic(this.#cluster, 'confirmed'), (data, from) => this.#receive(data, from)),
    ];
    this.#unsubscribe = () => {
      for (const end of ends) end();
    };
    this.#subscribe();
  }

  stop(): void {
    this.#withheld.flush();
    this.#isStopped = true;
    this.#batcher.flush();
    this.#unsubscribe();
    for (const unsubscribe of this.#subscriptions.values()) unsubscribe();
    this.#subscriptions.clear();
  }

  /** Listens to the slots that are kept. What is published of another one reaches all who listen to it all the same. */
  #subscribe(): void {
    const { network, slots } = this.#dependencies;
    for (const [slot, unsubscribe] of this.#subscriptions) {
      if (slots.kept.has(slot)) continue;
      unsubscribe();
      this.#subscriptions.delete(slot);
    }
    for (const slot of slots.kept.list()) {
      if (this.#subscriptions.has(slot)) continue;
      const topic = gossipTopic(this.#cluster, slot);
      this.#subscriptions.set(
        slot,
        network.subscribe(topic, (data, from) => this.#receive(data, from)),
      );
    }
  }

  /**
   * Tells of a version that was written here and is on disk. One that is proposed for confirmation goes to those who vote
   * with the votes on it, or with its certificate: when nobody else listens, it is told of only if that has not come to an
   * end soon.
   */
  announce(appended: Appended, isProposed: boolean): void {
    if (this.#isUnheard()) return;
    const isWithheld = isProposed && this.#isHeardByVotersOnly() && this.#withheld.add(appended);
    if (!isWithheld) this.#tell(appended);
  }

  #tell({ doc, version, headsAfter }: Appended): void {
    const contents = this.#enclosedWith(version);
    this.#contents.add(contents.length, { outcome: 'sent' });
    const hint = hintOf(doc, headsAfter, [Buffer.from(version.text)], contents);
    const { slots, objects } = this.#dependencies;
    // Where every node listens to every slot, one topic will do: what is told at one time is in one message then.
    this.#batcher.add(slots.isEverything ? commonRoom : objects.slotOf(doc), hint);
  }

  #enclosedWith({ record: { ns, key, content: told } }: Version): readonly Uint8Array[] {
    if (told === null) return [];
    const { content, enclosed } = this.#dependencies;
    const bytesMax = enclosed.admit({ ns, key, content: told });
    const small = content.small(told, bytesMax);
    return small === undefined ? [] : [small];
  }

  #isHeardByVotersOnly(): boolean {
    const { network, voters } = this.#dependencies;
    const voting = voters();
    return network.connectedPeers().every((peer) => voting.some(({ peerId }) => peerId === peer));
  }

  /**
   * Tells of a certificate that was made here and is on disk.
   *
   * @param enclosed what went along with the questions for votes on a fresh head: it goes to who was not asked as well, unless its
   * writer tells of it
   */
  announceCertificate(doc: DocId, certificate: Certificate, enclosed?: Enclosed): void {
    if (this.#isUnheard()) return;
    const hint = certificateHint(doc, certificate.statement.head as VersionId, encodeCertificate(certificate));
    if (enclosed === undefined || !this.#isHeardByVotersOnly()) {
      this.#batcher.add('confirmed', hint, certificateDelayMs);
      return;
    }
    this.#withheld.told(certificate.statement.head as VersionId);
    const [record, ...contents] = enclosed;
    const records = record === undefined ? [] : [record];
    this.#contents.add(contents.length, { outcome: 'sent' });
    this.#batcher.add('confirmed', { ...hint, records, contents }, freshCertificateDelayMs);
  }

  /** Who comes later asks for what it missed, and so do all after a stop. */
  #isUnheard(): boolean {
    return this.#isStopped || this.#dependencies.network.connectedPeers().length === 0;
  }

  async #publish(room: GossipRoom, message: Uint8Array): Promise<void> {
    const recipients = await this.#dependencies.network.publish(gossipTopic(this.#cluster, room), message);
    this.#messages.add(1, { outcome: recipients > 0 ? 'sent' : 'unsent' });
  }

  #receive(data: Uint8Array, from: PeerId): GossipVerdict | Promise<GossipVerdict> {
    const verdict = this.#judge(data, from);
    if (typeof verdict === 'string') return this.#counted(verdict);
    return verdict.then((later) => this.#counted(later));
  }

  #counted(verdict: GossipVerdict): GossipVerdict {
    this.#messages.add(1, { outcome: verdict === 'ignore' ? 'dropped' : verdict });
    return verdict;
  }

  #judge(data: Uint8Array, from: PeerId): GossipVerdict | Promise<GossipVerdict> {
    const { log, sync } = this.#dependencies;
    const message = decodeGossip(data);
    if (!message.ok) {
      log.warn('gossip:refused', { from, reason: message.error, message: toBase32(blake3(data)) });
      return 'reject';
    }
    const hints = message.value.hints.filter((hint) => this.#concerns(toBase32(hint.doc) as DocId));
    if (this.#takingIn >= intakeAtOnceMax) {
      // What is dropped is asked for when there is room, rather than left to the next comparison.
      sync.requestDocuments(
        from,
        hints.map((hint) => toBase32(hint.doc) as DocId),
      );
      return 'ignore';
    }
    // Nobody passes on what it did not look at.
    const verdict = hints.length === message.value.hints.length ? 'accept' : 'ignore';
    return hints.length === 0 ? verdict : this.#verdictOf(hints, from, verdict);
  }

  /** Judges a message by its signatures, and has it taken in when they hold, after those that came before it. */
  #verdictOf(hints: readonly GossipHint[], from: PeerId, verdict: GossipVerdict): Promise<GossipVerdict> {
    const before = this.#judged;
    const judged = this.#verify(hints, from, before).then((isSound) => (isSound ? verdict : 'reject'));
    this.#judged = judged.catch(() => undefined);
    return judged;
  }

  /** True, and being taken in, when all signatures of the message hold. It counts as under way until it is on disk. */
  async #verify(hints: readonly GossipHint[], from: PeerId, before: Promise<unknown>): Promise<boolean> {
    let takenIn = Promise.resolve();
    this.#takingIn += 1;
    try {
      const brought = await this.#check(hints, from);
      await before;
      if (typeof brought === 'string') {
        this.#dependencies.log.warn('gossip:refused', { from, reason: brought });
        return false;
      }
      takenIn = this.#takeIn(hints, brought, from);
      return true;
    } finally {
      void takenIn.finally(() => {
        this.#takingIn -= 1;
      });
    }
  }

  /** True for a document of a slot that is kept here, and for one that is here for another reason. */
  #concerns(doc: DocId): boolean {
    const { slots, objects, view } = this.#dependencies;
    return slots.kept.isAll || slots.kept.has(objects.slotOf(doc)) || view.headsOf(doc).length > 0;
  }

  /** What the hints bring, as far as it is new; or what is wrong with it. */
  async #check(hints: readonly GossipHint[], from: PeerId): Promise<Brought | string> {
    const { intake, certificates } = this.#dependencies;
    const { held = [], news = [] } = Object.groupBy(hints, (hint) => (this.#isHeld(hint) ? 'held' : 'news'));
    const [records, proofs] = await Promise.all([
      intake.check(
        news.flatMap((hint) => hint.records),
        from,
      ),
      certificates.check(
        hints.flatMap((hint) => hint.certificates ?? []),
        from,
      ),
    ]);
    const fault = records.faults[0]?.message ?? proofs.fault;
    const heldRecords = held.reduce((sum, hint) => sum + hint.records.length, 0);
    return fault ?? { versions: records.versions, proofs: proofs.certificates, held: heldRecords };
  }

  /** True when all that the hint names is here, and so what it carries. */
  #isHeld({ heads }: GossipHint): boolean {
    const { view } = this.#dependencies;
    return heads.length > 0 && heads.every((head) => view.holds(toBase32(head) as VersionId));
  }

  async #takeIn(hints: readonly GossipHint[], { versions, proofs, held }: Brought, from: PeerId): Promise<void> {
    const { intake, certificates, sync, objects, view, propagation, log } = this.#dependencies;
    try {
      const contents = hints.flatMap((hint) => hint.contents ?? []);
      this.#contents.add(contents.length, { outcome: 'received' });
      // Before the records, so that a head which comes with its certificate is confirmed from the first.
      const certify = (transaction: KvTransaction): (() => void) => {
        const tells = proofs.map((certificate) => certificates.certify(transaction, certificate));
        return () => {
          for (const tell of tells) tell();
        };
      };
      const report = await intake.receiveChecked(versions, from, contents, certify);
      if (versions.length === 0) await Promise.all(proofs.map((certificate) => certificates.keep(certificate)));
      propagation.arrived(report.added, 'gossip');
      this.#count(report, versions.length + held);
      for (const hint of hints) if (hint.certificates !== undefined) this.#told(hint);
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
    }
  }

  /** Another told everybody of a certificate, with what it is about. */
  #told({ heads, records }: GossipHint): void {
    if (records.length === 0) return;
    for (const head of heads) this.#withheld.told(toBase32(head) as VersionId);
  }

  #count({ added, incomplete, faults }: IntakeReport, received: number): void {
    this.#records.add(added.length, { outcome: 'new' });
    this.#records.add(incomplete.length, { outcome: 'incomplete' });
    // Records that had waited may be added with these, so there can be more new ones than came.
    const duplicates = received - added.length - incomplete.length - faults.length;
    this.#records.add(Math.max(0, duplicates), { outcome: 'duplicate' });
  }
}
