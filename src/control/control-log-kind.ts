import { isSameValue, type RegisterValue } from '../../crdt/certificate.ts';
import { type CertifiedEntry, decodeLogLine } from '../../crdt/control/checkpoint.ts';
import { decodeEntry, type EntryText } from '../../crdt/control/entry.ts';
import { type ControlRefusal, foldEntry, registerValueOf } from '../../crdt/control-log.ts';
import type { PeerId } from '../../crdt/ids.ts';
import type { Verdict } from '../../crdt/quorum/proposer.ts';
import type { RegisterKind } from '../../protocols/quorum/register-kind.ts';
import { appendEntriesMax, type ControlStore } from './control-store.ts';

/** What the control log needs of the node around it. */
export interface ControlLogKindDependencies {
  readonly store: ControlStore;
  /** The lines (see `encodeLogLine`) of a peer's certified entries after a position; at most `appendEntriesMax` are taken. */
  readonly fetchEntries: (from: PeerId, after: number, signal: AbortSignal) => Promise<readonly string[]>;
  /** The text of an entry that a peer proposes, or undefined when it has none of that hash. */
  readonly fetchCandidate: (from: PeerId, hash: string, signal: AbortSignal) => Promise<string | undefined>;
  /** The head that this node's acceptor has voted for in the register, if any. */
  readonly accepted: () => Promise<string | undefined>;
  /** Why no entry that changes who votes may be chosen now; undefined when one may. */
  readonly holdsBack: () => ControlRefusal | undefined;
}

/**
 * The control log as a register: its values are entries, one a position. A coordinator votes for entry n + 1 only when
 * it durably holds certified entry n, and the entry's own text, and the entry follows: so no majority can choose what
 * the fold would refuse.
 */
export class ControlLogKind implements RegisterKind {
  readonly #dependencies: ControlLogKindDependencies;

  constructor(dependencies: ControlLogKindDependencies) {
    this.#dependencies = dependencies;
  }

  check(_register: string, current: RegisterValue | null, candidate: string): Verdict {
    const { store, holdsBack } = this.#dependencies;
    const state = store.state();
    if (candidate === state.hash || candidate === current?.head) return 'held';
    const entry = store.candidates.get(candidate);
    if (entry === undefined) return moved(`the proposed entry ${candidate} is not here any more`);
    // Someone tried again, and an earlier attempt was committed after all: what was asked for is done.
    if (entry.entry.operations.every(({ id }) => state.operations.get(id) !== undefined)) return 'held';
    if ((current?.position ?? 0) !== state.seq || (current?.head ?? state.hash) !== state.hash) {
      return moved(`the register is at entry ${current?.position ?? 0}, and this node's log at entry ${state.seq}`);
    }
    const folded = foldEntry(state, entry);
    if (folded.ok) return (folded.value.epoch > state.epoch ? holdsBack() : undefined) ?? 'accept';
    const { code, message } = folded.error;
    return code === 'wrong_position' || code === 'wrong_previous' ? moved(message) : { code, message };
  }

  async hold(_register: string, value: RegisterValue, from: PeerId, signal: AbortSignal): Promise<boolean> {
    const { store, accepted } = this.#dependencies;
    if (!(await this.#catchUp(value.position - 1, from, signal))) return false;
    const state = store.state();
    if (value.position <= state.seq) return this.#isCertified(value);
    const entry = store.candidates.get(value.head) ?? (await this.#fetch(value.head, from, signal));
    if (entry === undefined || !isSameValue(registerValueOf(state, entry), value)) return false;
    if (!foldEntry(state, entry).ok) return false;
    await store.candidates.hold(entry, await accepted());
    return true;
  }

  #isCertified(value: RegisterValue): boolean {
    const statement = this.#dependencies.store.entry(value.position)?.certificate.statement;
    return statement !== undefined && isSameValue(statement, value);
  }

  /** Appends the peer's certified entries up to a position; false when they cannot be had or do not hold. */
  async #catchUp(upTo: number, from: PeerId, signal: AbortSignal): Promise<boolean> {
    const { store, fetchEntries } = this.#dependencies;
    while (store.state().seq < upTo) {
      const before = store.state().seq;
      const entries: CertifiedEntry[] = [];
      const lines = await orNothing(fetchEntries(from, before, signal), signal);
      for (const line of (lines ?? []).slice(0, appendEntriesMax)) {
        const decoded = decodeLogLine(line);
        if (!decoded.ok) break;
        entries.push(decoded.value);
      }
      await store.append(entries);
      // Each turn gets further or is the last one.
      if (store.state().seq === before) return false;
    }
    return true;
  }

  async #fetch(hash: string, from: PeerId, signal: AbortSignal): Promise<EntryText | undefined> {
    const text = await orNothing(this.#dependencies.fetchCandidate(from, hash, signal), signal);
    const decoded = text === undefined ? undefined : decodeEntry(text);
    return decoded?.ok === true && decoded.value.hash === hash ? decoded.value : undefined;
  }
}

/** A peer that does not answer has nothing to give. */
function orNothing<T>(fetched: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return fetched.catch(() => {
    signal.throwIfAborted();
    return undefined;
  });
}

/** The entry was drafted for a place that is taken: who asked drafts it again, under the same operation ids. */
function moved(message: string): Verdict {
  return { code: 'log_moved', message };
}
