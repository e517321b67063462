import { type CertifiedEntry, decodeLogLine, encodeLogLine } from '../../crdt/control/checkpoint.ts';
import { decodeEntry, type EntryText } from '../../crdt/control/entry.ts';
import type { GrowingIndex } from '../../crdt/control/growing-index.ts';
import type { ControlState } from '../../crdt/control/state.ts';
import { decodeState, encodeState } from '../../crdt/control/state-text.ts';
import { hashBytes } from '../../crdt/digest.ts';
import type { MerkleNode, MerkleNodeReader } from '../../crdt/merkle-log.ts';
import type { KvReader, KvTransaction } from '../ports/kv.ts';
import { damaged, getSealed, putSealed, unsealed } from './sealed-rows.ts';
import {
  candidateKey,
  candidateRange,
  entryKey,
  entryRange,
  nodeKey,
  operationKey,
  positionOfKey,
  snapshotKey,
  snapshotRange,
} from './storage-keys.ts';

/** What the control log keeps in the key-value store, row by row. Each reader names a damaged row in what it throws. */

export function putGenesis(transaction: KvTransaction, text: string): void {
  putSealed(transaction, entryKey(0), Buffer.from(text, 'utf8'));
}

export function readGenesis(reader: KvReader): string | undefined {
  const bytes = getSealed(reader, entryKey(0), entryName(0));
  return bytes === undefined ? undefined : textOf(bytes);
}

export function putEntry(transaction: KvTransaction, certified: CertifiedEntry): void {
  const { seq, operations } = certified.entry.entry;
  putSealed(transaction, entryKey(seq), Buffer.from(encodeLogLine(certified), 'utf8'));
  for (const { id } of operations) putSealed(transaction, operationKey(id), Buffer.from(String(seq), 'utf8'));
}

/** Certified entries after a position, in order and without a gap; as many as `limit` says, or all. */
export function* readEntries(reader: KvReader, after: number, limit?: number): Generator<CertifiedEntry> {
  if (limit === 0) return;
  let expected = after + 1;
  for (const [key, row] of reader.range({ ...entryRange(after), ...(limit === undefined ? {} : { limit }) })) {
    const seq = positionOfKey(key);
    if (seq !== expected) throw damaged(entryName(expected), 'its row is missing');
    const decoded = decodeLogLine(textOf(unsealed(key, row, entryName(seq))));
    if (!decoded.ok) throw damaged(entryName(seq), decoded.error);
    if (decoded.value.entry.entry.seq !== seq) throw damaged(entryName(seq), 'it is another entry');
    yield decoded.value;
    expected += 1;
  }
}

/** The operation ids of the entries up to one of them, as the rows have them, and of entries that are not rows yet. */
export class StoredOperations implements GrowingIndex<number> {
  readonly #reader: KvReader;
  readonly #upTo: number;
  readonly #more: ReadonlyMap<string, number>;

  constructor(reader: KvReader, upTo: number, more: ReadonlyMap<string, number> = new Map()) {
    this.#reader = reader;
    this.#upTo = upTo;
    this.#more = more;
  }

  get(id: string): number | undefined {
    const pending = this.#more.get(id);
    if (pending !== undefined) return pending;
    const what = `operation ${id} of the control log`;
    const bytes = getSealed(this.#reader, operationKey(id), what);
    // Rows of entries after this state's are there too, and are not part of it.
    const seq = bytes === undefined ? undefined : Number(textOf(bytes));
    return seq !== undefined && seq <= this.#upTo ? seq : undefined;
  }

  with(additions: Iterable<readonly [string, number]>): StoredOperations {
    return new StoredOperations(this.#reader, this.#upTo, new Map([...this.#more, ...additions]));
  }
}

export function putNodes(transaction: KvTransaction, nodes: readonly MerkleNode[]): void {
  for (const { level, index, hash } of nodes) putSealed(transaction, nodeKey(level, index), hash);
}

export function nodeReader(reader: KvReader): MerkleNodeReader {
  return (level, index) => {
    const what = `Merkle node ${index} of level ${level} of the control log`;
    const hash = getSealed(reader, nodeKey(level, index), what);
    if (hash === undefined) throw damaged(what, 'its row is missing');
    if (hash.length !== hashBytes) throw damaged(what, 'it is not a hash');
    return hash;
  };
}

export function putSnapshot(transaction: KvTransaction, state: ControlState): void {
  putSealed(transaction, snapshotKey(state.seq), Buffer.from(encodeState(state), 'utf8'));
}

/** The newest state that was kept at a position or before it. */
export function readSnapshot(reader: KvReader, upTo: number): ControlState | undefined {
  for (const [key, row] of reader.range({ ...snapshotRange(upTo), limit: 1, reverse: true })) {
    const seq = positionOfKey(key);
    const what = `the control log's state at entry ${seq}`;
    const text = textOf(unsealed(key, row, what));
    try {
      return decodeState(text, new StoredOperations(reader, seq));
    } catch (cause) {
      throw damaged(what, 'it cannot be read', cause);
    }
  }
  return undefined;
}

export function putCandidate(transaction: KvTransaction, { hash, text }: EntryText): void {
  putSealed(transaction, candidateKey(hash), Buffer.from(text, 'utf8'));
}

export function deleteCandidate(transaction: KvTransaction, hash: string): void {
  transaction.delete(candidateKey(hash));
}

export function* readCandidates(reader: KvReader): Generator<EntryText> {
  const what = 'a proposed entry of the control log';
  for (const [key, row] of reader.range(candidateRange)) {
    const decoded = decodeEntry(textOf(unsealed(key, row, what)));
    if (!decoded.ok) throw damaged(what, decoded.error);
    yield decoded.value;
  }
}

export function entryName(seq: number): string {
  return `entry ${seq} of the control log`;
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}
