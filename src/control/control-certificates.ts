import { type Certificate, controlLogRegister, verifyCertificate } from '../../crdt/certificate.ts';
import { coordinatorsOfEpoch } from '../../crdt/control/state.ts';
import type { CertificateBook } from '../../protocols/quorum/register-kind.ts';
import type { ControlStore } from './control-store.ts';

/** The certificates of the register `control-log`: each stands beside the entry that it proves. */
export class ControlCertificates implements CertificateBook {
  readonly #store: ControlStore;
  /** Fetches the log up to a position from whoever has it; resolves also when nobody does. */
  readonly #catchUp: (seq: number) => Promise<void>;

  constructor(store: ControlStore, catchUp: (seq: number) => Promise<void>) {
    this.#store = store;
    this.#catchUp = catchUp;
  }

  latest(register: string): Certificate | null {
    return register === controlLogRegister ? this.#store.checkpoint().certificate : null;
  }

  verify(certificate: Certificate): boolean {
    const state = this.#store.state();
    const coordinators = coordinatorsOfEpoch(state, certificate.statement.epoch);
    return coordinators !== undefined && verifyCertificate(certificate, { cluster: state.cluster, coordinators });
  }

  /** A certificate is kept by appending its entry; without the entry's text, or the ones before, those are fetched. */
  async keep(certificate: Certificate): Promise<void> {
    const { position, head } = certificate.statement;
    if (position <= this.#store.state().seq) return;
    const entry = this.#store.candidates.get(head);
    if (entry !== undefined && position === this.#store.state().seq + 1) {
      const appended = await this.#store.append([{ entry, certificate }]);
      if (appended.ok) return;
    }
    await this.#catchUp(position);
  }
}
