import type { Certificate } from '../../crdt/certificate.ts';
import {
  type CertifiedEntry,
  type Checkpoint,
  encodeCheckpointLine,
  encodeLogLine,
} from '../../crdt/control/checkpoint.ts';
import { type ControlState, foundingState } from '../../crdt/control/state.ts';
import { type ControlRefusal, checkEntryCertificate, foldEntry, treeRoot } from '../../crdt/control-log.ts';
import { toBase32 } from '../../crdt/digest.ts';
import { decodeGenesis } from '../../crdt/genesis.ts';
import { err, ok, type Result } from '../../crdt/ids.ts';
import {
  appendLeaf,
  consistencyProof,
  emptyPeaks,
  inclusionProof,
  leafHash,
  type MerkleNode,
  peaksOf,
  rootOf,
} from '../../crdt/merkle-log.ts';
import type { Kv } from '../ports/kv.ts';
import { MeshError } from '../ports/mesh-error.ts';
import { CandidateShelf } from './candidate-shelf.ts';
import {
  entryName,
  nodeReader,
  putEntry,
  putGenesis,
  putNodes,
  putSnapshot,
  readEntries,
  readGenesis,
  readSnapshot,
  StoredOperations,
} from './log-rows.ts';
import { damaged } from './sealed-rows.ts';
import { blockEntries, type WriterPosition, WriterPositions } from './writer-positions.ts';

/** A state is kept every so many entries: what a start folds, and a look at an old state, is less than that. */
const snapshotEntries = blockEntries;
/** States that were asked for and may be again; they share whatever they do not differ in. */
const cachedStatesMax = 64;
/** Entries one append takes, so that a transaction stays small. */
export const appendEntriesMax = 256;
/** Entries one read gives. */
const readEntriesMax = 1_024;

/** A proof over the Merkle tree; hashes are 52 characters of base32. */
export interface LogProof {
  /** Entries in the tree, and its root. */
  readonly size: number;
  readonly root: string;
  readonly path: readonly string[];
}

/** Why entries were not appended: one that does not follow, or whose certificate does not prove it. */
export type AppendRefusal = ControlRefusal | { readonly code: 'not_certified' | 'forked'; readonly message: string };

/**
 * The control log on disk: certified entries, the Merkle tree over their texts, and states to fold on from. What it
 * shows is flushed. An entry is in it once it follows from the ones before it and its certificate proves that it was
 * chosen, wherever it came from.
 */
export class ControlStore {
  /** Entries that were proposed and are not certified. */
  readonly candidates: CandidateShelf;
  readonly genesisText: string;

  readonly #kv: Kv;
  #state: ControlState;
  #last: CertifiedEntry | undefined;
  readonly #positions: WriterPositions;
  /** The newest last. */
  readonly #cached = new Map<number, ControlState>();
  readonly #listeners = new Set<(state: ControlState, before: ControlState) => void>();
  /** Appends go one after the other: each starts from what the one before it has flushed. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(kv: Kv, genesisText: string, loaded: LoadedLog) {
    this.#kv = kv;
    this.genesisText = genesisText;
    this.#state = loaded.state;
    this.#last = loaded.last;
    this.candidates = new CandidateShelf(kv);
    this.#positions = new WriterPositions(
      () => this.#state,
      (from, to, each) => foldStored(kv, snapshotBefore(kv, from), to, each),
    );
  }

  /**
   * Opens the log of the cluster that a genesis text founds, and begins it when there is none.
   * Rejects with `MeshError` `corrupt` for a damaged row, `invalid_config` for the log of another cluster.
   */
  static async open(kv: Kv, genesisText: string): Promise<ControlStore> {
    const text = genesisText.endsWith('\n') ? genesisText.slice(0, -1) : genesisText;
    const decoded = decodeGenesis(text);
    if (!decoded.ok) throw new MeshError('invalid_config', `the genesis entry cannot be read: ${decoded.error}`);
    const founded = foundingState(decoded.value.genesis, decoded.value.id);
    const stored = readGenesis(kv);
    if (stored === undefined) await begin(kv, text, founded);
    else if (stored !== text) {
      throw new MeshError('invalid_config', 'the stored control log is of another cluster than the genesis entry');
    }
    return new ControlStore(kv, text, loadLog(kv));
  }

  /** The state after the last entry. */
  state(): ControlState {
    return this.#state;
  }

  /** Calls back after each append, once `state` shows it. Returns the unsubscriber. */
  onAppended(listener: (state: ControlState, before: ControlState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The certified entry at a position from 1; undefined when there is none. */
  entry(seq: number): CertifiedEntry | undefined {
    if (seq > this.#state.seq) return undefined;
    const [entry] = this.entriesAfter(seq - 1, 1);
    return entry;
  }

  /** Certified entries after a position (0 for all), in order, as many as `limit` allows and never more than 1,024. */
  entriesAfter(seq: number, limit: number): readonly CertifiedEntry[] {
    const count = Math.min(limit, readEntriesMax, this.#state.seq - seq);
    if (count <= 0) return [];
    const entries = [...readEntries(this.#kv, seq, count)];
    if (entries.length < count) throw damaged(entryName(seq + entries.length + 1), 'its row is missing');
    return entries;
  }

  /**
   * Appends certified entries that follow the last one, in one flushed transaction; those that are there already are
   * passed over. When one is refused, the ones before it are kept. At most `appendEntriesMax` at once.
   */
  append(entries: readonly CertifiedEntry[]): Promise<Result<ControlState, AppendRefusal>> {
    if (entries.length > appendEntriesMax) throw new RangeError(`at most ${appendEntriesMax} entries at once`);
    const appended = this.#turn.then(() => this.#append(entries));
    this.#turn = appended.catch(() => undefined);
    return appended;
  }

  async #append(entries: readonly CertifiedEntry[]): Promise<Result<ControlState, AppendRefusal>> {
    const accepted: Accepted[] = [];
    let [state, refusal] = [this.#state, undefined as AppendRefusal | undefined];
    for (const certified of entries) {
      if (certified.entry.entry.seq <= this.#state.seq) {
        refusal = this.#checkSame(certified);
        if (refusal === undefined) continue;
        break;
      }
      const followed = follow(state, certified);
      if (!followed.ok) {
        refusal = followed.error;
        break;
      }
      const { nodes } = appendLeaf(state.tree, leafOf(certified.entry.text));
      state = followed.value;
      accepted.push({ certified, state, nodes });
    }
    if (accepted.length > 0) await this.#write(accepted);
    return refusal === undefined ? ok(this.#state) : err(refusal);
  }

  async #write(accepted: readonly Accepted[]): Promise<void> {
    const { state, certified } = accepted.at(-1) as Accepted;
    await this.#kv.transact((transaction) => {
      for (const each of accepted) {
        putEntry(transaction, each.certified);
        putNodes(transaction, each.nodes);
        if (each.state.seq % snapshotEntries === 0) putSnapshot(transaction, each.state);
      }
      this.candidates.discard(transaction, state.seq);
    });
    this.candidates.forget(state.seq);
    const before = this.#state;
    this.#state = { ...state, operations: new StoredOperations(this.#kv, state.seq) };
    this.#last = certified;
    for (const listener of [...this.#listeners]) listener(this.#state, before);
  }

  /** An entry whose place is taken has to be the one that is there: two certified ones would be a fork. */
  #checkSame({ entry }: CertifiedEntry): AppendRefusal | undefined {
    const { seq } = entry.entry;
    const present = this.entry(seq)?.entry.hash;
    if (present === entry.hash) return undefined;
    return { code: 'forked', message: `entry ${seq} is ${present}, not ${entry.hash}` };
  }

  /** Whether a certified entry could stand where it says, after what is here before that place: its certificate holds. */
  wouldFollow(certified: CertifiedEntry): boolean {
    const before = this.stateAt(certified.entry.entry.seq - 1);
    return before !== undefined && follow(before, certified).ok;
  }

  /** The state after the entry at a position; undefined when the log has not come so far. */
  stateAt(seq: number): ControlState | undefined {
    if (seq === this.#state.seq) return this.#state;
    if (!Number.isInteger(seq) || seq < 0 || seq > this.#state.seq) return undefined;
    const cached = this.#cached.get(seq);
    const state = cached ?? this.#foldTo(seq);
    this.#cached.delete(seq);
    this.#cached.set(seq, state);
    for (const oldest of this.#cached.keys()) {
      if (this.#cached.size <= cachedStatesMax) break;
      this.#cached.delete(oldest);
    }
    return state;
  }

  /** The entry at a position and the members after it; undefined when the log has not come so far. Cheap for many positions. */
  positionAt(seq: number): WriterPosition | undefined {
    return this.#positions.at(seq);
  }

  #foldTo(seq: number): ControlState {
    let state = snapshotBefore(this.#kv, seq);
    for (const cached of this.#cached.values()) {
      if (cached.seq <= seq && cached.seq > state.seq) state = cached;
    }
    return foldStored(this.#kv, state, seq).state;
  }

  /**
   * Proof that the entry at `seq` is the one of that number in the tree of the first `size` entries (the genesis is
   * entry 0); undefined when there are no such entries. The entry's leaf hash is that of its text.
   */
  proof(seq: number, size: number = this.#state.tree.size): LogProof | undefined {
    if (!this.#hasTree(size) || !Number.isInteger(seq) || seq < 0 || seq >= size) return undefined;
    return this.#proofOver(size, inclusionProof(seq, size, nodeReader(this.#kv)));
  }

  /** Proof that the tree of `second` entries only adds to that of `first`; undefined when there are no such trees. */
  consistency(first: number, second: number = this.#state.tree.size): LogProof | undefined {
    if (!this.#hasTree(first) || !this.#hasTree(second) || first > second) return undefined;
    return this.#proofOver(second, consistencyProof(first, second, nodeReader(this.#kv)));
  }

  #hasTree(size: number): boolean {
    return Number.isInteger(size) && size >= 1 && size <= this.#state.tree.size;
  }

  #proofOver(size: number, path: readonly Uint8Array[]): LogProof {
    const root = rootOf(size === this.#state.tree.size ? this.#state.tree : peaksOf(size, nodeReader(this.#kv)));
    return { size, root: toBase32(root), path: path.map(toBase32) };
  }

  /** Where the log ends. */
  checkpoint(): Checkpoint {
    const certificate: Certificate | null = this.#last?.certificate ?? null;
    return { cluster: this.#state.cluster, size: this.#state.tree.size, root: treeRoot(this.#state), certificate };
  }

  /** The whole log up to this moment as `anabranch control-log verify` reads it, line by line, without newlines. */
  *exportLines(): Generator<string> {
    const checkpoint = this.checkpoint();
    yield this.genesisText;
    for (let seq = 0; seq < checkpoint.size - 1; seq += readEntriesMax) {
      for (const entry of this.entriesAfter(seq, checkpoint.size - 1 - seq)) yield encodeLogLine(entry);
    }
    yield encodeCheckpointLine(checkpoint);
  }
}

/** An entry that follows, and what it comes to. */
interface Accepted {
  readonly certified: CertifiedEntry;
  readonly state: ControlState;
  readonly nodes: readonly MerkleNode[];
}

interface LoadedLog {
  readonly state: ControlState;
  readonly last: CertifiedEntry | undefined;
}

function leafOf(text: string): Uint8Array {
  return leafHash(Buffer.from(text, 'utf8'));
}

function follow(state: ControlState, { entry, certificate }: CertifiedEntry): Result<ControlState, AppendRefusal> {
  const folded = foldEntry(state, entry);
  if (!folded.ok) return folded;
  const fault = checkEntryCertificate(state, entry, certificate);
  return fault === undefined ? folded : err({ code: 'not_certified', message: fault });
}

async function begin(kv: Kv, text: string, founded: ControlState): Promise<void> {
  const { nodes } = appendLeaf(emptyPeaks, leafOf(text));
  await kv.transact((transaction) => {
    putGenesis(transaction, text);
    putNodes(transaction, nodes);
    putSnapshot(transaction, founded);
  });
}

function loadLog(kv: Kv): LoadedLog {
  const { state, last } = foldStored(kv, snapshotBefore(kv, Number.MAX_SAFE_INTEGER - 1));
  // Proofs need the tree's nodes: whether they are there shows now, and not when somebody asks.
  const root = toBase32(rootOf(peaksOf(state.seq + 1, nodeReader(kv))));
  if (root !== treeRoot(state)) throw damaged("the control log's Merkle tree", 'it is not that of the entries');
  return { state, last: last ?? lastOf(kv, state.seq) };
}

/** The founding state was kept when the log began, so there is always one. */
function snapshotBefore(kv: Kv, seq: number): ControlState {
  const state = readSnapshot(kv, seq);
  if (state === undefined) throw damaged("the control log's state at entry 0", 'its row is missing');
  return state;
}

function lastOf(kv: Kv, seq: number): CertifiedEntry | undefined {
  const [last] = seq === 0 ? [] : readEntries(kv, seq - 1, 1);
  if (seq > 0 && last === undefined) throw damaged(entryName(seq), 'its row is missing');
  return last;
}

/** Folds stored entries, which were verified when they were appended, onto a state, up to a position or to the last. */
function foldStored(
  kv: Kv,
  start: ControlState,
  upTo?: number,
  each?: (state: ControlState) => void,
): { readonly state: ControlState; readonly last: CertifiedEntry | undefined } {
  let state = start;
  let last: CertifiedEntry | undefined;
  each?.(state);
  for (const certified of readEntries(kv, start.seq, upTo === undefined ? undefined : upTo - start.seq)) {
    const folded = foldEntry(state, certified.entry);
    if (!folded.ok) throw damaged(entryName(certified.entry.entry.seq), folded.error.message);
    last = certified;
    state = { ...folded.value, operations: new StoredOperations(kv, folded.value.seq) };
    each?.(state);
  }
  return { state, last };
}
