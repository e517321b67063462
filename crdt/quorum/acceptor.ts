import { isSameValue, type RegisterValue } from '../certificate.ts';
import { type Ballot, compareBallots, firstCounter } from './ballot.ts';

/** A value this acceptor has voted for, and in which round. */
export interface Accepted {
  readonly ballot: Ballot;
  readonly value: RegisterValue;
  /** The configuration epoch of that round. Rounds are ordered by epoch first, then by ballot. */
  readonly epoch: number;
}

/** What an acceptor knows of one register. It is flushed before any answer that follows from it goes out. */
export interface AcceptorState {
  /** No round below this ballot is answered any more. */
  readonly promised: Ballot | null;
  readonly accepted: Accepted | null;
}

/** A register that was never voted on. */
export const emptyAcceptorState: AcceptorState = { promised: null, accepted: null };

/** Asks an acceptor to take part in a round, and what it has accepted so far. */
export interface PrepareRequest {
  readonly epoch: number;
  readonly ballot: Ballot;
}

/** Asks an acceptor to vote for a value. */
export interface AcceptRequest {
  readonly epoch: number;
  readonly ballot: Ballot;
  readonly value: RegisterValue;
  /** A later ballot of the same proposer, promised in the same write, so that its next round needs no prepare. */
  readonly next: Ballot | null;
}

/** An acceptor's answer: `outbid` names the ballot it has promised, `stale_epoch` and `behind` the epoch it is in. */
export type AcceptorAnswer =
  | { readonly t: 'promised'; readonly accepted: Accepted | null }
  | { readonly t: 'accepted' }
  | { readonly t: 'outbid'; readonly promised: Ballot }
  | { readonly t: 'stale_epoch'; readonly epoch: number }
  | { readonly t: 'behind'; readonly epoch: number };

/** What is to be flushed, and what may be answered once it is. The state is the very same object when nothing changed. */
export interface AcceptorResult {
  readonly state: AcceptorState;
  readonly answer: AcceptorAnswer;
}

/**
 * The first phase of CASPaxos (Rystsov, 2018): promises the ballot unless a higher one was promised. A ballot that was
 * promised before is promised again, since the answer may have been lost.
 *
 * @param epoch the highest epoch this acceptor was shown with proof, durably
 */
export function prepare(state: AcceptorState, request: PrepareRequest, epoch: number): AcceptorResult {
  const refused = checkEpoch(request.epoch, epoch);
  if (refused !== undefined) return { state, answer: refused };
  const { ballot } = request;
  const order = state.promised === null ? 1 : compareBallots(ballot, state.promised);
  if (order < 0) return { state, answer: { t: 'outbid', promised: state.promised as Ballot } };
  return {
    state: order === 0 ? state : { ...state, promised: ballot },
    answer: { t: 'promised', accepted: state.accepted },
  };
}

/**
 * The second phase: votes for the value unless a higher ballot was promised. A vote that was given before and still
 * stands is confirmed again, since the answer may have been lost; whoever is told so counts on the promise of `next` it
 * asked for now, so that is given as well. One ballot carries one value; a second one, which no correct proposer sends,
 * is refused. A first round finds only a register that nothing is known of: what was promised or accepted in an earlier
 * epoch counts too.
 *
 * @param epoch the highest epoch this acceptor was shown with proof, durably
 */
export function accept(state: AcceptorState, request: AcceptRequest, epoch: number): AcceptorResult {
  const refused = checkEpoch(request.epoch, epoch);
  if (refused !== undefined) return { state, answer: refused };
  const { ballot, value, next } = request;
  const standing = state.accepted;
  if (standing !== null && standing.epoch === request.epoch && compareBallots(standing.ballot, ballot) === 0) {
    if (isSameValue(standing.value, value)) return { state: withPromise(state, next), answer: { t: 'accepted' } };
    return { state, answer: { t: 'outbid', promised: state.promised ?? ballot } };
  }
  if (state.promised !== null && (ballot.counter === firstCounter || compareBallots(ballot, state.promised) < 0)) {
    return { state, answer: { t: 'outbid', promised: state.promised } };
  }
  const promised = next !== null && compareBallots(next, ballot) > 0 ? next : ballot;
  return { state: { promised, accepted: { ballot, value, epoch: request.epoch } }, answer: { t: 'accepted' } };
}

function withPromise(state: AcceptorState, next: Ballot | null): AcceptorState {
  if (next === null || (state.promised !== null && compareBallots(next, state.promised) <= 0)) return state;
  return { ...state, promised: next };
}

function checkEpoch(asked: number, own: number): AcceptorAnswer | undefined {
  if (asked < own) return { t: 'stale_epoch', epoch: own };
  return asked > own ? { t: 'behind', epoch: own } : undefined;
}
