import type { Statement } from '../../../crdt/certificate.ts';
import { type AcceptorState, emptyAcceptorState } from '../../../crdt/quorum/acceptor.ts';
import { compareBallots } from '../../../crdt/quorum/ballot.ts';
import type { KvKey, KvReader } from '../../../src/ports/kv.ts';
import { rowsOf } from '../holdings.ts';
import type { Machine } from '../machine.ts';
import { parsedRow } from '../parsed-rows.ts';

/** The rooms of a coordinator's votes, see `KvAcceptorStore`: what they have in common, and one row a register. */
export const voterRoom = 0x60;
export const voteRoom = 0x61;

const voterKey: KvKey = Uint8Array.of(voterRoom);

/** What a coordinator keeps of its votes as a whole. */
export interface VoterRow {
  readonly epoch: number;
  readonly sequence: number;
  readonly restored: boolean;
  /** Of the files that the votes were written to. */
  readonly identity: string;
}

/** Where a vote was given: rounds are ordered by epoch first, then by ballot. */
export type Round = Pick<Statement, 'epoch' | 'ballot'>;

/** Negative when `a` is the earlier round, 0 when they are the same. */
export function compareRounds(a: Round, b: Round): number {
  return a.epoch === b.epoch ? compareBallots(a.ballot, b.ballot) : a.epoch - b.epoch;
}

export function roundText({ epoch, ballot }: Round): string {
  return `${epoch} ${ballot.counter} ${ballot.proposer}`;
}

export function voterRowOf(store: KvReader): VoterRow | undefined {
  return parsedRow<VoterRow>(store, voterKey);
}

/** What a disk has of a node's promises and votes in one register. */
export function acceptorStateOf(store: KvReader, register: string): AcceptorState {
  const key = Uint8Array.of(voteRoom, ...Buffer.from(register, 'utf8'));
  return parsedRow<AcceptorState>(store, key) ?? emptyAcceptorState;
}

/** The register that a row of the room of votes is of. */
export function registerOfKey(key: KvKey): string {
  return Buffer.from(key.buffer, key.byteOffset + 1, key.byteLength - 1).toString('utf8');
}

/** Every register that a disk has promises or votes of. */
export function* acceptorStatesOf(store: KvReader): Generator<readonly [string, AcceptorState]> {
  for (const [key] of rowsOf(store, voteRoom)) {
    const state = parsedRow<AcceptorState>(store, key);
    if (state !== undefined) yield [registerOfKey(key), state];
  }
}

/** True when a machine's disk has a vote of this round, or of a later one. */
export function knowsOf({ kv }: Machine, register: string, round: Round): boolean {
  const { accepted } = acceptorStateOf(kv, register);
  return accepted !== null && compareRounds(accepted, round) >= 0;
}
