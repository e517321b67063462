import type { Certificate } from '../../../crdt/certificate.ts';
import type { CertificateBook } from '../../../protocols/quorum/register-kind.ts';

/** The certificates of all registers for one engine: each register's are where its kind keeps them. */
export class RegisterBooks implements CertificateBook {
  readonly #bookOf: (register: string) => CertificateBook;

  constructor(bookOf: (register: string) => CertificateBook) {
    this.#bookOf = bookOf;
  }

  latest(register: string): Certificate | null {
    return this.#bookOf(register).latest(register);
  }

  verify(certificate: Certificate): boolean {
    return this.#bookOf(certificate.statement.register).verify(certificate);
  }

  keep(certificate: Certificate): Promise<void> {
    return this.#bookOf(certificate.statement.register).keep(certificate);
  }
}
