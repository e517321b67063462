import type { Certificate, RegisterValue, Statement } from '../../../crdt/certificate.ts';
import type { ClusterId, NodeId } from '../../../crdt/ids.ts';
import {
  type AcceptorState,
  type AcceptRequest,
  accept,
  emptyAcceptorState,
  type PrepareRequest,
  prepare,
} from '../../../crdt/quorum/acceptor.ts';
import type { Ballot } from '../../../crdt/quorum/ballot.ts';
import { type ProposerAnswer, type Round, takeAnswer, type Verdict } from '../../../crdt/quorum/proposer.ts';

/** Deliberate faults of the shell around the pure functions; production code has no switch for them. */
export interface ModelFaults {
  /** Answers go out before what they rest on is on disk. */
  readonly answersBeforeFlush?: boolean;
  /** A restarted proposer keeps its name, and uses promises again that an earlier life had used. */
  readonly reusesBallots?: boolean;
  /** Votes for the same value in earlier ballots are counted as votes in this one. */
  readonly addsUpBallots?: boolean;
  /** A value found without a certificate is taken for one that was never chosen. */
  readonly dropsUncertified?: boolean;
  /** Acceptors vote in whatever epoch they are asked in. */
  readonly ignoresEpochs?: boolean;
  /** A coordinator on an older disk is believed. */
  readonly ignoresSequence?: boolean;
}

/** What may go wrong in a run. */
export interface ModelProfile {
  readonly changesEpochs: boolean;
  readonly restoresDisk: boolean;
  /** How often a node crashes: its share of all steps. */
  readonly crashes: number;
}

export const cluster = 'model' as ClusterId;
export const registers = ['x', 'y'] as const;
export const names = ['a', 'b', 'c', 'd', 'e'] as NodeId[];

export interface Disk {
  readonly states: ReadonlyMap<string, AcceptorState>;
  readonly epoch: number;
  readonly sequence: number;
  readonly restored: boolean;
  readonly heard: ReadonlyMap<NodeId, number>;
}

const emptyDisk: Disk = { states: new Map(), epoch: 0, sequence: 0, restored: false, heard: new Map() };

type VoteRequest = ({ t: 'prepare' } & PrepareRequest) | ({ t: 'accept' } & AcceptRequest);

/** `seen` comes back with the reply, so that a reordered reply is not taken for one of an older disk. */
export interface Ask {
  readonly key: string;
  readonly from: NodeId;
  readonly to: NodeId;
  readonly register: string;
  readonly seen: number;
  readonly request:
    | VoteRequest
    | { readonly t: 'list'; readonly epoch: number }
    | { readonly t: 'heard'; readonly epoch: number };
}

export interface Reply {
  readonly ask: Ask;
  readonly sequence: number;
  readonly epoch: number;
  readonly answer: ProposerAnswer | Listed | { readonly t: 'heard'; readonly sequence: number };
}

export interface Listed {
  readonly t: 'list';
  readonly registers: readonly (readonly [string, boolean])[];
}

export interface Cached {
  readonly epoch: number;
  readonly ballot: Ballot;
  readonly value: RegisterValue;
}

/** One attempt of a client, or of a carry-over (`candidate` null), to move a register. */
export interface Operation {
  readonly slot: string;
  readonly register: string;
  readonly candidate: string | null;
  readonly startedAt: number;
  key: string;
  round: Round | undefined;
  usesCache: boolean;
  /** Rounds lost in a row, by which the next one is put off. */
  failures: number;
}

export interface Carry {
  readonly epoch: number;
  readonly answered: Set<NodeId>;
  /** How many have accepted each register in this epoch. */
  readonly named: Map<string, number>;
  readonly left: Set<string>;
}

export class ModelNode {
  readonly id: NodeId;
  up = true;
  life = 1;
  counter = 0;
  /** The newest epoch this node has proof of; the control log is durable. */
  epoch = 1;
  disk: Disk = emptyDisk;
  memory: Disk = emptyDisk;
  backup: Disk | undefined;
  carry: Carry | undefined;
  /** Who has said, in this life, what it heard of this node's votes. */
  readonly checkedBy = new Set<NodeId>();
  /** Answers that wait for the flush, and those that only have to be sent. */
  waiting: Reply[] = [];
  outbox: Reply[] = [];
  readonly book = new Map<string, Certificate>();
  readonly operations = new Map<string, Operation>();
  readonly cache = new Map<string, Cached>();
  /** What the faulty proposer finds again after a restart. */
  readonly usedCache = new Map<string, Cached>();
  /** What the faulty proposer adds up. */
  readonly oldVotes = new Map<string, Map<NodeId, Uint8Array>>();

  constructor(id: NodeId) {
    this.id = id;
  }
}

/** A head is the path of all heads before it. */
export function judge(current: RegisterValue | null, candidate: string): Verdict {
  if (current === null || candidate.startsWith(`${current.head}.`)) return 'accept';
  if (current.head === candidate || current.head.startsWith(`${candidate}.`)) return 'held';
  return { code: 'not_a_descendant', message: 'the candidate does not follow the head' };
}

/** In place of a signature: what was signed, and by whom. Real ones are tested elsewhere, and cost the time of ten runs. */
export function signatureOf(statement: Statement, voter: NodeId): Uint8Array {
  const { register, epoch, position, head, previous, ballot } = statement;
  return Buffer.from(
    JSON.stringify([voter, register, epoch, position, head, previous, ballot.counter, ballot.proposer]),
  );
}

/** What an acceptor makes of a request: the production's rules, over the model's memory. */
export function voteOf(
  memory: Disk,
  ask: Ask,
  voter: NodeId,
  faults: ModelFaults,
): { states: Disk['states']; answer: Reply['answer'] } {
  const { request, register } = ask;
  const { states } = memory;
  const epoch = faults.ignoresEpochs ? request.epoch : memory.epoch;
  if (request.t === 'heard') return { states, answer: { t: 'heard', sequence: memory.heard.get(ask.from) ?? 0 } };
  if (request.t === 'list') {
    if (request.epoch !== memory.epoch) return { states, answer: { t: 'lost' } };
    const registers = [...states].flatMap(([name, { accepted }]): [string, boolean][] => {
      return accepted === null ? [] : [[name, accepted.epoch >= request.epoch]];
    });
    return { states, answer: { t: 'list', registers } };
  }
  const before = states.get(register) ?? emptyAcceptorState;
  const { state, answer } = request.t === 'prepare' ? prepare(before, request, epoch) : accept(before, request, epoch);
  const after = new Map(states).set(register, state);
  if (answer.t !== 'accepted' || request.t !== 'accept') return { states: after, answer: answer as ProposerAnswer };
  const statement: Statement = { v: 1, register, epoch: request.epoch, ...request.value, ballot: request.ballot };
  return { states: after, answer: { t: 'accepted', signature: signatureOf(statement, voter) } };
}

/** What a round makes of an answer. */
export function countAnswer(
  node: ModelNode,
  round: Round,
  from: NodeId,
  answer: ProposerAnswer,
  faults: ModelFaults,
): Round {
  if (!faults.addsUpBallots || round.phase !== 'accepting' || answer.t !== 'accepted') {
    return takeAnswer(round, from, answer, (statement, voter, signature) =>
      Buffer.from(signature).equals(signatureOf(statement, voter)),
    );
  }
  const name = `${round.settings.register} ${round.value.position} ${round.value.head}`;
  const votes = node.oldVotes.get(name) ?? new Map<NodeId, Uint8Array>();
  node.oldVotes.set(name, votes.set(from, answer.signature));
  let counted: Round = round;
  for (const [voter, signature] of votes) {
    counted = takeAnswer(counted, voter, { t: 'accepted', signature }, () => true);
  }
  return counted;
}
