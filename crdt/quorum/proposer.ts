import {
  assembleCertificate,
  type Certificate,
  isSameValue,
  linkHash,
  majorityOf,
  type RegisterValue,
  type Statement,
  type Vote,
} from '../certificate.ts';
import type { ClusterId, NodeId } from '../ids.ts';
import type { BatchPlace } from '../vote-batch.ts';
import type { Accepted, AcceptorAnswer, AcceptRequest, PrepareRequest } from './acceptor.ts';
import { type Ballot, compareBallots } from './ballot.ts';

/** First wait after a lost round; it doubles up to the greatest, and each is drawn from half of it to the whole. */
const retryDelayMsMin = 10;
const retryDelayMsMax = 1_000;

/** What a round is about; fixed from its start. */
export interface RoundSettings {
  readonly register: string;
  readonly epoch: number;
  /** All coordinators of the epoch, each once. */
  readonly coordinators: readonly NodeId[];
  /** Never used in another round. */
  readonly ballot: Ballot;
}

/** Phase one: promises are gathered. */
export interface PreparingRound {
  readonly phase: 'preparing';
  readonly settings: RoundSettings;
  readonly promises: ReadonlyMap<NodeId, Accepted | null>;
  readonly lost: ReadonlySet<NodeId>;
}

/** A majority promised: the one who proposes is to decide on a value that follows from `current`. */
export interface PreparedRound {
  readonly phase: 'prepared';
  readonly settings: RoundSettings;
  /** The value of the highest accepted round among the promises. */
  readonly current: RegisterValue | null;
  /** Who reported it; null when nobody did, or when the promise was a cached one. */
  readonly reporter: NodeId | null;
}

/** Phase two: votes are gathered. */
export interface AcceptingRound {
  readonly phase: 'accepting';
  readonly settings: RoundSettings;
  readonly value: RegisterValue;
  readonly next: Ballot;
  readonly votes: ReadonlyMap<NodeId, Vote>;
  readonly lost: ReadonlySet<NodeId>;
}

/** A majority voted: the value is chosen, and `next` is promised by the same majority. */
interface ChosenRound {
  readonly phase: 'chosen';
  readonly settings: RoundSettings;
  readonly value: RegisterValue;
  readonly next: Ballot;
  readonly certificate: Certificate;
}

/** The round is over without a result: whether its value, if it had one, is chosen all the same is not known. */
export interface FailedRound {
  readonly phase: 'failed';
  readonly settings: RoundSettings;
  /** `outbid`: another round got ahead. `stale_epoch`: a coordinator is in a later epoch. `silent`: too few answers. `mixed`: votes that make no one certificate. */
  readonly reason: 'outbid' | 'stale_epoch' | 'silent' | 'mixed';
  /** The ballot that got ahead, when one did. */
  readonly seen: Ballot | null;
}

/** One round of CASPaxos as its proposer sees it (Rystsov, "CASPaxos: Replicated State Machines without logs", 2018). */
export type Round = PreparingRound | PreparedRound | AcceptingRound | ChosenRound | FailedRound;

/** An answer as the proposer takes it: a vote with its signature, or `lost` when no usable one will come. */
export type ProposerAnswer =
  | Exclude<AcceptorAnswer, { readonly t: 'accepted' }>
  | { readonly t: 'accepted'; readonly vote: Vote }
  | { readonly t: 'lost' };

/** True when the vote is that coordinator's for that statement. */
export type VoteCheck = (statement: Statement, from: NodeId, vote: Vote) => boolean;

/** A round that begins with prepare. */
export function prepareRound(settings: RoundSettings): PreparingRound {
  return { phase: 'preparing', settings, promises: new Map(), lost: new Set() };
}

/**
 * A round whose ballot a majority promised together with its last vote (`ChosenRound.next`): phase one is done, and
 * found the value that majority voted for. Or a register's first round (`firstCounter`), whose phase one has nothing to
 * find: then there is no value.
 */
export function resumeRound(settings: RoundSettings, current: RegisterValue | null): PreparedRound {
  return { phase: 'prepared', settings, current, reporter: null };
}

/** Begins phase two with the value decided on. */
export function proposeValue({ settings }: PreparedRound, value: RegisterValue, next: Ballot): AcceptingRound {
  return { phase: 'accepting', settings, value, next, votes: new Map(), lost: new Set() };
}

/** What every coordinator is to be sent in this phase. */
export function requestOf(
  round: PreparingRound | AcceptingRound,
): ({ readonly t: 'prepare' } & PrepareRequest) | ({ readonly t: 'accept' } & AcceptRequest) {
  const { epoch, ballot } = round.settings;
  if (round.phase === 'preparing') return { t: 'prepare', epoch, ballot };
  return { t: 'accept', epoch, ballot, value: round.value, next: round.next };
}

/**
 * The round after an answer. Only the first answer of a coordinator counts in each phase; answers of the other phase,
 * of strangers, and any that come after the phase is decided change nothing. One refusal ends the round: another
 * round with a higher ballot costs less than to wait for the rest.
 */
export function takeAnswer(round: Round, from: NodeId, answer: ProposerAnswer, check: VoteCheck): Round {
  if (round.phase !== 'preparing' && round.phase !== 'accepting') return round;
  if (!round.settings.coordinators.includes(from) || round.lost.has(from)) return round;
  if (round.phase === 'preparing' ? round.promises.has(from) : round.votes.has(from)) return round;
  switch (answer.t) {
    case 'promised':
      return round.phase === 'preparing' ? countPromise(round, from, answer.accepted) : round;
    case 'accepted':
      return round.phase === 'accepting' ? countVote(round, from, answer.vote, check) : round;
    case 'outbid':
      return failed(round, 'outbid', answer.promised);
    case 'stale_epoch':
      return failed(round, 'stale_epoch', null);
    case 'behind':
    case 'lost':
      return countLost(round, from);
  }
}

function countPromise(round: PreparingRound, from: NodeId, accepted: Accepted | null): Round {
  const promises = new Map(round.promises).set(from, accepted);
  if (promises.size < majorityOf(round.settings.coordinators.length)) return { ...round, promises };
  let highest: Accepted | null = null;
  let reporter: NodeId | null = null;
  for (const [nodeId, each] of promises) {
    if (each === null || (highest !== null && compareAccepted(each, highest) <= 0)) continue;
    highest = each;
    reporter = nodeId;
  }
  return { phase: 'prepared', settings: round.settings, current: highest?.value ?? null, reporter };
}

/**
 * Rounds of a later epoch are later, whatever their ballots: a vote of two epochs ago may carry a higher ballot than
 * what was chosen since by majorities that never met it.
 */
function compareAccepted(a: Accepted, b: Accepted): number {
  return a.epoch === b.epoch ? compareBallots(a.ballot, b.ballot) : a.epoch - b.epoch;
}

function countVote(round: AcceptingRound, from: NodeId, vote: Vote, check: VoteCheck): Round {
  const statement = statementOf(round);
  if (!check(statement, from, vote)) return countLost(round, from);
  const votes = new Map(round.votes).set(from, vote);
  const together = [...votes].filter(([, each]) => isSamePlace(each.batch, vote.batch));
  const majority = majorityOf(round.settings.coordinators.length);
  if (together.length >= majority) {
    const { settings, value, next } = round;
    const signatures = together.map(([nodeId, { signature }]) => [nodeId, signature] as const);
    return {
      phase: 'chosen',
      settings,
      value,
      next,
      certificate: assembleCertificate(statement, signatures, vote.batch),
    };
  }
  // Chosen all the same, but a certificate's signatures are all under the same bytes: another round gathers such.
  return votes.size < majority ? { ...round, votes } : failed(round, 'mixed', null);
}

function isSamePlace(a: BatchPlace | null, b: BatchPlace | null): boolean {
  if (a === null || b === null) return a === b;
  if (a.index !== b.index || a.size !== b.size || a.path.length !== b.path.length) return false;
  return a === b || a.path.every((hash, at) => Buffer.compare(hash, b.path[at] as Uint8Array) === 0);
}

function statementOf({ settings, value }: AcceptingRound): Statement {
  const { register, epoch, ballot } = settings;
  return { v: 1, register, epoch, ...value, ballot };
}

function countLost(round: PreparingRound | AcceptingRound, from: NodeId): Round {
  const lost = new Set(round.lost).add(from);
  const { coordinators } = round.settings;
  if (coordinators.length - lost.size < majorityOf(coordinators.length)) return failed(round, 'silent', null);
  return { ...round, lost };
}

function failed({ settings }: Round, reason: FailedRound['reason'], seen: Ballot | null): FailedRound {
  return { phase: 'failed', settings, reason, seen };
}

/** Why a candidate can never follow the register's value, or one that follows it. */
export interface RegisterRefusal {
  /** Stable, such as `not_a_descendant`. */
  readonly code: string;
  readonly message: string;
}

/** What a candidate is to a value: a successor, the value or one of its ancestors, or neither. */
export type Verdict = 'accept' | 'held' | RegisterRefusal;

/** What to do with a prepared round. */
export type Step =
  /** Propose this value; `own` when it carries the candidate, else it is the one that was found. */
  | { readonly kind: 'propose'; readonly value: RegisterValue; readonly own: boolean }
  /** The candidate is part of the certified chain already. */
  | { readonly kind: 'held' }
  /** The candidate does not follow the certified value. */
  | { readonly kind: 'refused'; readonly refusal: RegisterRefusal }
  /** The register is empty, and there is no candidate. */
  | { readonly kind: 'nothing' }
  /** A certificate is known that the majority does not know of: it was rolled back, or another proposer got ahead. */
  | { readonly kind: 'forgotten' };

/** What `planStep` decides from. */
export interface StepContext {
  readonly cluster: ClusterId;
  readonly register: string;
  /** The newest value a certificate is known of. */
  readonly certified: RegisterValue | null;
  /** The head proposed; null to propose what is found again, unchanged. */
  readonly candidate: string | null;
  /** The register kind's judgement; asked only about a certified value, or about an empty register. */
  readonly judge: (current: RegisterValue | null, candidate: string) => Verdict;
}

/**
 * The change function. A value that is found without a certificate may have been chosen: it is proposed again,
 * unchanged, and so certified before anything is put on top of it. That keeps the chain whole: every position that
 * has a successor has a certificate.
 */
export function planStep(current: RegisterValue | null, context: StepContext): Step {
  const { cluster, register, certified, candidate, judge } = context;
  if (certified !== null && certified.position > (current?.position ?? 0)) return { kind: 'forgotten' };
  if (current !== null) {
    if (certified?.position === current.position && !isSameValue(certified, current)) return { kind: 'forgotten' };
    const isCertified = certified?.position === current.position;
    if (candidate === null || !isCertified) return { kind: 'propose', value: current, own: false };
  }
  if (candidate === null) return { kind: 'nothing' };
  const verdict = judge(current, candidate);
  if (verdict === 'held') return { kind: 'held' };
  if (verdict !== 'accept') return { kind: 'refused', refusal: verdict };
  return { kind: 'propose', value: successorOf(cluster, register, current, candidate), own: true };
}

/** The value that puts `head` after `current`. */
export function successorOf(
  cluster: ClusterId,
  register: string,
  current: RegisterValue | null,
  head: string,
): RegisterValue {
  if (current === null) return { position: 1, head, previous: null };
  return { position: current.position + 1, head, previous: linkHash(cluster, register, current) };
}

/**
 * How long to wait after so many lost rounds in a row before the next, in milliseconds.
 *
 * @param fraction drawn from [0, 1): two proposers that keep outbidding each other have to draw apart
 */
export function retryDelayMs(failures: number, fraction: number): number {
  const wholeMs = Math.min(retryDelayMsMax, retryDelayMsMin * 2 ** Math.min(failures, 10));
  return wholeMs * (0.5 + fraction / 2);
}
