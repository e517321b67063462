import {
  contextAdd,
  contextSize,
  contextUnion,
  type DotContext,
  emptyContext,
  encodeContext,
} from '../../../crdt/causality.ts';
import { actorOf, testNode } from '../versions.ts';

const [north, east] = [actorOf(testNode('north')), actorOf(testNode('east'))];

function contextOf(counters: Readonly<Record<string, readonly number[]>>): DotContext {
  return Object.entries(counters).reduce<DotContext>(
    (context, [actor, all]) =>
      all.reduce((grown, counter) => contextAdd(grown, { actor: actor as typeof north, counter }), context),
    emptyContext,
  );
}

const dotSets: readonly Readonly<Record<string, readonly number[]>>[] = [
  {},
  { [north]: [1] },
  { [north]: [2] },
  { [north]: [3, 1, 2] },
  { [north]: [1, 3, 4, 5] },
  { [north]: [5, 3, 1], [east]: [2, 1] },
  { [north]: [2_147_483_647], [east]: [1, 2_147_483_646, 2_147_483_647] },
];

export function causalityVectors() {
  const contexts = dotSets.map(contextOf);
  return {
    about:
      'A context in JSON: per actor n for the counters 1 to n, else ranges of first and last, ascending, with gaps between them. Counters are 1 to 2147483647.',
    contexts: dotSets.map((dots, at) => ({
      dots,
      encoded: encodeContext(contexts[at] as DotContext),
      size: contextSize(contexts[at] as DotContext),
    })),
    unions: contexts.flatMap((a) =>
      contexts.map((b) => ({ a: encodeContext(a), b: encodeContext(b), union: encodeContext(contextUnion(a, b)) })),
    ),
    refused: [
      { why: 'no object', encoded: [] },
      { why: 'no object', encoded: null },
      { why: 'no actor', encoded: { north: 1 } },
      { why: 'no counter', encoded: { [north]: 0 } },
      { why: 'no counter', encoded: { [north]: -1 } },
      { why: 'no counter', encoded: { [north]: 1.5 } },
      { why: 'too great', encoded: { [north]: 2_147_483_648 } },
      { why: 'no counter', encoded: { [north]: '1' } },
      { why: 'no dots', encoded: { [north]: [] } },
      { why: '1 to n as ranges', encoded: { [north]: [[1, 3]] } },
      {
        why: 'ranges that touch',
        encoded: {
          [north]: [
            [1, 3],
            [4, 5],
          ],
        },
      },
      {
        why: 'ranges that overlap',
        encoded: {
          [north]: [
            [1, 3],
            [3, 5],
          ],
        },
      },
      {
        why: 'out of order',
        encoded: {
          [north]: [
            [4, 5],
            [1, 2],
          ],
        },
      },
      { why: 'empty range', encoded: { [north]: [[3, 2]] } },
      {
        why: 'from zero',
        encoded: {
          [north]: [
            [0, 2],
            [4, 5],
          ],
        },
      },
      { why: 'no range', encoded: { [north]: [[2]] } },
      { why: 'no range', encoded: { [north]: [[2, 3, 4]] } },
    ],
  };
}
