import type { Certificate } from '../../../crdt/certificate.ts';
import type { NodeId } from '../../../crdt/ids.ts';
import { type AcceptorState, emptyAcceptorState } from '../../../crdt/quorum/acceptor.ts';
import type {
  AcceptorStore,
  AcceptorTransaction,
  HeardVotes,
  ListedRegisters,
} from '../../../protocols/quorum/acceptor-store.ts';
import type { Kv, KvKey, KvReader, KvTransaction } from '../../ports/kv.ts';
import { decodeRow, encodeRow } from '../rows.ts';
import { afterKey, successor } from '../storage-keys.ts';

/** Rooms of the quorum register in the key-value store; bytes 0x60 to 0x67 belong to it. */
const room = { voter: 0x60, register: 0x61, heard: 0x62 } as const;

/** Rows read for one page of a listing: some 20 ms, during which nothing else runs. */
const rowsLookedAtMax = 4_096;

/** What the node's votes have in common. */
interface VoterRow {
  readonly epoch: number;
  readonly sequence: number;
  readonly restored: boolean;
  /** `Kv.identity()` of the files the votes were written to: a copied or restored directory has another. */
  readonly identity: string;
  /** How many registers have a row; counted once where an earlier version wrote none. */
  readonly registers?: number;
}

/** What votes have to do with what else is in the store. */
export interface VotedOn {
  /** Whether a reader sees what a register's head names, for heads that are taken in with votes on them. */
  holds(reader: KvReader, register: string, head: string): boolean;
  /** Writes a certificate, and gives what is to be called once it is on disk; undefined when it is not kept in this store. */
  certify(transaction: KvTransaction, certificate: Certificate): (() => void) | undefined;
}

const nothingElse: VotedOn = { holds: () => false, certify: () => undefined };

/** The votes of a coordinator in the node's store: one row a register. */
export class KvAcceptorStore implements AcceptorStore {
  readonly #kv: Kv;
  readonly #votedOn: VotedOn;

  constructor(kv: Kv, votedOn: VotedOn = nothingElse) {
    this.#kv = kv;
    this.#votedOn = votedOn;
  }

  /**
   * Binds the votes to the files they are in, before the first one is given; resolves with false when they are the
   * votes of other files, and then none is given any more. A copy that was taken before the first vote is told apart
   * by this alone: with no other coordinator there is nobody to have heard of the votes that came after it.
   */
  async open(): Promise<boolean> {
    return this.transact(({ restored }) => !restored);
  }

  async transact<T>(change: (transaction: AcceptorTransaction) => T): Promise<T> {
    const { result, certified } = await this.#kv.transact((transaction) => {
      const rows = new VoterTransaction(transaction, { identity: this.#kv.identity(), votedOn: this.#votedOn });
      return { result: change(rows), certified: rows.finish() };
    });
    for (const tell of certified) tell();
    return result;
  }

  sequence(): number {
    const row = this.#kv.get(voterKey);
    return row === undefined ? 0 : decodeRow<VoterRow>(row, 'voter').sequence;
  }

  restored(): boolean {
    const row = this.#kv.get(voterKey);
    return row !== undefined && decodeRow<VoterRow>(row, 'voter').restored;
  }

  /** How many registers this node was ever asked to vote on. */
  registers(): number {
    const row = this.#kv.get(voterKey);
    return row === undefined ? 0 : (decodeRow<VoterRow>(row, 'voter').registers ?? 0);
  }

  heardVotes(): ReadonlyMap<NodeId, HeardVotes> {
    const heard = new Map<NodeId, HeardVotes>();
    const start = Uint8Array.of(room.heard);
    for (const [key, row] of this.#kv.range({ start, end: successor(start) })) {
      heard.set(textAfterRoom(key) as NodeId, decodeRow<HeardVotes>(row, 'vote sequence'));
    }
    return heard;
  }
}

class VoterTransaction implements AcceptorTransaction {
  readonly #transaction: KvTransaction;
  readonly #votedOn: VotedOn;
  readonly #certified: (() => void)[] = [];
  readonly #before: VoterRow | undefined;
  #row: VoterRow;
  /** Registers that were read in this transaction, and whether they had a row. */
  readonly #known = new Map<string, boolean>();

  constructor(
    transaction: KvTransaction,
    { identity, votedOn }: { readonly identity: string; readonly votedOn: VotedOn },
  ) {
    this.#transaction = transaction;
    this.#votedOn = votedOn;
    const stored = transaction.get(voterKey);
    this.#before = stored === undefined ? undefined : decodeRow<VoterRow>(stored, 'voter');
    this.#row = this.#before ?? { epoch: 0, sequence: 0, restored: false, identity };
    if (this.#row.registers === undefined) this.#row = { ...this.#row, registers: countRegisters(transaction) };
    // Whoever holds a copy of the votes does not know what was voted after it was taken.
    if (this.#row.identity !== identity) this.#row = { ...this.#row, restored: true, identity };
  }

  get epoch(): number {
    return this.#row.epoch;
  }

  raiseEpoch(epoch: number): void {
    this.#row = { ...this.#row, epoch };
  }

  get sequence(): number {
    return this.#row.sequence;
  }

  setSequence(sequence: number): void {
    this.#row = { ...this.#row, sequence };
  }

  get restored(): boolean {
    return this.#row.restored;
  }

  markRestored(): void {
    if (!this.#row.restored) this.#row = { ...this.#row, restored: true };
  }

  state(register: string): AcceptorState {
    const row = this.#transaction.get(registerKey(register));
    this.#known.set(register, row !== undefined);
    return row === undefined ? emptyAcceptorState : decodeRow<AcceptorState>(row, 'vote');
  }

  setState(register: string, state: AcceptorState): void {
    const isKnown = this.#known.get(register) ?? this.#transaction.get(registerKey(register)) !== undefined;
    if (!isKnown) this.#row = { ...this.#row, registers: (this.#row.registers ?? 0) + 1 };
    this.#known.set(register, true);
    this.#transaction.put(registerKey(register), encodeRow(state));
  }

  listAccepted(epoch: number, after: string | null, limit: number): ListedRegisters {
    const start = after === null ? Uint8Array.of(room.register) : afterKey(registerKey(after));
    const end = Uint8Array.of(room.register + 1);
    const registers: [string, boolean][] = [];
    let looked = 0;
    for (const [key, row] of this.#transaction.range({ start, end, limit: rowsLookedAtMax })) {
      looked += 1;
      const { accepted } = decodeRow<AcceptorState>(row, 'vote');
      if (accepted !== null) registers.push([textAfterRoom(key), accepted.epoch >= epoch]);
      if (registers.length === limit || looked === rowsLookedAtMax) return { registers, through: textAfterRoom(key) };
    }
    return { registers, through: null };
  }

  setHeard(nodeId: NodeId, heard: HeardVotes): void {
    this.#transaction.put(keyOf(room.heard, nodeId), encodeRow(heard));
  }

  holds(register: string, head: string): boolean {
    return this.#votedOn.holds(this.#transaction, register, head);
  }

  certify(certificate: Certificate): boolean {
    const tell = this.#votedOn.certify(this.#transaction, certificate);
    if (tell !== undefined) this.#certified.push(tell);
    return tell !== undefined;
  }

  /** Gives what is to be called once the transaction is on disk. */
  finish(): readonly (() => void)[] {
    if (this.#row !== this.#before) this.#transaction.put(voterKey, encodeRow(this.#row));
    return this.#certified;
  }
}

function countRegisters(transaction: KvTransaction): number {
  let count = 0;
  const start = Uint8Array.of(room.register);
  for (const _row of transaction.range({ start, end: successor(start) })) count += 1;
  return count;
}

const voterKey: KvKey = Uint8Array.of(room.voter);

function registerKey(register: string): KvKey {
  return keyOf(room.register, register);
}

function keyOf(byte: number, text: string): KvKey {
  const bytes = Buffer.from(text, 'utf8');
  const key = new Uint8Array(1 + bytes.length);
  key[0] = byte;
  key.set(bytes, 1);
  return key;
}

function textAfterRoom(key: KvKey): string {
  return Buffer.from(key.buffer, key.byteOffset + 1, key.byteLength - 1).toString('utf8');
}
