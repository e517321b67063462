import type { EntryText } from '../../crdt/control/entry.ts';
import type { Kv, KvTransaction } from '../ports/kv.ts';
import { deleteCandidate, putCandidate, readCandidates } from './log-rows.ts';

/** Proposed entries that are kept; each retry of a proposer leaves one, and only the accepted one has to stay. */
const candidatesMax = 64;

/**
 * Entries that were proposed and are not certified. A vote for an entry promises that its text can be had, so one is
 * here, flushed, before a vote for it is given, and stays until an entry of its place is certified.
 */
export class CandidateShelf {
  readonly #kv: Kv;
  /** The oldest first, as far as this run knows. */
  readonly #held = new Map<string, EntryText>();
  /** Some whose place is taken now, so that their proposers learn what became of them. */
  readonly #settled = new Map<string, EntryText>();

  constructor(kv: Kv) {
    this.#kv = kv;
    for (const candidate of readCandidates(kv)) this.#held.set(candidate.hash, candidate);
  }

  get(hash: string): EntryText | undefined {
    return this.#held.get(hash) ?? this.#settled.get(hash);
  }

  /**
   * Keeps a proposed entry; resolves once it is flushed.
   *
   * @param accepted the hash of the entry this node has voted for, if any: it is never pushed out
   */
  async hold(entry: EntryText, accepted?: string): Promise<void> {
    if (this.#held.has(entry.hash)) return;
    const surplus = [...this.#held.keys()]
      .filter((hash) => hash !== accepted)
      .slice(0, Math.max(0, this.#held.size + 1 - candidatesMax));
    await this.#kv.transact((transaction) => {
      for (const hash of surplus) deleteCandidate(transaction, hash);
      putCandidate(transaction, entry);
    });
    for (const hash of surplus) this.#held.delete(hash);
    this.#held.set(entry.hash, entry);
  }

  /** Deletes, in an append's transaction, the candidates for places that are taken now; `forget` follows its flush. */
  discard(transaction: KvTransaction, upTo: number): void {
    for (const { hash, entry } of this.#held.values()) {
      if (entry.seq <= upTo) deleteCandidate(transaction, hash);
    }
  }

  forget(upTo: number): void {
    for (const [hash, candidate] of this.#held) {
      if (candidate.entry.seq > upTo) continue;
      this.#held.delete(hash);
      this.#settled.set(hash, candidate);
    }
    for (const hash of this.#settled.keys()) {
      if (this.#settled.size <= candidatesMax) break;
      this.#settled.delete(hash);
    }
  }
}
