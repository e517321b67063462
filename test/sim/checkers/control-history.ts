import { type Certificate, verifyCertificate } from '../../../crdt/certificate.ts';
import { type CertifiedEntry, decodeLogLine } from '../../../crdt/control/checkpoint.ts';
import { type ControlState, type Coordinator, coordinatorsOf, foundingState } from '../../../crdt/control/state.ts';
import { checkEntryCertificate, foldEntry } from '../../../crdt/control-log.ts';
import { decodeGenesis } from '../../../crdt/genesis.ts';
import { getSealed } from '../../../src/control/sealed-rows.ts';
import { positionOfKey } from '../../../src/control/storage-keys.ts';
import type { KvKey, KvReader } from '../../../src/ports/kv.ts';
import type { Commit, World } from './checker.ts';

/** The room of the control log's entries, by position; the genesis is at 0. */
export const entryRoom = 0x68;

/** An entry that some node stored, what the log up to it comes to, and every certificate of it that was found to hold. */
interface KnownEntry {
  readonly certified: CertifiedEntry;
  readonly state: ControlState;
  readonly lines: Set<string>;
}

/** A row of an entry that a node wrote. */
export interface StoredEntry {
  readonly seq: number;
  /** Absent where nothing can be read. */
  readonly certified?: CertifiedEntry;
  /** Why it does not hold in its place. */
  readonly fault?: string;
  /** It holds, and another entry of its place did too, which a node stored before. */
  readonly isRival?: true;
}

const histories = new WeakMap<World, ControlHistory>();

/**
 * The longest control log that any node of a run has stored, checked entry by entry from the genesis: who may vote in which
 * epoch follows from it, whatever the nodes believe.
 */
export class ControlHistory {
  readonly #founding: ControlState;
  readonly #genesisText: string;
  readonly #entries: KnownEntry[] = [];
  /** What a node that has the log as far as this has to know of it. */
  #seen: { readonly commit: Commit; readonly entries: readonly StoredEntry[] } | undefined;
  readonly #proved = new Set<string>();
  /** Two entries of one place were certified, as can be when a majority has lost its disks: which one counts, none can tell. */
  isForked = false;

  private constructor({ genesisText }: World) {
    const decoded = decodeGenesis(genesisText);
    if (!decoded.ok) throw new Error(decoded.error);
    this.#founding = foundingState(decoded.value.genesis, decoded.value.id);
    this.#genesisText = genesisText.endsWith('\n') ? genesisText.slice(0, -1) : genesisText;
  }

  /** The one history of a run, which all its checkers share. */
  static of(world: World): ControlHistory {
    const history = histories.get(world) ?? new ControlHistory(world);
    histories.set(world, history);
    return history;
  }

  /** What the longest log comes to. */
  get state(): ControlState {
    return this.#entries.at(-1)?.state ?? this.#founding;
  }

  /** What the entries up to a position come to; undefined when no node has stored so many. */
  stateAt(seq: number): ControlState | undefined {
    return seq === 0 ? this.#founding : this.#entries[seq - 1]?.state;
  }

  entry(seq: number): CertifiedEntry | undefined {
    return this.#entries[seq - 1]?.certified;
  }

  /** The entries that a transaction wrote, in order; asked again of the same one, the same answer. */
  stored(commit: Commit): readonly StoredEntry[] {
    if (this.#seen?.commit === commit) return this.#seen.entries;
    const keys = commit.keys.filter((key) => key[0] === entryRoom);
    const entries = keys.map((key) => this.#take(commit.store, key)).sort((a, b) => a.seq - b.seq);
    this.#seen = { commit, entries };
    return entries;
  }

  /** Who votes in an epoch; undefined when no log has come to it. */
  votersOf(epoch: number): readonly Coordinator[] | undefined {
    return this.state.epochs[epoch - 1]?.coordinators;
  }

  /** Why a certificate of an object proves nothing; undefined when more than half of those who vote in its epoch signed it. */
  faultOf(certificate: Certificate): string | undefined {
    const text = JSON.stringify(certificate);
    if (this.#proved.has(text)) return undefined;
    const { epoch } = certificate.statement;
    const voters = this.votersOf(epoch);
    // The entry that began its epoch may be the one of the two that came second.
    if (this.isForked) return undefined;
    if (voters === undefined)
      return `it is of epoch ${epoch}, and no control log has come further than ${this.state.epoch}`;
    const fault = this.#signersFault(certificate, voters);
    if (fault === undefined) this.#proved.add(text);
    return fault;
  }

  #take(store: KvReader, key: KvKey): StoredEntry {
    const seq = positionOfKey(key);
    const bytes = getSealed(store, key, `entry ${seq}`);
    if (bytes === undefined) return { seq, fault: 'it was deleted' };
    const line = Buffer.from(bytes).toString('utf8');
    if (seq === 0) return line === this.#genesisText ? { seq } : { seq, fault: 'it is not the genesis' };
    const known = this.#entries[seq - 1];
    if (known?.lines.has(line)) return { seq, certified: known.certified };
    return this.#judge(seq, line);
  }

  #judge(seq: number, line: string): StoredEntry {
    const decoded = decodeLogLine(line);
    if (!decoded.ok) return { seq, fault: decoded.error };
    const certified = decoded.value;
    const before = this.stateAt(seq - 1);
    if (before === undefined) return { seq, certified, fault: 'nobody ever stored the entry before it' };
    const folded = foldEntry(before, certified.entry);
    if (!folded.ok) return { seq, certified, fault: folded.error.message };
    const fault =
      checkEntryCertificate(before, certified.entry, certified.certificate) ??
      this.#signersFault(certified.certificate, coordinatorsOf(before)) ??
      checkEpoch(before, folded.value);
    if (fault !== undefined) return { seq, certified, fault };
    const known = this.#entries[seq - 1];
    if (known === undefined) this.#entries.push({ certified, state: folded.value, lines: new Set([line]) });
    else if (known.certified.entry.hash !== certified.entry.hash) return { seq, certified, isRival: true };
    else known.lines.add(line);
    return { seq, certified };
  }

  /** Counted here, and not as the nodes count: who takes fewer for a majority is found by it. */
  #signersFault(certificate: Certificate, coordinators: readonly Coordinator[]): string | undefined {
    const voters = new Set<string>(coordinators.map(({ nodeId }) => nodeId));
    const signers = new Set(certificate.signatures.map(([nodeId]) => nodeId).filter((nodeId) => voters.has(nodeId)));
    if (signers.size * 2 <= voters.size) return `${signers.size} of ${voters.size} coordinators signed it`;
    const { cluster } = this.#founding;
    return verifyCertificate(certificate, { cluster, coordinators }) ? undefined : 'its signatures do not hold';
  }
}

/** Why an entry does not leave the coordinators as it should: one changes at the most, and each change begins an epoch. */
function checkEpoch(before: ControlState, after: ControlState): string | undefined {
  const [old, present] = [votersIn(before), votersIn(after)];
  const changes = missing(old, present) + missing(present, old);
  if (present.length === 0) return 'it leaves no coordinator';
  if (changes > 1) return `it changes ${changes} coordinators`;
  if (after.epoch !== before.epoch + changes) {
    return `with ${changes} other coordinators it leads from epoch ${before.epoch} to ${after.epoch}`;
  }
  const listed = coordinatorsOf(after).map(({ nodeId, peerId }) => `${nodeId} ${peerId}`);
  const isSame = missing(listed, present) + missing(present, listed) === 0;
  return isSame ? undefined : 'its epoch has other coordinators than its members say';
}

function votersIn({ members }: ControlState): readonly string[] {
  const voters = [...members.values()].filter(({ roles }) => roles.includes('coordinator'));
  return voters.map(({ nodeId, peerId }) => `${nodeId} ${peerId}`);
}

/** How many of the ones are not among the others. */
function missing(some: readonly string[], others: readonly string[]): number {
  return some.filter((each) => !others.includes(each)).length;
}
