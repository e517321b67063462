import {
  type Certificate,
  type CertificateSigner,
  controlLogRegister,
  decodeCertificate,
  type Statement,
  signedDigestsOf,
  verifyCertificate,
} from '../../../crdt/certificate.ts';
import type { ClusterId, DocId, NodeId, PeerId } from '../../../crdt/ids.ts';
import type { CertificateBook } from '../../../protocols/quorum/register-kind.ts';
import type { Kv } from '../../ports/kv.ts';
import type { Log } from '../../ports/log.ts';
import type { Counter, Metrics } from '../../ports/metrics.ts';
import type { Verifier } from '../../ports/verifier.ts';
import { KvBatcher } from '../content/kv-batcher.ts';
import type { EventLog } from '../event-log.ts';
import type { Certified, ObjectStore } from '../object-store.ts';
import { confirmedEvents } from '../version-journal.ts';
import { certificateRows } from './certificate-rows.ts';

/** Certificates remembered as verified, since one often comes twice before it is on disk. */
const verifiedKeptMax = 1_024;

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

/** What a received certificate is: one to keep, one that can never hold, or neither of interest nor at fault. */
export interface CheckedCertificate {
  readonly certificate?: Certificate;
  readonly fault?: string;
}

/**
 * The certificates of objects, each beside its object's document: what counts is the highest position. They prove
 * themselves to whoever knows the coordinators of their epoch, so it does not matter from whom they come; one of an
 * epoch that is not known here yet is no fault: the control log is fetched, and sync brings the certificate again.
 */
export class Certificates implements CertificateBook {
  readonly #dependencies: Dependencies;
  readonly #cluster: ClusterId;
  readonly #ownProposer: string;
  readonly #batcher: KvBatcher;
  readonly #verified = new Set<string>();
  readonly #kept: Counter;
  readonly #refused: Counter;

  constructor(dependencies: Dependencies, options: { readonly cluster: ClusterId; readonly nodeId: NodeId }) {
    this.#dependencies = dependencies;
    this.#cluster = options.cluster;
    this.#ownProposer = `${options.nodeId}.`;
    this.#batcher = new KvBatcher(dependencies.kv);
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
    const coordinators = this.#dependencies.coordinatorsOf(certificate.statement.epoch);
    if (coordinators === undefined) return false;
    if (this.#verified.has(JSON.stringify(certificate))) return true;
    if (!verifyCertificate(certificate, { cluster: this.#cluster, coordinators })) return false;
    this.#remember(certificate);
    return true;
  }

  async keep(certificate: Certificate): Promise<void> {
    const { objects, events, announce, changed } = this.#dependencies;
    if (!this.#isNews(certificate.statement)) return;
    let certified: Certified | undefined;
    let lastEvent = 0;
    await this.#batcher.add((transaction) => {
      certified = objects.certify(transaction, certificate);
      if (certified?.advanced === undefined || certified.row === undefined) return;
      lastEvent = events.append(transaction, confirmedEvents(certified.row));
    });
    if (certified === undefined) return;
    if (certified.advanced !== undefined) {
      events.publish(lastEvent);
      this.#kept.add(1);
    }
    changed(certified);
    const { register, ballot } = certificate.statement;
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

  /** Judges a certificate as it came from a peer. One that is known already, or of no use, costs no verification. */
  check(text: string, from: PeerId): CheckedCertificate {
    const { certificate, fault } = this.#read(text, from);
    if (certificate === undefined) return fault === undefined ? {} : { fault };
    return this.verify(certificate) ? { certificate } : this.#faulty(unproven, from);
  }

  /** All of `check` but the signatures. */
  #read(text: string, from: PeerId): CheckedCertificate {
    const decoded = decodeCertificate(text);
    if (!decoded.ok) return this.#faulty(decoded.error, from);
    const certificate = decoded.value;
    const { register, epoch } = certificate.statement;
    if (register === controlLogRegister) return this.#faulty('it is of no object', from);
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
    const read = texts.map((text) => this.#read(text, from));
    const certificates = read.flatMap(({ certificate }) => certificate ?? []);
    const proved = await this.#verifyAll(certificates);
    await Promise.all(proved.map((certificate) => this.keep(certificate)));
    const fault = read.find((each) => each.fault !== undefined)?.fault;
    if (fault !== undefined) return fault;
    return proved.length < certificates.length ? this.#faulty(unproven, from).fault : undefined;
  }

  /** Those whose signatures hold, verified off this thread. */
  async #verifyAll(certificates: readonly Certificate[]): Promise<Certificate[]> {
    const signed = certificates.map((certificate) => {
      if (this.#verified.has(JSON.stringify(certificate))) return [];
      const coordinators = this.#dependencies.coordinatorsOf(certificate.statement.epoch);
      return coordinators && signedDigestsOf(certificate, { cluster: this.#cluster, coordinators });
    });
    const holds = await this.#dependencies.verifier.verify(signed.flatMap((each) => each ?? []));
    let next = 0;
    return certificates.filter((certificate, index) => {
      const own = signed[index];
      if (own === undefined) return false;
      const isProved = holds.slice(next, next + own.length).every((each) => each);
      next += own.length;
      if (isProved) this.#remember(certificate);
      return isProved;
    });
  }

  #remember(certificate: Certificate): void {
    this.#verified.add(JSON.stringify(certificate));
    if (this.#verified.size > verifiedKeptMax) this.#verified.delete(this.#verified.values().next().value as string);
  }

  /** Resolves when nothing is being written. */
  idle(): Promise<void> {
    return this.#batcher.idle();
  }

  /** True when the certificate may change something here: it is the highest, or the highest whose head is here. */
  #isNews({ register, position, head }: Statement): boolean {
    const { kv, objects, log } = this.#dependencies;
    const latest = this.latest(register)?.statement;
    if (latest === undefined || position > latest.position) return true;
    if (position === latest.position) {
      if (head !== latest.head) log.error('confirmation:forked', { register, position, head, known: latest.head });
      return false;
    }
    const row = objects.object(kv, register as DocId);
    return row?.certified !== undefined && position > (row.confirmed?.position ?? 0);
  }

  #faulty(reason: string, from: PeerId): CheckedCertificate {
    this.#refused.add(1, { reason: 'fault' });
    this.#dependencies.log.warn('certificate:refused', { from, reason });
    return { fault: `the certificate cannot be taken: ${reason}` };
  }
}
