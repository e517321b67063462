import { describe, expect, it } from 'vitest';
import { parseRange } from '../../../src/http/range.ts';

const part = (start: number, end: number) => ({ kind: 'part', start, end });

describe('parseRange', () => {
  it.each([
    ['bytes=0-0', part(0, 1)],
    ['bytes=2-4', part(2, 5)],
    ['bytes=2-', part(2, 10)],
    ['bytes=9-', part(9, 10)],
    ['bytes=0-99', part(0, 10)],
    ['bytes=-3', part(7, 10)],
    ['bytes=-99', part(0, 10)],
    ['Bytes= 2-4 ', part(2, 5)],
    ['bytes=0-99999999999999999999999', part(0, 10)],
  ])('reads %s of ten bytes', (header, expected) => {
    expect(parseRange(header, 10)).toEqual(expected);
  });

  it.each(['bytes=10-', 'bytes=10-12', 'bytes=99999999999999999999999-', 'bytes=-0', 'bytes=4-2'])(
    'finds %s of ten bytes unsatisfiable',
    (header) => {
      expect(parseRange(header, 10).kind).toBe('unsatisfiable');
    },
  );

  it.each([
    'bytes=0-1,4-5',
    'bytes=0-1,',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=1-2-3',
    'bytes=0x1-2',
    'bytes=1.5-2',
  ])('does not give the whole for %s, which is no single range', (header) => {
    expect(parseRange(header, 10).kind).toBe('unsatisfiable');
  });

  it('gives the whole without a header, and for units it does not know', () => {
    expect(parseRange(undefined, 10).kind).toBe('whole');
    expect(parseRange('lines=1-2', 10).kind).toBe('whole');
  });

  it('has no part of an empty content', () => {
    for (const header of ['bytes=0-', 'bytes=0-0', 'bytes=-1'])
      expect(parseRange(header, 0).kind).toBe('unsatisfiable');
  });
});
