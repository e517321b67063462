import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sampleLog } from '../../support/control-log.ts';
import { type CliSettings, runInProcess } from '../../support/run-cli.ts';
import { testCluster } from '../../support/versions.ts';

const log = sampleLog();
const text = `${log.lines().join('\n')}\n`;
const { root } = log.checkpoint();
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'anabranch-control-log-'));
});

afterAll(() => rm(folder, { recursive: true }));

const run = (command: string, settings: CliSettings = {}) =>
  runInProcess(['control-log', 'verify', ...command.split(' ')], { cwd: folder, ...settings });

async function runOn(content: string | Uint8Array, flags = '') {
  await writeFile(join(folder, 'log.jsonl'), content);
  return run(`log.jsonl${flags}`);
}

describe('control-log verify', () => {
  it('says in one line that a whole log holds', async () => {
    expect(await runOn(text)).toEqual({
      exitCode: 0,
      stdout: `all 7 entries of cluster ${log.cluster} hold; Merkle root ${root}\n`,
      stderr: '',
    });
    const { stdout } = await runOn(text, ` --cluster ${log.cluster} --json`);
    const last = log.state.hash;
    expect(JSON.parse(stdout)).toEqual({ holds: true, cluster: log.cluster, size: 7, root, epoch: 3, last });
  });

  it('reads standard input in whatever pieces it comes', async () => {
    const pieces = text.match(/.{1,97}/gs) ?? [];
    const stdin = Readable.from(pieces.map((piece) => Buffer.from(piece)));
    expect(await run('-', { stdin })).toMatchObject({ exitCode: 0, stderr: '' });
  });

  it('names the entry that was changed, and fails', async () => {
    const lines = log.lines();
    const changed = lines.with(4, (lines[4] ?? '').replace('\\"ada\\"', '\\"eve\\"')).join('\n');
    expect(await runOn(changed)).toMatchObject({
      exitCode: 1,
      stdout: expect.stringMatching(/^entry 4 does not hold: .+\n$/),
    });
    const { exitCode, stdout } = await runOn(changed, ' --json');
    expect([exitCode, JSON.parse(stdout)]).toMatchObject([1, { holds: false, at: 4, message: expect.any(String) }]);
  });

  it('sees a changed byte that is no text, a carriage return, and a line without an end', async () => {
    const damaged = Buffer.from(text);
    damaged[text.indexOf('\n') + 5] = 0xff;
    expect((await runOn(damaged)).stdout).toBe('entry 1 does not hold: the line is not valid UTF-8\n');
    expect((await runOn(text.replace('\n', '\r\n'))).stdout).toMatch(/^entry 0 does not hold/);
    expect((await runOn('x'.repeat(2_000_000))).stdout).toMatch(/^entry 0 does not hold: its line is longer than/);
    expect((await runOn('')).stdout).toBe('entry 0 does not hold: there is no line\n');
    expect((await runOn(text.slice(0, text.indexOf('\n') + 1))).stdout).toMatch(
      /^the checkpoint does not hold: it is missing/,
    );
  });

  it('fails for the log of another cluster than the one that was named', async () => {
    expect(await runOn(text, ` --cluster ${testCluster}`)).toMatchObject({
      exitCode: 1,
      stdout: expect.stringMatching(/^entry 0 does not hold: it founds the cluster/),
    });
  });

  it('tells a wrong use and a missing file by the exit code', async () => {
    const stderr = `anabranch: ${join(folder, 'none.jsonl')}: no such file or directory\n`;
    expect(await run('none.jsonl')).toMatchObject({ exitCode: 1, stderr });
    expect(await run('log.jsonl --cluster x')).toMatchObject({ exitCode: 2 });
    expect(await runInProcess(['control-log', 'verify'])).toMatchObject({ exitCode: 2 });
  });
});
