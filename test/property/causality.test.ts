import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeCanonical, encodeCanonical } from '../../crdt/canonical-json.ts';
import {
  contextAdd,
  contextEquals,
  contextHas,
  contextMax,
  contextSize,
  contextUnion,
  type DotContext,
  decodeContext,
  emptyContext,
  encodeContext,
} from '../../crdt/causality.ts';
import type { Actor, Dot } from '../../crdt/ids.ts';
import { runs } from '../support/property-runs.ts';
import { accepted, actorOf, testNode } from '../support/versions.ts';

const actors: readonly Actor[] = ['north', 'east', 'south'].map((name) => actorOf(testNode(name)));
const counterMax = 12;

const dot: fc.Arbitrary<Dot> = fc.record({
  actor: fc.constantFrom(...actors),
  counter: fc.integer({ min: 1, max: counterMax }),
});
const dots = fc.array(dot, { maxLength: 40, size: 'max' });
const contextOf = (added: readonly Dot[]): DotContext => added.reduce(contextAdd, emptyContext);
const context = dots.map(contextOf);

const everyDot: readonly Dot[] = actors.flatMap((actor) =>
  Array.from({ length: counterMax + 1 }, (_, at) => ({ actor, counter: at + 1 })),
);
const nameOf = ({ actor, counter }: Dot): string => `${actor}/${counter}`;

/** What a context is, by asking it for every dot there could be. */
const members = (asked: DotContext): Set<string> =>
  new Set(everyDot.filter((one) => contextHas(asked, one)).map(nameOf));

const union = <T>(a: ReadonlySet<T>, b: ReadonlySet<T>): Set<T> => new Set([...a, ...b]);

function expectSame(a: DotContext, b: DotContext): void {
  expect(contextEquals(a, b)).toBe(true);
  expect(encodeCanonical(encodeContext(a))).toBe(encodeCanonical(encodeContext(b)));
}

describe('a context', () => {
  test('holds exactly the dots that were added, in whatever order', () => {
    fc.assert(
      fc.property(dots, (added) => {
        const built = contextOf(added);
        const expected = new Set(added.map(nameOf));
        expect(members(built)).toEqual(expected);
        expect(contextSize(built)).toBe(expected.size);
        expectSame(built, contextOf(added.toReversed()));
        for (const actor of actors) {
          const counters = added.filter((one) => one.actor === actor).map(({ counter }) => counter);
          expect(contextMax(built, actor)).toBe(Math.max(0, ...counters));
        }
      }),
      runs(10),
    );
  });

  test('survives being written and read, and has one text however it was built', () => {
    fc.assert(
      fc.property(dots, (added) => {
        const built = contextOf(added);
        const parsed = decodeCanonical(encodeCanonical(encodeContext(built)), 65_536);
        expectSame(accepted(decodeContext(accepted(parsed))), built);
      }),
      runs(10),
    );
  });

  test('is not changed by what is made of it', () => {
    fc.assert(
      fc.property(context, context, dot, (a, b, one) => {
        const before = members(a);
        contextAdd(a, one);
        contextUnion(a, b);
        contextUnion(b, a);
        expect(members(a)).toEqual(before);
      }),
      runs(3),
    );
  });
});

describe('the union of contexts', () => {
  test('is the union of their dots', () => {
    fc.assert(
      fc.property(context, context, (a, b) => {
        expect(members(contextUnion(a, b))).toEqual(union(members(a), members(b)));
      }),
      runs(5),
    );
  });

  test('is commutative, associative and idempotent, and the empty context changes nothing', () => {
    fc.assert(
      fc.property(context, context, context, (a, b, c) => {
        expectSame(contextUnion(a, b), contextUnion(b, a));
        expectSame(contextUnion(contextUnion(a, b), c), contextUnion(a, contextUnion(b, c)));
        expectSame(contextUnion(a, a), a);
        expectSame(contextUnion(a, contextUnion(a, b)), contextUnion(a, b));
        expectSame(contextUnion(a, emptyContext), a);
        expectSame(contextUnion(emptyContext, a), a);
      }),
      runs(5),
    );
  });

  test('is monotone: it contains both, and grows when either grows', () => {
    fc.assert(
      fc.property(context, context, dot, (a, b, one) => {
        const both = members(contextUnion(a, b));
        expect(union(members(a), both)).toEqual(both);
        expect(union(members(b), both)).toEqual(both);
        const grown = members(contextUnion(contextAdd(a, one), b));
        expect(union(both, grown)).toEqual(grown);
      }),
      runs(5),
    );
  });

  test('equals neither side unless one contains the other', () => {
    fc.assert(
      fc.property(context, context, (a, b) => {
        expect(contextEquals(a, b)).toBe([...members(a)].sort().join() === [...members(b)].sort().join());
      }),
      runs(5),
    );
  });
});

describe('reading a context', () => {
  const hostile = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(
      fc.oneof(fc.constantFrom<string>(...actors), fc.string()),
      fc.oneof(fc.jsonValue(), fc.integer(), fc.array(fc.array(fc.integer({ min: -1, max: 9 }), { maxLength: 3 }))),
      { maxKeys: 4 },
    ),
  );

  test('accepts a value only if it is what would be written, and never throws', () => {
    let accepted = 0;
    fc.assert(
      fc.property(hostile, (value) => {
        const decoded = decodeContext(value);
        if (!decoded.ok) return;
        accepted += 1;
        expect(encodeContext(decoded.value)).toEqual(value);
      }),
      runs(20),
    );
    expect(accepted).toBeGreaterThan(0);
  });
});
