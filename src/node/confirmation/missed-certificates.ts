import { type Certificate, decodeCertificate } from '../../../crdt/certificate.ts';
import type { DocId, PeerId } from '../../../crdt/ids.ts';
import type { KvTransaction } from '../../ports/kv.ts';
import type { Certificates, CheckedCertificates } from './certificates.ts';

/** Documents that are remembered, of all peers together; what is beyond is found by the next comparison with the peer. */
const docsMax = 4_096;

interface Dependencies extends Pick<Certificates, 'receive' | 'check' | 'keep' | 'certify'> {
  /** The last epoch that is known here. */
  readonly epoch: () => number;
  /** Fetches a peer's control log. */
  readonly follow: (peer: PeerId) => void;
  /** Asks a peer for documents, and so for their certificates. */
  readonly ask: (peer: PeerId, docs: readonly DocId[]) => void;
}

/**
 * Stands before the certificates as they are received. One of an epoch that is not known here cannot be judged, and is
 * not kept; once the control log has come that far, its document is asked for again, from the peer that had it.
 */
export class MissedCertificates implements Pick<Certificates, 'receive' | 'check' | 'keep' | 'certify'> {
  readonly #dependencies: Dependencies;
  /** The epochs of certificates that were not taken, by who sent them and by document. */
  readonly #missed = new Map<PeerId, Map<DocId, number>>();
  #count = 0;
  /** How often a certificate was not taken for its epoch. */
  #aheads = 0;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /** A certificate of a peer is of a later epoch than is known here. */
  ahead(peer: PeerId): void {
    this.#aheads += 1;
    this.#dependencies.follow(peer);
  }

  /** See `Certificates.receive`. */
  async receive(texts: readonly string[], from: PeerId): Promise<string | undefined> {
    const [epoch, aheads] = [this.#dependencies.epoch(), this.#aheads];
    const fault = await this.#dependencies.receive(texts, from);
    if (this.#aheads !== aheads) this.#note(texts, from, epoch);
    return fault;
  }

  /** See `Certificates.check`. */
  async check(texts: readonly string[], from: PeerId): Promise<CheckedCertificates> {
    const [epoch, aheads] = [this.#dependencies.epoch(), this.#aheads];
    const checked = await this.#dependencies.check(texts, from);
    if (this.#aheads !== aheads) this.#note(texts, from, epoch);
    return checked;
  }

  /** See `Certificates.keep`. */
  keep(certificate: Certificate): Promise<void> {
    return this.#dependencies.keep(certificate);
  }

  /** See `Certificates.certify`. */
  certify(transaction: KvTransaction, certificate: Certificate): () => void {
    return this.#dependencies.certify(transaction, certificate);
  }

  /** The control log knows the coordinators of an epoch now. */
  epochReached(epoch: number): void {
    for (const [peer, missed] of [...this.#missed]) {
      const docs = [...missed].filter(([, of]) => of <= epoch).map(([doc]) => doc);
      for (const doc of docs) missed.delete(doc);
      this.#count -= docs.length;
      if (missed.size === 0) this.#missed.delete(peer);
      if (docs.length > 0) this.#dependencies.ask(peer, docs);
    }
  }

  /** @param known the last epoch that was known when the certificates came */
  #note(texts: readonly string[], from: PeerId, known: number): void {
    for (const text of texts) {
      const decoded = decodeCertificate(text);
      if (!decoded.ok) continue;
      const { register, epoch } = decoded.value.statement;
      const missed = this.#missed.get(from) ?? new Map<DocId, number>();
      const doc = register as DocId;
      if (epoch <= known || (!missed.has(doc) && this.#count >= docsMax)) continue;
      if (!missed.has(doc)) this.#count += 1;
      missed.set(doc, epoch);
      this.#missed.set(from, missed);
    }
    // The log may have come while the others were verified.
    const now = this.#dependencies.epoch();
    if (now > known) this.epochReached(now);
  }
}
