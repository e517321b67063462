import { hasExactly } from '../canonical-json.ts';
import type { Actor } from '../ids.ts';
import { isActor } from '../node-name.ts';

/**
 * The number of a round. No two rounds of one register share a ballot: the proposer is drawn afresh at every start
 * of a node, and counts upwards while it runs.
 */
export interface Ballot {
  /** 1 to 2^53 - 1. */
  readonly counter: number;
  /** `<nodeId>.<13 characters>`: one life of a proposing node. */
  readonly proposer: Actor;
}

/** Negative when `a` is the lower ballot, 0 when they are the same: by counter, then by the proposer's text. */
export function compareBallots(a: Ballot, b: Ballot): number {
  if (a.counter !== b.counter) return a.counter - b.counter;
  if (a.proposer === b.proposer) return 0;
  return a.proposer < b.proposer ? -1 : 1;
}

/** True for an object of exactly a ballot's fields, within their bounds. */
export function isBallot(value: unknown): value is Ballot {
  if (!hasExactly(value, ['counter', 'proposer'])) return false;
  const { counter, proposer } = value;
  return Number.isSafeInteger(counter) && (counter as number) >= 1 && typeof proposer === 'string' && isActor(proposer);
}
