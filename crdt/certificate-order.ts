import { isSameValue, type Statement } from './certificate.ts';
import { compareBallots } from './quorum/ballot.ts';

/**
 * Negative when `a` comes before `b`, 0 when nothing tells them apart: by position, then epoch, then ballot. Two values
 * at one position are certified only when coordinators have lost their disks, or lie; that they are told apart by their
 * ballots then makes every node choose the same. What not even a ballot tells apart, the heads' text does.
 */
function compareStatements(a: Statement, b: Statement): number {
  return (
    a.position - b.position ||
    a.epoch - b.epoch ||
    compareBallots(a.ballot, b.ballot) ||
    compareText(a.head, b.head) ||
    compareText(a.previous ?? '', b.previous ?? '')
  );
}

/**
 * True when a register is to be known by the value that `later` certifies, no longer by that of `earlier`. Never for the
 * same value, which may well have been certified in several ballots. So whatever order certificates come in, nodes that
 * have shown each other theirs end with the same value: what each keeps only ever goes up in one total order.
 *
 * @param earlier a statement of the same register
 */
export function supersedes(later: Statement, earlier: Statement): boolean {
  return !isSameValue(later, earlier) && compareStatements(later, earlier) > 0;
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
