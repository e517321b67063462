import { type SignedDigest, verifySignature } from '../../../crdt/signature.ts';
import type { Verifier } from '../../ports/verifier.ts';

/** Signatures remembered, at some 250 bytes each: one under a batch comes with every statement of it. */
const keptMax = 4_096;

/** Verifies signatures, none twice while it is remembered that it holds; the oldest gives way. */
export class VerifiedSignatures {
  readonly #verifier: Verifier;
  readonly #known = new Set<string>();

  constructor(verifier: Verifier) {
    this.#verifier = verifier;
  }

  /** True when all of them hold; verified on this thread. */
  allHold(signed: readonly SignedDigest[]): boolean {
    return signed.every((each) => {
      const name = nameOf(each);
      if (this.#known.has(name)) return true;
      if (!verifySignature(each.publicKey, each.domain, each.digest, each.signature)) return false;
      this.#remember(name);
      return true;
    });
  }

  /** For each group whether all of its signatures hold; verified off this thread. */
  async eachHold(groups: readonly (readonly SignedDigest[])[]): Promise<boolean[]> {
    const unknown = new Map<string, SignedDigest>();
    for (const each of groups.flat()) {
      const name = nameOf(each);
      if (!this.#known.has(name)) unknown.set(name, each);
    }
    const holds = unknown.size === 0 ? [] : await this.#verifier.verify([...unknown.values()]);
    const failed = new Set([...unknown.keys()].filter((_, at) => holds[at] !== true));
    for (const name of unknown.keys()) if (!failed.has(name)) this.#remember(name);
    if (failed.size === 0) return groups.map(() => true);
    return groups.map((group) => group.every((each) => !failed.has(nameOf(each))));
  }

  #remember(name: string): void {
    this.#known.add(name);
    if (this.#known.size > keptMax) this.#known.delete(this.#known.values().next().value as string);
  }
}

function nameOf({ domain, publicKey, digest, signature }: SignedDigest): string {
  return `${domain} ${Buffer.concat([publicKey, digest, signature]).toString('latin1')}`;
}
