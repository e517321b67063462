import type { Certificate, RegisterValue, Statement, Vote } from '../../../crdt/certificate.ts';
import type { ClusterId, NodeId } from '../../../crdt/ids.ts';
import {
  type AcceptorResult,
  type AcceptorState,
  type AcceptRequest,
  accept,
  emptyAcceptorState,
  type PrepareRequest,
  prepare,
} from '../../../crdt/quorum/acceptor.ts';
import { type Ballot, compareBallots, firstCounter } from '../../../crdt/quorum/ballot.ts';
import { type ProposerAnswer, type Round, takeAnswer, type Verdict } from '../../../crdt/quorum/proposer.ts';
import type { BatchPlace } from '../../../crdt/vote-batch.ts';

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
  /** A first round asks everybody at once: its proposer's own vote may not be on disk when others have given theirs. */
  readonly firstAsksAllAtOnce?: boolean;
  /** Any coordinator begins a register's first round, and is let. */
  readonly firstByAnybody?: boolean;
  /** A first round is begun in an epoch into which nothing may have been carried yet. */
  readonly firstBeforeCarry?: boolean;
  /** Acceptors vote in a first round although they have promised another. */
  readonly firstDespitePromise?: boolean;
  /** A vote that is given again does not come with the promise that was asked for along with it. */
  readonly votesAgainUnpromised?: boolean;
  /** Signatures under a batch and under the statement alone are counted together. */
  readonly addsUpForms?: boolean;
  /** What a coordinator tells of its own votes when it asks for others' is not kept. */
  readonly forgetsWhatIsTold?: boolean;
}

/** What may go wrong in a run. */
export interface ModelProfile {
  readonly changesEpochs: boolean;
  readonly restoresDisk: boolean;
  /** How often a node crashes: its share of all steps. */
  readonly crashes: number;
  /** The fewer, the more they are fought over; the more, the more of them begin anew. */
  readonly registers: number;
}

export const cluster = 'model' as ClusterId;
export const names = ['a', 'b', 'c', 'd', 'e'] as NodeId[];

export interface Disk {
  readonly states: ReadonlyMap<string, AcceptorState>;
  readonly epoch: number;
  readonly sequence: number;
  readonly restored: boolean;
  readonly heard: ReadonlyMap<NodeId, number>;
  /** The greatest sequence that each coordinator named of itself when it asked this one for a vote. */
  readonly told: ReadonlyMap<NodeId, number>;
}

const emptyDisk: Disk = {
  states: new Map(),
  epoch: 0,
  sequence: 0,
  restored: false,
  heard: new Map(),
  told: new Map(),
};

/** What a node knows of another's votes. */
export function seenOf({ heard, told }: Disk, id: NodeId, faults: ModelFaults): number {
  return Math.max(heard.get(id) ?? 0, faults.forgetsWhatIsTold ? 0 : (told.get(id) ?? 0));
}

type VoteRequest = ({ t: 'prepare' } & PrepareRequest) | ({ t: 'accept' } & AcceptRequest);

/** `seen` comes back with the reply, so that a reordered reply is not taken for one of an older disk. */
export interface Ask {
  readonly key: string;
  readonly from: NodeId;
  readonly to: NodeId;
  readonly register: string;
  readonly seen: number;
  /** The asker's own that is on its disk. */
  readonly own: number;
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
  /** No round of it was lost yet: it may begin a register. */
  mayBegin: boolean;
  /** What is left to do of a first round once the proposer's own vote is on disk. */
  askOthers: (() => void) | undefined;
  /** Rounds lost in a row, by which the next one is put off. */
  failures: number;
}

export function operationOf(what: Pick<Operation, 'slot' | 'register' | 'candidate' | 'startedAt'>): Operation {
  return {
    ...what,
    key: '',
    round: undefined,
    usesCache: false,
    mayBegin: true,
    askOthers: undefined,
    failures: 0,
  };
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
  /** What ballots of this life are named by; drawn, so that a later life's is no greater. */
  lifeName = 'm1';
  counter = 0;
  /** The newest epoch this node has proof of; the control log is durable. */
  epoch = 1;
  disk: Disk = emptyDisk;
  memory: Disk = emptyDisk;
  backup: Disk | undefined;
  carry: Carry | undefined;
  /** The newest epoch that this node has itself seen everything carried into. */
  carriedInto = 1;
  /** Who has said, in this life, what it heard of this node's votes. */
  readonly checkedBy = new Set<NodeId>();
  /** Answers that wait for the flush, and those that only have to be sent. */
  waiting: Reply[] = [];
  outbox: Reply[] = [];
  readonly book = new Map<string, Certificate>();
  readonly operations = new Map<string, Operation>();
  /** What its callers gave up waiting for, and may propose again. */
  readonly abandoned = new Map<string, string>();
  readonly cache = new Map<string, Cached>();
  /** What the faulty proposer finds again after a restart. */
  readonly usedCache = new Map<string, Cached>();
  /** What the faulty proposer adds up. */
  readonly oldVotes = new Map<string, Map<NodeId, Vote>>();

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

/** Where every statement stands in its batch: what else is in it makes no difference here. */
const batchPlace: BatchPlace = { index: 0, size: 2, path: [new Uint8Array(32)] };

/** In place of a signature: what was signed, in which form, and by whom. Real ones are tested elsewhere, and cost the time of ten runs. */
export function signatureOf(statement: Statement, voter: NodeId, inBatch: boolean): Uint8Array {
  const { register, epoch, position, head, previous, ballot } = statement;
  return Buffer.from(
    JSON.stringify([voter, inBatch, register, epoch, position, head, previous, ballot.counter, ballot.proposer]),
  );
}

/** What an acceptor makes of a request: the production's rules, over the model's memory. */
export function voteOf(
  memory: Disk,
  ask: Ask,
  voter: NodeId,
  { faults, inBatch }: { readonly faults: ModelFaults; readonly inBatch: boolean },
): { states: Disk['states']; answer: Reply['answer'] } {
  const { request, register } = ask;
  const { states } = memory;
  const epoch = faults.ignoresEpochs ? request.epoch : memory.epoch;
  if (request.t === 'heard') return { states, answer: { t: 'heard', sequence: seenOf(memory, ask.from, faults) } };
  if (request.t === 'list') {
    if (request.epoch !== memory.epoch) return { states, answer: { t: 'lost' } };
    const registers = [...states].flatMap(([name, { accepted }]): [string, boolean][] => {
      return accepted === null ? [] : [[name, accepted.epoch >= request.epoch]];
    });
    return { states, answer: { t: 'list', registers } };
  }
  const before = states.get(register) ?? emptyAcceptorState;
  const { state, answer } =
    request.t === 'prepare' ? prepare(before, request, epoch) : acceptOf(before, request, epoch, faults);
  const after = new Map(states).set(register, state);
  if (answer.t !== 'accepted' || request.t !== 'accept') return { states: after, answer: answer as ProposerAnswer };
  const statement: Statement = { v: 1, register, epoch: request.epoch, ...request.value, ballot: request.ballot };
  const vote = { signature: signatureOf(statement, voter, inBatch), batch: inBatch ? batchPlace : null };
  return { states: after, answer: { t: 'accepted', vote } };
}

/** The production's rule, unless a fault takes its place. */
function acceptOf(state: AcceptorState, request: AcceptRequest, epoch: number, faults: ModelFaults): AcceptorResult {
  const standing = state.accepted;
  const isAgain = standing?.epoch === request.epoch && compareBallots(standing.ballot, request.ballot) === 0;
  if (faults.votesAgainUnpromised && isAgain) return accept(state, { ...request, next: null }, epoch);
  if (!faults.firstDespitePromise || request.ballot.counter !== firstCounter || standing !== null) {
    return accept(state, request, epoch);
  }
  const result = accept(emptyAcceptorState, request, epoch);
  const isHigher = state.promised !== null && compareBallots(state.promised, request.next as Ballot) > 0;
  return isHigher ? { ...result, state: { ...result.state, promised: state.promised } } : result;
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
    const isAlike = faults.addsUpForms && answer.t === 'accepted';
    const taken = isAlike ? { ...answer, vote: { ...answer.vote, batch: null } } : answer;
    return takeAnswer(round, from, taken, (statement, voter, { signature, batch }) => {
      return isAlike || Buffer.from(signature).equals(signatureOf(statement, voter, batch !== null));
    });
  }
  const name = `${round.settings.register} ${round.value.position} ${round.value.head}`;
  const votes = node.oldVotes.get(name) ?? new Map<NodeId, Vote>();
  node.oldVotes.set(name, votes.set(from, answer.vote));
  let counted: Round = round;
  for (const [voter, { signature }] of votes) {
    counted = takeAnswer(counted, voter, { t: 'accepted', vote: { signature, batch: null } }, () => true);
  }
  return counted;
}

/** A first round whose own vote was not given: nobody else is asked. */
export function withoutOthers(round: Round): Round {
  let after = round;
  for (const id of round.settings.coordinators) after = takeAnswer(after, id, { t: 'lost' }, () => false);
  return after;
}
