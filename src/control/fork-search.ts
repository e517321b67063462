import { type CertifiedEntry, decodeLogLine } from '../../crdt/control/checkpoint.ts';
import type { PeerId } from '../../crdt/ids.ts';
import type { Log } from '../ports/log.ts';
import type { ControlStore } from './control-store.ts';

/** Two entries that a majority of the coordinators has certified for one place of the control log. */
export interface LogFork {
  /** The first place at which the logs differ; what came before is the same. */
  readonly seq: number;
  /** The hash of the entry that is here, and of the one that a peer has. */
  readonly ours: string;
  readonly theirs: string;
  readonly peer: PeerId;
}

interface Dependencies {
  readonly store: ControlStore;
  /** Lines of a peer's entries after a position, unverified. */
  readonly linesAfter: (peer: PeerId, after: number) => Promise<readonly string[]>;
  readonly log: Log;
}

/**
 * Finds out whether a peer whose log differs has another certified one, and at which place. What a peer says proves
 * nothing; two certificates for one place do, whoever shows them. Each node keeps the entries that it had first.
 */
export class ForkSearch {
  readonly #dependencies: Dependencies;
  readonly #searching = new Set<PeerId>();
  #found: LogFork | undefined;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /** The fork at the first place there is one; undefined while none was found. */
  get found(): LogFork | undefined {
    return this.#found;
  }

  /** A peer said where its log ends: whether this one has the same there. Never rejects. */
  async compare(peer: PeerId, { seq, hash }: { readonly seq: number; readonly hash: string }): Promise<void> {
    try {
      const ours = this.#hashAt(seq);
      if (ours !== undefined && ours !== hash) await this.look(peer, seq);
    } catch (error) {
      this.#dependencies.log.warn('control:difference_not_found', { peer, at: seq, error });
    }
  }

  /** The hash of the entry at a place of this node's log; undefined past its end. */
  #hashAt(seq: number): string | undefined {
    const { store } = this.#dependencies;
    const state = store.state();
    return seq === state.seq ? state.hash : seq === 0 ? store.stateAt(0)?.hash : store.entry(seq)?.entry.hash;
  }

  /** A peer's log differs from this one at a place, by what the peer says. Never rejects. */
  async look(peer: PeerId, at: number): Promise<void> {
    if (this.#searching.has(peer) || this.#found !== undefined) return;
    this.#searching.add(peer);
    try {
      const fork = await this.#search(peer, at);
      if (fork === undefined || this.#found !== undefined) return;
      this.#found = fork;
      this.#dependencies.log.error('control:forked', { ...fork });
    } catch (error) {
      this.#dependencies.log.warn('control:difference_not_found', { peer, at, error });
    } finally {
      this.#searching.delete(peer);
    }
  }

  /** Halves what is left between a place at which both have the same and one at which they differ. */
  async #search(peer: PeerId, at: number): Promise<LogFork | undefined> {
    let [same, differs] = [0, Math.min(at, this.#dependencies.store.state().seq)];
    let theirs = await this.#entryOf(peer, differs);
    if (theirs === undefined || theirs.entry.hash === this.#hashAt(differs)) return undefined;
    while (differs - same > 1) {
      const middle = Math.floor((same + differs) / 2);
      const entry = await this.#entryOf(peer, middle);
      if (entry === undefined) return undefined;
      if (entry.entry.hash === this.#hashAt(middle)) same = middle;
      else [differs, theirs] = [middle, entry];
    }
    const ours = this.#hashAt(differs);
    if (ours === undefined || !this.#dependencies.store.wouldFollow(theirs)) return undefined;
    return { seq: differs, ours, theirs: theirs.entry.hash, peer };
  }

  async #entryOf(peer: PeerId, seq: number): Promise<CertifiedEntry | undefined> {
    if (seq < 1) return undefined;
    const [line] = await this.#dependencies.linesAfter(peer, seq - 1);
    const decoded = line === undefined ? undefined : decodeLogLine(line);
    return decoded?.ok === true && decoded.value.entry.entry.seq === seq ? decoded.value : undefined;
  }
}
