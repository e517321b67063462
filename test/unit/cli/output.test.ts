import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { type CliIo, Output, printable, table } from '../../../src/cli/output.ts';
import { progressBar, progressLines } from '../../../src/cli/progress.ts';

function ioOf(isTTY: boolean, env: Record<string, string> = {}) {
  const stdout = Object.assign(new PassThrough(), { isTTY });
  const stderr = Object.assign(new PassThrough(), { isTTY, columns: 100 });
  const io: CliIo = {
    stdin: new PassThrough(),
    stdout,
    stderr,
    env,
    cwd: '/',
    interrupts: () => new AbortController().signal,
  };
  return { io, stdout, stderr };
}

const written = (stream: PassThrough): string => String(stream.read() ?? '');

describe('output', () => {
  it('is coloured on a terminal only, and never against NO_COLOR', () => {
    expect(new Output(ioOf(true).io).style('red', 'text')).toBe('\u001b[31mtext\u001b[39m');
    expect(new Output(ioOf(true, { NO_COLOR: '1' }).io).style('red', 'text')).toBe('text');
    expect(new Output(ioOf(true, { NO_COLOR: '' }).io).style('red', 'text')).not.toBe('text');
    expect(new Output(ioOf(false).io).style('red', 'text')).toBe('text');
  });

  it('cannot be forged by a name from elsewhere', () => {
    expect(printable('a\u001b[2Jb\nc\u202e')).toBe('a\\u001b[2Jb\\u000ac\\u202e');
    expect(printable('Käse/🧀')).toBe('Käse/🧀');
  });

  it('lines columns up', () => {
    expect(
      table([
        ['a', 'long', 'x'],
        ['bcd', 'e', ''],
      ]),
    ).toEqual(['a    long  x', 'bcd  e']);
  });
});

describe('progress', () => {
  it('is shown on a terminal, on standard error', () => {
    const { io, stdout, stderr } = ioOf(true);
    const bar = progressBar(io, 'docs/file', 1024);
    bar.update(512);
    bar.end();
    expect(written(stderr)).toContain('docs/file');
    expect(written(stdout)).toBe('');
  });

  it('counts when the total is not known', () => {
    const { io, stderr } = ioOf(true);
    const bar = progressBar(io, 'docs/file', undefined);
    bar.update(5);
    bar.end();
    expect(written(stderr)).toContain('docs/file 0 bytes');
  });

  it('is silent elsewhere', () => {
    const { io, stderr } = ioOf(false);
    const bar = progressBar(io, 'docs/file', 1024);
    bar.update(512);
    bar.end();
    expect(written(stderr)).toBe('');
  });

  it('of short work writes no lines into a log', () => {
    const lines: string[] = [];
    const display = progressLines(ioOf(false).io, (text) => lines.push(text), 'files', 10, 'files');
    display.update(10);
    display.end();
    expect(lines).toEqual([]);
  });
});
