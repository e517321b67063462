import { type SignedDigest, verifySignature } from '../../crdt/signature.ts';
import type { Verifier } from '../../src/ports/verifier.ts';

/** What one signature is about, to the last byte. */
const nameOf = ({ publicKey, domain, digest, signature }: SignedDigest): string =>
  `${Buffer.concat([publicKey, digest, signature]).toString('latin1')}${domain}`;

/** Verifies at once, and remembers what holds: the nodes of a run are sent the same signatures, each for itself. */
export class SharedVerifier implements Verifier {
  readonly #holding = new Set<string>();

  async verify(signed: readonly SignedDigest[]): Promise<boolean[]> {
    return signed.map((each) => this.#holds(each));
  }

  #holds(signed: SignedDigest): boolean {
    const name = nameOf(signed);
    if (this.#holding.has(name)) return true;
    const { publicKey, domain, digest, signature } = signed;
    const holds = verifySignature(publicKey, domain, digest, signature);
    if (holds) this.#holding.add(name);
    return holds;
  }
}
