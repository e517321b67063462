import { describe, expect, test } from 'vitest';
import {
  areConcurrent,
  contextAdd,
  contextEquals,
  contextHas,
  contextMax,
  contextSize,
  contextUnion,
  counterMax,
  decodeContext,
  emptyContext,
  encodeContext,
  headsByContext,
  isCounter,
  supersedes,
} from '../../../crdt/causality.ts';
import type { Actor } from '../../../crdt/ids.ts';
import { readVectors } from '../../support/vectors/index.ts';
import { accepted, actorOf, refusal, testNode } from '../../support/versions.ts';

const vectors = readVectors('causality');
const [north, east] = [actorOf(testNode('north')), actorOf(testNode('east'))];

describe('a context', () => {
  test.each(vectors.contexts)('of $size dots has the JSON of the vector', ({ dots, encoded, size }) => {
    let context = emptyContext;
    for (const [actor, counters] of Object.entries(dots)) {
      for (const counter of counters) context = contextAdd(context, { actor: actor as Actor, counter });
    }
    expect(encodeContext(context)).toEqual(encoded);
    expect(contextSize(context)).toBe(size);
    const decoded = accepted(decodeContext(encoded));
    expect(contextEquals(decoded, context)).toBe(true);
    expect(contextSize(decoded)).toBe(size);
  });

  test.each(vectors.refused)('is refused: $why, $encoded', ({ encoded }) => {
    expect(refusal(decodeContext(encoded))).toEqual(expect.any(String));
  });

  test.each(vectors.unions)('united from $a and $b', ({ a, b, union }) => {
    const united = contextUnion(accepted(decodeContext(a)), accepted(decodeContext(b)));
    expect(encodeContext(united)).toEqual(union);
  });

  test('closes a gap when the dot between two ranges arrives', () => {
    let context = emptyContext;
    for (const counter of [1, 2, 4, 5]) context = contextAdd(context, { actor: north, counter });
    expect(contextHas(context, { actor: north, counter: 3 })).toBe(false);
    context = contextAdd(context, { actor: north, counter: 3 });
    expect(encodeContext(context)).toEqual({ [north]: 5 });
    expect(contextMax(context, north)).toBe(5);
    expect(contextMax(context, east)).toBe(0);
  });

  test('is itself when a dot it has is added', () => {
    const context = contextAdd(emptyContext, { actor: north, counter: 1 });
    expect(contextAdd(context, { actor: north, counter: 1 })).toBe(context);
  });
});

test('a counter is an integer from 1 to its maximum', () => {
  for (const value of [1, 2, counterMax]) expect(isCounter(value)).toBe(true);
  for (const value of [0, -1, 0.5, counterMax + 1, Number.NaN, '1', null, 1n]) expect(isCounter(value)).toBe(false);
});

describe('what supersedes what', () => {
  const root = { id: 'root', dot: { actor: north, counter: 1 }, context: emptyContext };
  const seen = contextAdd(emptyContext, root.dot);
  const left = { id: 'left', dot: { actor: north, counter: 2 }, context: seen };
  const right = { id: 'right', dot: { actor: east, counter: 1 }, context: seen };

  test('follows from dots: a child supersedes its parent, siblings are concurrent', () => {
    expect(supersedes(left, root)).toBe(true);
    expect(supersedes(root, left)).toBe(false);
    expect(areConcurrent(left, right)).toBe(true);
    expect(areConcurrent(left, root)).toBe(false);
    expect(areConcurrent(left, left)).toBe(false);
  });

  test('leaves as heads what nothing supersedes', () => {
    expect(headsByContext([])).toEqual([]);
    expect(headsByContext([root])).toEqual(['root']);
    expect(headsByContext([right, root, left])).toEqual(['left', 'right']);
  });
});
