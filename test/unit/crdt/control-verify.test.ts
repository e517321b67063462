import { describe, expect, test } from 'vitest';
import { encodeCheckpointLine, encodeLogLine } from '../../../crdt/control/checkpoint.ts';
import { verifyControlLog } from '../../../crdt/control-verify.ts';
import { sampleLog, TestLog } from '../../support/control-log.ts';
import { readVectors } from '../../support/vectors/index.ts';
import { accepted, refusal, testCluster } from '../../support/versions.ts';

const vectors = readVectors('control-log');
const log = sampleLog();

/** The lines of a file, as a reader that knows nothing but newlines sees them. */
function linesOf(file: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  let start = 0;
  for (let end = file.indexOf(10); end !== -1; end = file.indexOf(10, start)) {
    lines.push(file.subarray(start, end));
    start = end + 1;
  }
  return start < file.length ? [...lines, file.subarray(start)] : lines;
}

/** Flips one bit of every byte in turn, and expects the line that the byte is in to be named. */
function flipEveryByte(lines: readonly string[], bitOf: (at: number) => number): void {
  const file = Buffer.from(`${lines.join('\n')}\n`);
  expect(verifyControlLog(linesOf(file)).ok).toBe(true);
  let line = 0;
  for (const [at, byte] of file.entries()) {
    file[at] = byte ^ (1 << bitOf(at));
    const { at: named } = refusal(verifyControlLog(linesOf(file)));
    const expected = line === lines.length - 1 ? 'checkpoint' : line;
    if (named !== expected) expect.fail(`byte ${at}, in ${expected}: ${named} was named`);
    file[at] = byte;
    if (byte === 10) line += 1;
  }
}

describe('the check of an exported log', () => {
  test('holds for the log of the vectors, and says what it comes to', () => {
    const { state, checkpoint } = accepted(verifyControlLog(vectors.lines, log.cluster));
    expect(checkpoint).toEqual(log.checkpoint());
    expect({ ...state, operations: undefined }).toEqual({ ...log.state, operations: undefined });
  });

  test('names the line in which one byte was changed, wherever it is', { timeout: 60_000 }, () => {
    const small = new TestLog();
    small.add({ type: 'configuration', scope: 'cluster', values: { a: 'ä' } });
    small.add({ type: 'configuration', scope: 'cluster', values: { b: 1 } });
    flipEveryByte(small.lines(), (at) => at % 8);
    flipEveryByte(small.lines(), (at) => (at + 3) % 8);
  });

  test('names the line in which one byte was changed in a log of a genesis alone', () => {
    flipEveryByte(new TestLog().lines(), (at) => at % 8);
  });

  test('names what is missing, twice there or in another order', () => {
    const lines = log.lines();
    const at = (changed: readonly string[]) => refusal(verifyControlLog(changed)).at;
    expect(at([])).toBe(0);
    expect(at(lines.slice(1))).toBe(0);
    expect(at(lines.toSpliced(3, 1))).toBe(3);
    expect(at(lines.toSpliced(3, 0, lines[3] as string))).toBe(4);
    expect(at(lines.with(2, lines[3] as string).with(3, lines[2] as string))).toBe(2);
    expect(at(lines.slice(0, -1))).toBe('checkpoint');
    expect(at([...lines, ''])).toBe('checkpoint');
    expect(at(lines.toSpliced(-2, 1))).toBe('checkpoint');
    expect(at(lines.with(0, `${lines[0]}\n`))).toBe(0);
  });

  test('refuses a log that proves another cluster than the one asked for', () => {
    expect(refusal(verifyControlLog(log.lines(), testCluster)).message).toMatch(/^entry 0 does not hold: it founds/);
  });

  test('refuses an entry that its own newcomers certified', () => {
    const honest = new TestLog();
    const forged = honest.draft([{ type: 'configuration', scope: 'cluster', values: { a: 1 } }]);
    const lines = [honest.genesisText, encodeLogLine(honest.certify(forged, 1))];
    expect(refusal(verifyControlLog(lines))).toEqual({
      at: 1,
      message: expect.stringMatching(/^entry 1 does not hold: its certificate has no valid signatures of a majority/),
    });
  });

  test('refuses a checkpoint with another certificate, size or root', () => {
    const lines = log.lines();
    const [earlier] = log.entries;
    const at = (change: object) =>
      refusal(verifyControlLog(lines.with(-1, encodeCheckpointLine({ ...log.checkpoint(), ...change })))).at;
    expect(at({ certificate: earlier?.certificate })).toBe('checkpoint');
    expect(at({ certificate: null })).toBe('checkpoint');
    expect(at({ size: 3 })).toBe('checkpoint');
    expect(at({ root: log.cluster })).toBe('checkpoint');
    expect(at({ cluster: testCluster })).toBe('checkpoint');
  });
});
