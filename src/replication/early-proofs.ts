import type { NodeId } from '../../crdt/ids.ts';
import { keyText } from '../ports/key-text.ts';

/** Proofs of one node that are kept; the oldest are forgotten first, and had once more. */
const proofsMax = 4_096;
/** How long one counts: accounts are followed every few seconds, and what is listed after long is listed afresh. */
const countsMs = 60_000;

/**
 * Proofs of copies that their holders have not listed yet: a writer has them within milliseconds, and the accounts of the holders
 * after seconds. Each counts once, for the first listing. In memory alone, since any may be lost.
 */
export class EarlyProofs {
  /** By node and manifest: when each was had, on the monotonic clock, in the order they were had. */
  readonly #atMs = new Map<NodeId, Map<string, number>>();

  /** @param manifest its 32 bytes */
  note(node: NodeId, manifest: Uint8Array, nowMs: number): void {
    const proofs = this.#atMs.get(node) ?? new Map<string, number>();
    this.#atMs.set(node, proofs);
    const name = keyText(manifest);
    proofs.delete(name);
    proofs.set(name, nowMs);
    for (const [oldest, atMs] of proofs) {
      if (proofs.size <= proofsMax && nowMs - atMs <= countsMs) break;
      proofs.delete(oldest);
    }
  }

  /** How many milliseconds ago the copy was proved, if that was lately; it is forgotten. */
  take(node: NodeId, manifest: Uint8Array, nowMs: number): number | undefined {
    const proofs = this.#atMs.get(node);
    if (proofs === undefined || proofs.size === 0) return undefined;
    const name = keyText(manifest);
    const atMs = proofs.get(name);
    proofs.delete(name);
    return atMs !== undefined && nowMs - atMs <= countsMs ? nowMs - atMs : undefined;
  }

  /** The node may be another now, or have another disk. */
  forget(node: NodeId): void {
    this.#atMs.delete(node);
  }
}
