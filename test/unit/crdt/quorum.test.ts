import { describe, expect, test } from 'vitest';
import { linkHash, type RegisterValue } from '../../../crdt/certificate.ts';
import type { Actor, NodeId } from '../../../crdt/ids.ts';
import { type AcceptorState, accept, emptyAcceptorState, prepare } from '../../../crdt/quorum/acceptor.ts';
import { type Ballot, compareBallots, firstCounter, isBallot } from '../../../crdt/quorum/ballot.ts';
import {
  planStep,
  prepareRound,
  proposeValue,
  type Round,
  resumeRound,
  retryDelayMs,
  type StepContext,
  takeAnswer,
} from '../../../crdt/quorum/proposer.ts';
import { actorOf, testCluster, testNode } from '../../support/versions.ts';

const ballot = (counter: number, proposer = 'a.1'): Ballot => ({ counter, proposer: proposer as Actor });
const value = (head: string, position = 1): RegisterValue => ({
  position,
  head,
  previous: position === 1 ? null : 'p',
});
const coordinators = ['a', 'b', 'c'] as NodeId[];
const [a, b, c] = coordinators as [NodeId, NodeId, NodeId];
const settings = { register: 'r', epoch: 2, coordinators, ballot: ballot(5) };
const signature = new Uint8Array(64);
const always = (): boolean => true;
const promised = (accepted: AcceptorState['accepted'] = null) => ({ t: 'promised', accepted }) as const;
const voted = { t: 'accepted', vote: { signature, batch: null } } as const;

describe('a ballot', () => {
  test('is ordered by its counter, then by its proposer', () => {
    const sorted = [ballot(1, 'a.1'), ballot(1, 'b.1'), ballot(2, 'a.1')];
    expect([...sorted].reverse().sort(compareBallots)).toEqual(sorted);
    expect(compareBallots(ballot(3), ballot(3))).toBe(0);
  });

  test('has a counter from 0, that of a first round, and a proposer, and nothing else', () => {
    const proposer = actorOf(testNode('north'));
    expect(isBallot({ counter: 1, proposer })).toBe(true);
    expect(isBallot({ counter: firstCounter, proposer })).toBe(true);
    for (const other of [
      { counter: -1, proposer },
      { counter: 0.5, proposer },
      { counter: 1, proposer: 'a' },
      { counter: 1, proposer, x: 1 },
      null,
    ]) {
      expect(isBallot(other)).toBe(false);
    }
  });
});

describe('an acceptor', () => {
  const state: AcceptorState = { promised: ballot(4), accepted: { ballot: ballot(3), value: value('x'), epoch: 2 } };

  test('promises a higher ballot and tells what it accepted, and changes nothing in place', () => {
    const before = structuredClone(state);
    const result = prepare(state, { epoch: 2, ballot: ballot(5) }, 2);
    expect(result).toEqual({ state: { ...state, promised: ballot(5) }, answer: promised(state.accepted) });
    expect(state).toEqual(before);
  });

  test('promises the same ballot again, and no lower one', () => {
    expect(prepare(state, { epoch: 2, ballot: ballot(4) }, 2)).toEqual({ state, answer: promised(state.accepted) });
    const answer = { t: 'outbid', promised: ballot(4) };
    expect(prepare(state, { epoch: 2, ballot: ballot(3, 'z.1') }, 2)).toEqual({ state, answer });
  });

  test('accepts in the ballot it promised, and promises the next one in the same write', () => {
    const request = { epoch: 2, ballot: ballot(4), value: value('y'), next: ballot(6) };
    expect(accept(state, request, 2)).toEqual({
      state: { promised: ballot(6), accepted: { ballot: ballot(4), value: value('y'), epoch: 2 } },
      answer: { t: 'accepted' },
    });
    expect(accept(state, { ...request, next: null }, 2).state.promised).toEqual(ballot(4));
  });

  test('accepts nothing below its promise, and no second value in one ballot', () => {
    const request = { epoch: 2, ballot: ballot(2), value: value('y'), next: null };
    expect(accept(state, request, 2)).toEqual({ state, answer: { t: 'outbid', promised: ballot(4) } });
    expect(accept(state, { ...request, ballot: ballot(3) }, 2).answer.t).toBe('outbid');
  });

  test('gives a vote that stands again, whatever it promised since', () => {
    const again = { epoch: 2, ballot: ballot(3), value: value('x'), next: ballot(9) };
    expect(accept(state, { ...again, next: null }, 2)).toEqual({ state, answer: { t: 'accepted' } });
    expect(accept(state, { ...again, next: ballot(4) }, 2)).toEqual({ state, answer: { t: 'accepted' } });
  });

  test('promises what is asked along with a vote that it gives again', () => {
    const again = { epoch: 2, ballot: ballot(3), value: value('x'), next: ballot(9) };
    expect(accept(state, again, 2)).toEqual({ state: { ...state, promised: ballot(9) }, answer: { t: 'accepted' } });
    const first = { epoch: 1, ballot: ballot(firstCounter), value: value('x'), next: ballot(2) };
    const { state: once } = accept(emptyAcceptorState, first, 1);
    expect(accept(once, first, 1)).toEqual({ state: once, answer: { t: 'accepted' } });
    expect(accept(once, { ...first, next: ballot(7) }, 1).state.promised).toEqual(ballot(7));
  });

  test('votes in a first round only when it knows nothing of the register, of whatever epoch', () => {
    const first = { epoch: 2, ballot: ballot(firstCounter, 'z.1'), value: value('y'), next: ballot(1, 'z.1') };
    expect(accept(emptyAcceptorState, first, 2)).toEqual({
      state: { promised: first.next, accepted: { ballot: first.ballot, value: first.value, epoch: 2 } },
      answer: { t: 'accepted' },
    });
    const promise: AcceptorState = { promised: ballot(1), accepted: null };
    const earlier: AcceptorState = {
      promised: ballot(firstCounter),
      accepted: { ballot: ballot(firstCounter), value: value('x'), epoch: 1 },
    };
    const another: AcceptorState = { ...earlier, accepted: { ...earlier.accepted, epoch: 2 } as never };
    for (const known of [promise, earlier, another]) {
      expect(accept(known, first, 2)).toEqual({ state: known, answer: { t: 'outbid', promised: known.promised } });
    }
  });

  test('gives no second vote in one first round, whether it is of another value or of another life', () => {
    const first = { epoch: 2, ballot: ballot(firstCounter), value: value('y'), next: ballot(1) };
    const { state: once } = accept(emptyAcceptorState, first, 2);
    const answer = { t: 'outbid', promised: ballot(1) };
    expect(accept(once, { ...first, value: value('w') }, 2)).toEqual({ state: once, answer });
    expect(accept(once, { ...first, ballot: ballot(firstCounter, 'a.2') }, 2)).toEqual({ state: once, answer });
    expect(prepare(once, { epoch: 2, ballot: ballot(1, 'b.1') }, 2).answer).toMatchObject({ accepted: once.accepted });
  });

  test('votes in its own epoch only', () => {
    for (const own of [1, 3]) {
      const answer = { t: own === 1 ? 'behind' : 'stale_epoch', epoch: own };
      expect(prepare(state, { epoch: 2, ballot: ballot(9) }, own)).toEqual({ state, answer });
      expect(accept(state, { epoch: 2, ballot: ballot(9), value: value('y'), next: null }, own)).toEqual({
        state,
        answer,
      });
    }
    expect(prepare(emptyAcceptorState, { epoch: 2, ballot: ballot(1) }, 2).answer).toEqual(promised());
  });
});

describe('a round', () => {
  const feed = (round: Round, answers: readonly (readonly [NodeId, Parameters<typeof takeAnswer>[2]])[]): Round =>
    answers.reduce((now, [from, answer]) => takeAnswer(now, from, answer, always), round);

  test('takes the value of the highest round among a majority of promises', () => {
    const lower = { ballot: ballot(3), value: value('x'), epoch: 2 };
    const higher = { ballot: ballot(4), value: value('y'), epoch: 2 };
    const round = feed(prepareRound(settings), [
      [a, promised(lower)],
      [c, promised(higher)],
    ]);
    expect(round).toMatchObject({ phase: 'prepared', current: value('y'), reporter: c });
  });

  test('takes a value of a later epoch before one of a higher ballot', () => {
    const old = { ballot: ballot(4), value: value('old'), epoch: 1 };
    const late = { ballot: ballot(1), value: value('late'), epoch: 2 };
    const round = feed(prepareRound(settings), [
      [a, promised(old)],
      [b, promised(late)],
    ]);
    expect(round).toMatchObject({ phase: 'prepared', current: value('late') });
  });

  test('counts nobody twice, no stranger, and no answer to another phase', () => {
    const round = feed(prepareRound(settings), [
      [a, promised()],
      [a, promised()],
      ['z' as NodeId, promised()],
      [b, voted],
    ]);
    expect(round).toMatchObject({ phase: 'preparing', promises: new Map([[a, null]]) });
  });

  test('is chosen by a majority of sound votes, and makes a certificate of them', () => {
    const accepting = proposeValue(resumeRound(settings, value('x')), value('y', 2), ballot(6));
    const unsound = takeAnswer(accepting, a, voted, () => false);
    expect(unsound).toMatchObject({ phase: 'accepting', lost: new Set([a]) });
    const round = feed(unsound, [
      [c, voted],
      [b, voted],
    ]);
    expect(round).toMatchObject({
      phase: 'chosen',
      next: ballot(6),
      certificate: { statement: { register: 'r', epoch: 2, position: 2, head: 'y', ballot: ballot(5) } },
    });
    expect(round.phase === 'chosen' && round.certificate.signatures.map(([id]) => id)).toEqual([b, c]);
  });

  test('takes a value of any prepared round before one of a first round', () => {
    const first = { ballot: ballot(firstCounter, 'z.1'), value: value('first'), epoch: 2 };
    const later = { ballot: ballot(1), value: value('later'), epoch: 2 };
    const round = feed(prepareRound(settings), [
      [a, promised(first)],
      [b, promised(later)],
    ]);
    expect(round).toMatchObject({ phase: 'prepared', current: value('later') });
  });

  describe('makes a certificate of votes in one form only', () => {
    const accepting = proposeValue(resumeRound(settings, null), value('y'), ballot(6));
    const place = (index: number, hash = 1) => ({ index, size: 3, path: [new Uint8Array(32).fill(hash)] });
    const inBatch = (index: number, hash = 1) => {
      return { t: 'accepted', vote: { signature, batch: place(index, hash) } } as const;
    };

    test('of one place in one batch, which goes with it', () => {
      const round = feed(accepting, [
        [a, inBatch(1)],
        [c, inBatch(1)],
      ]);
      expect(round).toMatchObject({ phase: 'chosen', certificate: { batch: { index: 1, size: 3 } } });
      expect(round.phase === 'chosen' && round.certificate.signatures.map(([id]) => id)).toEqual([a, c]);
    });

    test('of none beside the batch', () => {
      const round = feed(accepting, [
        [a, voted],
        [c, voted],
      ]);
      expect(round).toMatchObject({ phase: 'chosen' });
      expect(round.phase === 'chosen' && 'batch' in round.certificate).toBe(false);
    });

    test.each([
      ['a batch and none', inBatch(1), voted],
      ['two places', inBatch(1), inBatch(2)],
      ['two paths', inBatch(1, 1), inBatch(1, 2)],
    ])('and fails as mixed with a majority of %s', (_name, one, other) => {
      const round = feed(accepting, [
        [a, one],
        [b, other],
      ]);
      expect(round).toMatchObject({ phase: 'failed', reason: 'mixed', seen: null });
    });

    test('of five coordinators waits for a majority of any form, and takes the majority of one', () => {
      const five = { ...settings, coordinators: ['a', 'b', 'c', 'd', 'e'] as NodeId[] };
      const wide = proposeValue(resumeRound(five, null), value('y'), ballot(6));
      const two = feed(wide, [
        [a, voted],
        [b, inBatch(1)],
      ]);
      expect(two.phase).toBe('accepting');
      expect(feed(two, [[c, inBatch(1)]])).toMatchObject({ phase: 'failed', reason: 'mixed' });
    });

    test('and counts none that does not hold', () => {
      const round = takeAnswer(accepting, a, inBatch(1), (_statement, _from, { batch }) => batch === null);
      expect(round).toMatchObject({ phase: 'accepting', lost: new Set([a]) });
    });
  });

  test('ends with the first refusal, or when a majority can no longer answer', () => {
    const outbid = { t: 'outbid', promised: ballot(9, 'z.1') } as const;
    expect(feed(prepareRound(settings), [[a, outbid]])).toMatchObject({
      phase: 'failed',
      reason: 'outbid',
      seen: ballot(9, 'z.1'),
    });
    expect(feed(prepareRound(settings), [[a, { t: 'stale_epoch', epoch: 3 }]])).toMatchObject({
      reason: 'stale_epoch',
    });
    const silent = feed(prepareRound(settings), [
      [a, { t: 'lost' }],
      [b, { t: 'behind', epoch: 1 }],
    ]);
    expect(silent).toMatchObject({ phase: 'failed', reason: 'silent', seen: null });
  });
});

describe('the change function', () => {
  const context: StepContext = {
    cluster: testCluster,
    register: 'r',
    certified: null,
    candidate: 'new',
    judge: () => 'accept',
  };

  test('puts a candidate at position 1 of an empty register', () => {
    expect(planStep(null, context)).toEqual({
      kind: 'propose',
      own: true,
      value: { position: 1, head: 'new', previous: null },
    });
  });

  test('proposes a value that has no certificate again, unchanged, before the candidate is looked at', () => {
    const judge = () => {
      throw new Error('not to be asked');
    };
    expect(planStep(value('x'), { ...context, judge })).toEqual({ kind: 'propose', own: false, value: value('x') });
  });

  test('links the candidate to a certified value', () => {
    const previous = linkHash(testCluster, 'r', value('x'));
    expect(planStep(value('x'), { ...context, certified: value('x') })).toEqual({
      kind: 'propose',
      own: true,
      value: { position: 2, head: 'new', previous },
    });
  });

  test('hands on what the kind of register says', () => {
    const certified = value('x');
    const refusal = { code: 'not_a_descendant', message: 'no' };
    expect(planStep(certified, { ...context, certified, judge: () => 'held' })).toEqual({ kind: 'held' });
    expect(planStep(certified, { ...context, certified, judge: () => refusal })).toEqual({ kind: 'refused', refusal });
  });

  test('never builds on less than a certificate proves', () => {
    expect(planStep(null, { ...context, certified: value('x') })).toEqual({ kind: 'forgotten' });
    expect(planStep(value('y'), { ...context, certified: value('x') })).toEqual({ kind: 'forgotten' });
  });

  test('carries what is found over unchanged, and an empty register not at all', () => {
    const carrying = { ...context, candidate: null };
    expect(planStep(value('x'), { ...carrying, certified: value('x') })).toMatchObject({
      own: false,
      value: value('x'),
    });
    expect(planStep(null, carrying)).toEqual({ kind: 'nothing' });
  });
});

test('the wait after a lost round doubles, is drawn, and is bounded', () => {
  expect([1, 2, 3].map((failures) => retryDelayMs(failures, 0))).toEqual([10, 20, 40]);
  expect(retryDelayMs(1, 0.999)).toBeLessThan(20);
  expect(retryDelayMs(1_000, 0.999)).toBeLessThanOrEqual(1_000);
});
