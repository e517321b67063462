import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { HttpProblem } from '../../../src/http/errors.ts';
import type { ReadVersion, Refusal, RefusalCode } from '../../../src/node/api.ts';
import { HttpHarness, token } from '../../support/http-harness.ts';
import { runInProcess } from '../../support/run-cli.ts';

let http: HttpHarness;
let cwd: string;
beforeAll(async () => {
  http = await HttpHarness.start();
  cwd = await mkdtemp(join(tmpdir(), 'anabranch-refusals-'));
  await writeFile(join(cwd, 'file.txt'), 'content');
});
afterAll(async () => {
  await http.server.close();
  await rm(cwd, { recursive: true });
});
afterEach(() => {
  vi.restoreAllMocks();
  http.node.isQuorate = true;
});

const anabranch = (command: string) =>
  runInProcess(command.split(' '), { cwd, env: { ANABRANCH_URL: http.server.url, ANABRANCH_TOKEN: token } });

const refusal = (code: RefusalCode, detail: object = {}): { ok: false; error: Refusal } => ({
  ok: false,
  error: { code, message: `The node refuses by ${code}.`, detail: { ...detail } },
});

/** What the node answers to writes, merges, deletions and reads. */
function refuseAll(code: RefusalCode, detail?: object): void {
  for (const call of ['put', 'merge', 'delete'] as const) {
    vi.spyOn(http.node, call).mockResolvedValue(refusal(code, detail));
  }
  vi.spyOn(http.node, 'read').mockReturnValue(refusal(code, detail));
  vi.spyOn(http.node, 'graph').mockReturnValue(refusal(code, detail));
}

const parent = 'a'.repeat(52);

describe('what a node refuses', () => {
  it.each<[string, RefusalCode, number]>([
    ['put docs/x file.txt', 'disk_full', 1],
    ['put docs/x file.txt', 'incomplete_body', 1],
    ['put docs/x file.txt', 'not_permitted', 1],
    ['put docs/x file.txt', 'too_large', 1],
    ['put docs/x file.txt', 'context_too_large', 1],
    ['put docs/x file.txt', 'quorum_unavailable', 1],
    [`put docs/x file.txt --parents ${parent}`, 'foreign_parent', 1],
    [`put docs/x file.txt --parents ${parent}`, 'unknown_parent', 1],
    ['rm docs/x', 'too_many_heads', 1],
    ['rm docs/x', 'disk_full', 1],
    ['rm docs/x', 'not_found', 3],
    [`merge docs/x --parents ${parent} --pick ${parent}`, 'foreign_parent', 1],
    [`merge docs/x --parents ${parent} --pick ${parent}`, 'not_a_descendant', 1],
    ['get docs/x', 'content_unavailable', 1],
    ['get docs/x', 'metadata_unavailable', 1],
    ['get docs/x --mode confirmed_only', 'not_confirmed', 3],
    ['get docs/x -o out', 'deleted', 3],
    ['log docs/x', 'metadata_unavailable', 1],
  ])('%s ends with one line that has its words and the code %s, and exit code %d', async (command, code, exitCode) => {
    refuseAll(code, { version: parent, heads: [parent] });
    const result = await anabranch(command);
    expect(result).toMatchObject({ exitCode, stdout: '' });
    expect(result.stderr).toMatch(new RegExp(`^anabranch: The node refuses by ${code} \\(${code}\\)[^\\n]*\\n$`));
    const json = await anabranch(
      `${command} --json${command.startsWith('get') && !command.includes('-o') ? ' -o out' : ''}`,
    );
    expect(JSON.parse(json.stdout)).toMatchObject({ code, detail: `The node refuses by ${code}.` });
    expect(json.exitCode).toBe(exitCode);
    expect(await readdir(cwd)).toEqual(['file.txt']);
  });

  it('is told as well when the content, and not the version, cannot be had', async () => {
    const open = async () => refusal('content_unavailable');
    const version = { version: parent, state: 'confirmed', size: 7, b3: '0'.repeat(64), type: 'text/plain', meta: {} };
    const read = { ...version, time: 0, heads: [parent], newer: null, open } as unknown as ReadVersion;
    vi.spyOn(http.node, 'read').mockReturnValue({ ok: true, value: read });
    const result = await anabranch('get docs/x -o out');
    expect(result).toMatchObject({ exitCode: 1, stdout: '' });
    expect(result.stderr).toBe(
      'anabranch: The node refuses by content_unavailable (content_unavailable); "doctor" tells what this node has of it, and what to do\n',
    );
    expect(await readdir(cwd)).toEqual(['file.txt']);
  });

  it('is told as well when only the API refuses it', async () => {
    vi.spyOn(http.node, 'read').mockImplementation(() => {
      throw new HttpProblem('range_not_satisfiable', 'The content has 7 bytes.', { extras: { size: 7 } });
    });
    expect(await anabranch('get docs/x')).toEqual({
      exitCode: 1,
      stdout: '',
      stderr: 'anabranch: The content has 7 bytes (range_not_satisfiable)\n',
    });
  });
});

describe('a write', () => {
  it('says that it stays provisional while no majority can be reached', async () => {
    http.node.isQuorate = false;
    const put = await anabranch('put docs/cut file.txt');
    expect(put.stdout).toMatch(/^stored docs\/cut as version \w+ \(provisional\)\n$/);
    expect(put.stderr).toBe(
      'it stays provisional until the node reaches a majority of the coordinators; see: status\n',
    );
    expect((await anabranch('rm docs/cut')).stderr).toContain('it stays provisional');
    expect((await anabranch('put docs/cut file.txt --json')).stderr).toBe('');
  });

  it('is done, whatever becomes of the question about the majority', async () => {
    vi.spyOn(http.node, 'status').mockRejectedValue(new Error('no answer'));
    expect(await anabranch('put docs/asked file.txt')).toMatchObject({ exitCode: 0, stderr: '' });
  });
});
