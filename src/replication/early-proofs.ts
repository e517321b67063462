import { keyText } from '../ports/key-text.ts';
import type { KvKey } from '../ports/kv.ts';

/** Proofs that are kept; the oldest are forgotten first, and had once more. */
const proofsMax = 16_384;
/** How long one counts: accounts are followed every few seconds, and what is listed after long is listed afresh. */
const countsMs = 60_000;

/**
 * Proofs of copies that their holders have not listed yet: a writer has them within milliseconds, and the accounts of the holders
 * after seconds. Each counts once, for the first listing. In memory alone, since any may be lost.
 */
export class EarlyProofs {
  /** When each was had, on the monotonic clock, in the order they were had. */
  readonly #atMs = new Map<string, number>();

  /** @param copy the key of the copy's row */
  note(copy: KvKey, atMs: number): void {
    const name = keyText(copy);
    this.#atMs.delete(name);
    this.#atMs.set(name, atMs);
    for (const [oldest, thenMs] of this.#atMs) {
      if (this.#atMs.size <= proofsMax && atMs - thenMs <= countsMs) break;
      this.#atMs.delete(oldest);
    }
  }

  /** How many milliseconds ago the copy was proved, if that was lately; it is forgotten. */
  take(copy: KvKey, nowMs: number): number | undefined {
    if (this.#atMs.size === 0) return undefined;
    const name = keyText(copy);
    const atMs = this.#atMs.get(name);
    this.#atMs.delete(name);
    return atMs !== undefined && nowMs - atMs <= countsMs ? nowMs - atMs : undefined;
  }
}
