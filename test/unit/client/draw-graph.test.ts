import { describe, expect, it } from 'vitest';
import { describeVersion, drawGraph, formatBytes, formatTime } from '../../../src/client/draw-graph.ts';
import type { GraphVersion } from '../../../src/node/api.ts';

const version = (id: string, generation: number, ...parents: string[]) => ({ version: id, generation, parents });
const draw = (versions: ReturnType<typeof version>[], heads: string[], preferred = heads[0] ?? '') =>
  drawGraph(versions, heads, preferred, ({ version: id }) => id);

describe('the drawing of a version graph', () => {
  it('shows a line of versions as a line, newest first', () => {
    expect(draw([version('a', 1), version('b', 2, 'a')], ['b'])).toEqual(['● b  ← head, preferred', '○ a']);
  });

  it('shows two branches and their merge', () => {
    const versions = [version('base', 1), version('left', 2, 'base'), version('right', 2, 'base')];
    expect(draw([...versions, version('merged', 3, 'left', 'right')], ['merged'])).toEqual([
      '● merged  ← head, preferred',
      '├─╮',
      '│ ○ right',
      '○ │ left',
      '├─╯',
      '○   base',
    ]);
  });

  it('marks every head, and sets versions that are not related apart', () => {
    const drawing = ['● b  ← head', '  ● a  ← head, preferred'];
    expect(draw([version('a', 1), version('b', 1)], ['a', 'b'], 'a')).toEqual(drawing);
  });

  it('leaves out parents that are not given', () => {
    expect(draw([version('b', 7, 'elsewhere')], ['b'])).toEqual(['● b  ← head, preferred']);
  });

  it('draws nothing for nothing', () => {
    expect(draw([], [])).toEqual([]);
  });
});

describe('a version in words', () => {
  const put = {
    version: 'abcdefghijklmnop',
    kind: 'put',
    state: 'confirmed',
    size: 2048,
    author: 'admin',
    node: 'node-id',
    time: Date.UTC(2026, 0, 2, 3, 4, 5),
  } as unknown as GraphVersion;

  it('names the node when its name is known', () => {
    expect(describeVersion(put, new Map([['node-id', 'n1']]))).toBe(
      'abcdefghij put 2.0 KiB by admin on n1 at 2026-01-02 03:04:05 UTC confirmed',
    );
    expect(describeVersion({ ...put, kind: 'delete', size: null, state: 'provisional' }, new Map())).toBe(
      'abcdefghij delete by admin on node-id at 2026-01-02 03:04:05 UTC',
    );
  });

  it.each([
    [0, '0 bytes'],
    [1, '1 byte'],
    [1023, '1023 bytes'],
    [1536, '1.5 KiB'],
    [104_857_600, '100 MiB'],
  ])('writes %d bytes as %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  it('survives a time that is none', () => {
    expect(formatTime(Number.MAX_VALUE)).toBe('an unknown time');
  });
});
