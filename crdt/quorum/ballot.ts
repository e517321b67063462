import { hasExactly } from '../canonical-json.ts';
import type { Actor } from '../ids.ts';
import { isActor } from '../node-name.ts';

/**
 * The number of a round. No two rounds of one register share a ballot: the proposer is drawn afresh at every start
 * of a node, and counts upwards while it runs.
 */
export interface Ballot {
  /** 1 to 2^53 - 1; 0 for a register's first round, which needs no prepare (`firstCounter`). */
  readonly counter: number;
  /** `<nodeId>.<13 characters>`: one life of a proposing node. */
  readonly proposer: Actor;
}

/**
 * The counter of a register's very first round in an epoch. No ballot is lower, so there is nothing that a prepare could
 * find or forbid, and the round begins with its vote. It belongs to one coordinator, which proposes in it once at most:
 * its own vote, flushed before it asks any other, is what it remembers that by.
 */
export const firstCounter = 0;

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
  return (
    Number.isSafeInteger(counter) &&
    (counter as number) >= firstCounter &&
    typeof proposer === 'string' &&
    isActor(proposer)
  );
}
