import { describe, expect, it } from 'vitest';
import { HttpProblem } from '../../../src/http/errors.ts';
import { matchesNone, namedParents, rangeApplies } from '../../../src/http/preconditions.ts';

describe('namedParents', () => {
  it('is undefined for a write that names none', () => {
    expect(namedParents(undefined, undefined)).toBeUndefined();
  });

  it('reads a list, a tag, and both when they agree', () => {
    expect(namedParents('a,b', undefined)).toEqual(['a', 'b']);
    expect(namedParents(undefined, '"a"')).toEqual(['a']);
    expect(namedParents('a', ' "a" ')).toEqual(['a']);
  });

  it.each([
    ['a,b', '"a"'],
    ['b', '"a"'],
    ['', undefined],
    ['a,,b', undefined],
    [undefined, 'a'],
    [undefined, '*'],
    [undefined, 'W/"a"'],
    [undefined, '"a", "b"'],
    [undefined, ''],
  ])('refuses ?parents=%s with If-Match: %s', (parents, ifMatch) => {
    expect(() => namedParents(parents, ifMatch)).toThrow(HttpProblem);
  });
});

describe('conditions on reads', () => {
  it('compares If-None-Match weakly, in lists, and with *', () => {
    for (const header of ['"v"', 'W/"v"', '"x", "v"', '*']) expect(matchesNone(header, 'v')).toBe(true);
    for (const header of [undefined, '"x"', 'v', '']) expect(matchesNone(header, 'v')).toBe(false);
  });

  it('takes a range under If-Range only for the strong tag', () => {
    expect(rangeApplies(undefined, 'v')).toBe(true);
    expect(rangeApplies('"v"', 'v')).toBe(true);
    for (const header of ['W/"v"', '"x"', 'Sat, 01 Jan 2022 00:00:00 GMT'])
      expect(rangeApplies(header, 'v')).toBe(false);
  });
});
