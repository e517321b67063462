import { createBlake3, keyedBlake3, rawHash } from './digest.ts';
import type { BlobHash, PeerId } from './ids.ts';

/** Bytes of a challenge's nonce: the key of the hash. */
export const proofNonceBytes = 32;

const proofDomain = 'anabranch/proof/1\0';

/** What a proof is bound to, so that it answers one challenge of one peer about one content. */
export interface ProofSubject {
  /** Drawn at random by who asks, for this challenge alone: `proofNonceBytes`. */
  readonly nonce: Uint8Array;
  /** The key of who proves: an answer passed on by another is no answer of its own. */
  readonly prover: PeerId;
  /** The content's root manifest. */
  readonly manifest: BlobHash;
}

/**
 * The proof that somebody has the bytes of a content, or of some of its chunks, now: keyed BLAKE3 under the nonce, which
 * nobody can have computed before, over blobs read from disk. Who asks computes the same from its own copy and compares.
 *
 *     keyed(nonce, BLAKE3(domain, prover, NUL, manifest, then for each blob: its hash, keyed(nonce, its bytes)))
 *
 * The blobs are the manifests that were read on the way, and the chunks, in the order in which the content has them.
 */
export class ReplicaProof {
  readonly #nonce: Uint8Array;
  readonly #whole = createBlake3();

  constructor({ nonce, prover, manifest }: ProofSubject) {
    this.#nonce = nonce;
    this.#whole.update(Buffer.from(`${proofDomain}${prover}\0`, 'utf8'));
    this.#whole.update(rawHash(manifest));
  }

  /** Takes in the next blob: its name, and its bytes as they were read. */
  add(hash: BlobHash, bytes: Uint8Array): void {
    this.#whole.update(rawHash(hash));
    this.#whole.update(keyedBlake3(this.#nonce, bytes));
  }

  /** The proof: 32 bytes. Ends it: no call may follow. */
  digest(): Uint8Array {
    return keyedBlake3(this.#nonce, this.#whole.digest());
  }
}
