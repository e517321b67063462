import { describe, expect, it } from 'vitest';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';

describe('the memory log', () => {
  it('keeps the latest lines and lets older ones go', () => {
    const log = new MemoryLog({ linesMax: 3 });
    const child = log.child({ node: 'n1' });
    for (let index = 0; index < 5; index++) (index % 2 === 0 ? log : child).info(`line ${index}`);
    expect(log.lines.map(({ event }) => event)).toEqual(['line 2', 'line 3', 'line 4']);
    expect(child.lines).toEqual(log.lines);
  });

  it('finds the lines of one event', () => {
    const log = new MemoryLog();
    log.info('a', { count: 1 });
    log.warn('b');
    log.error('a', { count: 2 });
    expect(log.linesOf('a').map(({ level, fields }) => [level, fields.count])).toEqual([
      ['info', 1],
      ['error', 2],
    ]);
  });
});
