import { describe, expect, it } from 'vitest';
import { PinoLog, type PinoLogOptions } from '../../../src/adapters/system/log.ts';
import { prettyLine } from '../../../src/adapters/system/pretty-line.ts';
import { MeshError } from '../../../src/ports/mesh-error.ts';

const logTo = (options: PinoLogOptions): { log: PinoLog; written: string[] } => {
  const written: string[] = [];
  return { log: new PinoLog({ destination: { write: (line) => written.push(line) }, ...options }), written };
};

const jsonOf = (write: (log: PinoLog) => void): Record<string, unknown> => {
  const { log, written } = logTo({ level: 'debug', format: 'json' });
  write(log);
  return JSON.parse(written[0] ?? '');
};

const textOf = (write: (log: PinoLog) => void): string => {
  const { log, written } = logTo({ level: 'debug', format: 'text' });
  write(log);
  return (written[0] ?? '').replace(/^\d\d:\d\d:\d\d\.\d{3} /, '');
};

describe('JSON lines', () => {
  it('carry level, time and event, and nothing of the machine', () => {
    const line = jsonOf((log) => log.warn('peer:lost', { peer: 'p1' }));
    expect(Object.keys(line)).toEqual(['level', 'time', 'peer', 'event']);
    expect(line).toMatchObject({ level: 'warn', event: 'peer:lost', peer: 'p1' });
    expect(String(line.time)).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  });

  it('are one line each, whatever a field holds', () => {
    const { log, written } = logTo({ format: 'json' });
    log.info('a', { text: 'two\nlines\u2028and more', bytes: Uint8Array.of(10, 13) });
    expect(written).toHaveLength(1);
    expect(written[0]?.trimEnd()).not.toMatch(/[\n\r]/);
  });

  it('leave out what is below the level', () => {
    const { log, written } = logTo({ level: 'warn', format: 'json' });
    const child = log.child({ node: 'n1' });
    for (const each of [log, child]) {
      each.debug('debug');
      each.info('info');
      each.warn('warn');
      each.error('error');
    }
    expect(written.map((line) => JSON.parse(line).event)).toEqual(['warn', 'error', 'warn', 'error']);
    expect(logTo({ level: 'silent' }).written).toEqual([]);
  });

  it('say nothing below info unless asked', () => {
    const { log, written } = logTo({ format: 'json' });
    log.debug('debug');
    log.info('info');
    expect(written).toHaveLength(1);
  });

  it('keep a field that is named like one of their own', () => {
    const line = jsonOf((log) => log.child({ time: 1 }).info('a', { level: 'mine', event: 'mine too' }));
    expect(line).toMatchObject({ level: 'info', event: 'a', level_: 'mine', event_: 'mine too', time_: 1 });
  });

  it('show bytes as hexadecimal and cut what is long', () => {
    const line = jsonOf((log) =>
      log.info('a', {
        hash: Uint8Array.of(0xab, 0xcd),
        body: new Uint8Array(1_000),
        text: 'x'.repeat(1_000_000),
        list: Array.from({ length: 1_000 }, (_, index) => index),
        set: new Set([1]),
        map: new Map([['a', 1n]]),
        when: new Date(0),
        never: new Date(Number.NaN),
      }),
    );
    expect(line).toMatchObject({ hash: 'abcd', set: [1], map: { a: '1' }, when: '1970-01-01T00:00:00.000Z' });
    expect(line.never).toBe('Invalid Date');
    expect(line.body).toBe(`${'00'.repeat(32)}… (1000 bytes)`);
    expect(String(line.text)).toHaveLength(2_001);
    expect(line.list).toHaveLength(51);
    expect(JSON.stringify(line).length).toBeLessThan(4_000);
  });

  it('cut what is deep or has many members', () => {
    let deep: unknown = 'bottom';
    for (let depth = 0; depth < 1_000; depth++) deep = { deep };
    const wide = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`member${index}`, index]));
    const line = jsonOf((log) => log.info('a', { deep, wide }));
    expect(JSON.stringify(line)).toContain('[…]');
    expect(line.wide).toMatchObject({ member49: 49, '…': '950 more' });
    expect(JSON.stringify(line).length).toBeLessThan(2_000);
  });

  it('give a bug its stack, and an operational error none', () => {
    const bug = jsonOf((log) => log.error('a', { error: new TypeError('x is undefined') })).error;
    expect(bug).toMatchObject({
      name: 'TypeError',
      message: 'x is undefined',
      stack: expect.stringContaining('.test.ts'),
    });
    const known = jsonOf((log) => log.error('a', { error: new MeshError('timeout', 'too slow') })).error;
    expect(known).toEqual({ name: 'MeshError', code: 'timeout', message: 'too slow' });
  });

  it('keep the parts of an error that has several causes', () => {
    const both = new AggregateError([new MeshError('timeout', 'one'), 'two'], 'both failed');
    const { error } = jsonOf((log) => log.error('a', { error: both }));
    expect(error).toMatchObject({ message: 'both failed', errors: [{ code: 'timeout' }, 'two'] });
  });
});

describe('text lines', () => {
  it('read level, event, then the fields', () => {
    expect(textOf((log) => log.info('node:ready', { peers: 4, url: 'http://127.0.0.1:7400', ok: true }))).toBe(
      'info  node:ready peers=4 url=http://127.0.0.1:7400 ok=true\n',
    );
  });

  it('begin with the time of day', () => {
    const { log, written } = logTo({ format: 'text' });
    log.info('a');
    expect(written[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} info {2}a\n$/);
  });

  it('tell an error and its causes in a sentence', () => {
    const cause = new MeshError('io_error', 'the disk failed', { cause: new Error('EIO') });
    const error = new MeshError('content_unavailable', 'no holder answered', { cause });
    expect(textOf((log) => log.error('read:failed', { error }))).toBe(
      'error read:failed error="content_unavailable: no holder answered (caused by io_error: the disk failed (caused by Error: EIO))"\n',
    );
  });

  it('let nobody who is quoted drive the terminal or forge a line', () => {
    const line = textOf((log) =>
      log.warn('key\nforged', { 'na me': 'a\u001b[31mred\u009b5m\n12:00 error forged', list: ['\u009b'] }),
    );
    expect(line).toBe(
      'warn  "key\\nforged" "na me"="a\\u001b[31mred\\u009b5m\\n12:00 error forged" list="[\\"\\u009b\\"]"\n',
    );
  });

  it('are coloured for a terminal alone', () => {
    const json = JSON.stringify({ level: 'warn', time: '2026-01-02T03:04:05.678Z', event: 'a', count: 1 });
    expect(prettyLine(json, false)).toBe('03:04:05.678 warn  a count=1\n');
    expect(prettyLine(json, true)).toBe('\u001b[90m03:04:05.678\u001b[0m \u001b[33mwarn \u001b[0m a count=1\n');
  });
});
