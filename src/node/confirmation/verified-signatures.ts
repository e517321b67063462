import { type SignedDigest, verifySignature } from '../../../crdt/signature.ts';
import type { Verifier } from '../../ports/verifier.ts';

/** Signatures remembered, at some 250 bytes each: one under a batch comes with every statement of it. */
const keptMax = 4_096;

/**
 * Verifies signatures, none twice while it is remembered that it holds, nor while it is being verified; the oldest gives
 * way.
 */
export class VerifiedSignatures {
  readonly #verifier: Verifier;
  readonly #known = new Set<string>();
  /** Whether those hold that are being verified. */
  readonly #underWay = new Map<string, Promise<boolean>>();

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
    const awaited = new Map<string, Promise<boolean>>();
    for (const each of groups.flat()) {
      const name = nameOf(each);
      const underWay = this.#underWay.get(name);
      if (underWay !== undefined) awaited.set(name, underWay);
      else if (!this.#known.has(name)) unknown.set(name, each);
    }
    for (const [name, holds] of this.#verify(unknown)) awaited.set(name, holds);
    const failed = new Set<string>();
    for (const [name, holds] of awaited) if (!(await holds)) failed.add(name);
    if (failed.size === 0) return groups.map(() => true);
    return groups.map((group) => group.every((each) => !failed.has(nameOf(each))));
  }

  /** Has signatures verified together, and remembers those that hold. */
  #verify(unknown: ReadonlyMap<string, SignedDigest>): ReadonlyMap<string, Promise<boolean>> {
    if (unknown.size === 0) return new Map();
    const verified = this.#verifier.verify([...unknown.values()]);
    for (const [at, name] of [...unknown.keys()].entries()) {
      const holds = verified.then((all) => {
        this.#underWay.delete(name);
        if (all[at] === true) this.#remember(name);
        return all[at] === true;
      });
      this.#underWay.set(name, holds);
    }
    return new Map([...unknown.keys()].map((name) => [name, this.#underWay.get(name) as Promise<boolean>]));
  }

  #remember(name: string): void {
    this.#known.add(name);
    if (this.#known.size > keptMax) this.#known.delete(this.#known.values().next().value as string);
  }
}

function nameOf({ domain, publicKey, digest, signature }: SignedDigest): string {
  return `${domain} ${Buffer.concat([publicKey, digest, signature]).toString('latin1')}`;
}
