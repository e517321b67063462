import type { SignedDigest } from '../../crdt/signature.ts';

/**
 * Verifies signatures: many on another thread in production, since each takes some 0.1 ms for which the event loop would be
 * held; at once in the simulator.
 */
export interface Verifier {
  /** For each of them, whether it holds. Never rejects. */
  verify(signed: readonly SignedDigest[]): Promise<boolean[]>;
}
