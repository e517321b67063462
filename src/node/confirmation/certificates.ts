import {
  type Certificate,
  type CertificateSigner,
  controlLogRegister,
  decodeCertificate,
  type Statement,
  signedDigestsOf,
} from '../../../crdt/certificate.ts';
import { supersedes } from '../../../crdt/certificate-order.ts';
import type { ClusterId, DocId, NodeId, PeerId, VersionId } from '../../../crdt/ids.ts';
import type { SignedDigest } from '../../../crdt/signature.ts';
import type { CertificateBook } from '../../../protocols/quorum/register-kind.ts';
import type { Kv, KvTransaction } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import type { Counter, Metrics } from '../../ports/metrics.ts';
import type { Verifier } from '../../ports/verifier.ts';
import { KvBatcher } from '../content/kv-batcher.ts';
import type { EventBody, EventLog } from '../event-log.ts';
import type { Certified, ObjectStore } from '../object-store.ts';
import { confirmedEvents } from '../version-journal.ts';
import { certificateRows } from './certificate-rows.ts';
import { VerifiedSignatures } from './verified-signatures.ts';

const unproven = 'its signatures do not prove it';

interface Dependencies {
  readonly kv: Kv;
  readonly verifier: Verifier;
  readonly objects: ObjectStore;
  readonly events: EventLog;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Who voted in an epoch; undefined for one this node does not know of. */
  readonly coordinatorsOf: (epoch: number) => readonly CertificateSigner[] | undefined;
  /** A peer is in a later epoch than this node: the control log is to be fetched. */
  readonly epochAhead: (peer: PeerId, epoch: number) => void;
  /** Tells the mesh of a certificate that was made here and is on disk. */
  readonly announce: (doc: DocId, certificate: Certificate) => void;
  /** An object's row has changed, and is on disk. */
  readonly changed: (certified: Certified) => void;
}

/** What a received certificate is before its signatures are verified: of interest, at fault, or neither. */
interface ReadCertificate {
  readonly certificate?: Certificate;
  readonly fault?: string;
}

/** What came of received certificates. */
export interface CheckedCertificates {
  /** Those that are news and hold. */
  readonly certificates: readonly Certificate[];
  /** What is wrong with the first that can never hold. */
  readonly fault: string | undefined;
}

/**
 * The certificates of objects, each beside its object's document: what counts is the one that supersedes the rest. They prove
 * themselves to whoever knows the coordinators of their epoch, so it does not matter from whom they come; one of an
 * epoch that is not known here yet is no fault: the control log is fetched, and sync brings the certificate again.
 */
export class Certificates implements CertificateBook {
  readonly #dependencies: Dependencies;
  readonly #cluster: ClusterId;
  readonly #ownProposer: string;
  readonly #batcher: KvBatcher;
  readonly #signatures: VerifiedSignatures;
  readonly #kept: Counter;
  readonly #refused: Counter;

  constructor(dependencies: Dependencies, options: { readonly cluster: ClusterId; readonly nodeId: NodeId }) {
    this.#dependencies = dependencies;
    this.#cluster = options.cluster;
    this.#ownProposer = `${options.nodeId}.`;
    this.#batcher = new KvBatcher(dependencies.kv);
    this.#signatures = new VerifiedSignatures(dependencies.verifier);
    this.#kept = dependencies.metrics.counter({
      name: 'anabranch_confirmed_heads_total',
      help: 'Times an object came to have another confirmed head here.',
    });
    this.#refused = dependencies.metrics.counter({
      name: 'anabranch_certificates_refused_total',
      help: 'Received certificates that were not taken: faulty ones, and those of an epoch not known here yet.',
      labels: ['reason'],
    });
  }

  latest(register: string): Certificate | null {
    return certificateRows.get(this.#dependencies.kv, register as DocId)?.latest ?? null;
  }

  verify(certificate: Certificate): boolean {
    const signed = this.#signedOf(certificate);
    return signed !== undefined && this.#signatures.allHold(signed);
  }

  async keep(certificate: Certificate): Promise<void> {
    if (this.#isNews(certificate.statement)) await this.#keepAll([certificate]);
  }

  /** Keeps one that holds in a transaction. What it gives is to be called once that is on disk. */
  certify(transaction: KvTransaction, certificate: Certificate): () => void {
    return this.#certifyAll(transaction, [certificate]);
  }

  /** Keeps those that change anything, in one transaction, and tells of them once they are on disk. */
  async #keepAll(certificates: readonly Certificate[]): Promise<void> {
    let tell = (): void => undefined;
    await this.#batcher.add((transaction) => {
      tell = this.#certifyAll(transaction, certificates);
    });
    tell();
  }

  #certifyAll(transaction: KvTransaction, certificates: readonly Certificate[]): () => void {
    const { objects, events } = this.#dependencies;
    const kept: { readonly certificate: Certificate; readonly certified: Certified }[] = [];
    const told: EventBody[] = [];
    for (const certificate of certificates) {
      const certified = objects.certify(transaction, certificate);
      if (certified === undefined) continue;
      kept.push({ certificate, certified });
      if (certified.advanced === undefined || certified.row === undefined) continue;
      told.push(...confirmedEvents(certified.row));
    }
    const lastEvent = events.append(transaction, told);
    return () => {
      events.publish(lastEvent);
      for (const each of kept) this.#tellOf(each);
    };
  }

  #tellOf({ certificate, certified }: { readonly certificate: Certificate; readonly certified: Certified }): void {
    const { announce, changed } = this.#dependencies;
    const { register, ballot, head } = certificate.statement;
    // Of one that came ahead of its object in the same transaction, the object tells.
    const isFirst = certified.row === undefined && this.ofConfirmedHead(register as DocId)?.statement.head === head;
    if (certified.advanced !== undefined || isFirst) this.#kept.add(1);
    changed(certified);
    if (ballot.proposer.startsWith(this.#ownProposer)) announce(register as DocId, certificate);
  }

  /** The certificate of the object's confirmed head; null when it has none. */
  ofConfirmedHead(doc: DocId): Certificate | null {
    const { kv, objects } = this.#dependencies;
    const head = objects.object(kv, doc)?.confirmed?.id;
    const row = certificateRows.get(kv, doc);
    if (row === undefined || head === undefined) return null;
    return row.latest.statement.head === head ? row.latest : (row.earlier ?? null);
  }

  /** Judges certificates as they came from a peer. One that is known already, or of no use, costs no verification. */
  async check(texts: readonly string[], from: PeerId): Promise<CheckedCertificates> {
    const read = texts.map((text) => this.#read(text, from));
    const wanted = read.flatMap(({ certificate }) => certificate ?? []);
    const certificates = await this.#verifyAll(wanted);
    const unread = read.find((each) => each.fault !== undefined)?.fault;
    const isUnproven = unread === undefined && certificates.length < wanted.length;
    return { certificates, fault: isUnproven ? this.#faulty(unproven, from) : unread };
  }

  /** All of `check` but the signatures. */
  #read(text: string, from: PeerId): ReadCertificate {
    const decoded = decodeCertificate(text);
    if (!decoded.ok) return { fault: this.#faulty(decoded.error, from) };
    const certificate = decoded.value;
    const { register, epoch } = certificate.statement;
    if (register === controlLogRegister) return { fault: this.#faulty('it is of no object', from) };
    if (!this.#isNews(certificate.statement)) return {};
    const { coordinatorsOf, epochAhead } = this.#dependencies;
    if (coordinatorsOf(epoch) === undefined) {
      this.#refused.add(1, { reason: 'unknown_epoch' });
      epochAhead(from, epoch);
      return {};
    }
    return { certificate };
  }

  /** Takes in certificates as they came from a peer. Resolves, when those that hold are on disk, with the first fault. */
  async receive(texts: readonly string[], from: PeerId): Promise<string | undefined> {
    const { certificates, fault } = await this.check(texts, from);
    if (certificates.length > 0) await this.#keepAll(certificates);
    return fault;
  }

  /** Those whose signatures hold. */
  async #verifyAll(certificates: readonly Certificate[]): Promise<Certificate[]> {
    const signed = certificates.map((certificate) => this.#signedOf(certificate));
    const holds = await this.#signatures.eachHold(signed.map((each) => each ?? []));
    return certificates.filter((_, at) => signed[at] !== undefined && holds[at]);
  }

  /** What the certificate's signatures are under; undefined when it cannot hold, or its epoch is not known here. */
  #signedOf(certificate: Certificate): readonly SignedDigest[] | undefined {
    const coordinators = this.#dependencies.coordinatorsOf(certificate.statement.epoch);
    return coordinators && signedDigestsOf(certificate, { cluster: this.#cluster, coordinators });
  }

  /** Resolves when nothing is being written. */
  idle(): Promise<void> {
    return this.#batcher.idle();
  }

  /** True when the certificate may change something here: it is the greatest, or the greatest whose head is here. */
  #isNews(statement: Statement): boolean {
    const { kv, objects, log } = this.#dependencies;
    const { register, position, head } = statement;
    const doc = register as DocId;
    const known = certificateRows.get(kv, doc);
    if (known === undefined) return true;
    const latest = known.latest.statement;
    const isSamePlace = position === latest.position;
    if (isSamePlace && head !== latest.head) {
      log.error('confirmation:forked', { register, position, head, known: latest.head });
    }
    if (supersedes(statement, latest)) return true;
    if (objects.object(kv, doc)?.certified === undefined) return false;
    // The record of its head may have been damaged when it came, and be restored now.
    if (isSamePlace && head === latest.head) return objects.sound(kv, head as VersionId) !== undefined;
    return known.earlier === undefined || supersedes(statement, known.earlier.statement);
  }

  #faulty(reason: string, from: PeerId): string {
    this.#refused.add(1, { reason: 'fault' });
    this.#dependencies.log.warn('certificate:refused', { from, reason });
    return `the certificate cannot be taken: ${reason}`;
  }
}
