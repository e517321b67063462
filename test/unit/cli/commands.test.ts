import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HttpMesh, meshToken } from '../../support/http-mesh.ts';
import { type CliSettings, runInProcess } from '../../support/run-cli.ts';

let mesh: HttpMesh;
let folder: string;

beforeAll(async () => {
  mesh = await HttpMesh.start(1);
  folder = await mkdtemp(join(tmpdir(), 'anabranch-cli-'));
  await writeFile(join(folder, 'file.txt'), 'from a file\n');
});

afterAll(async () => {
  await mesh.stop();
  await rm(folder, { recursive: true });
});

function run(command: string, settings: CliSettings = {}) {
  const env = { ANABRANCH_URL: mesh.nodes[0]?.url ?? '', ANABRANCH_TOKEN: meshToken };
  return runInProcess(command.split(' '), { cwd: folder, ...settings, env: { ...env, ...settings.env } });
}

/** Writes two versions on top of a first, and returns their ids. The first of the two is confirmed, and so preferred. */
async function fork(object: string): Promise<string[]> {
  const base = JSON.parse((await run(`put ${object} - --json`, { stdin: 'base' })).stdout).version;
  const sides: string[] = [];
  for (const text of ['left', 'right']) {
    const commit = text === 'left' ? 'quorum' : 'local';
    const { stdout } = await run(`put ${object} - --parents ${base} --commit ${commit} --json`, { stdin: text });
    sides.push(JSON.parse(stdout).version);
  }
  return sides;
}

describe('put and get', () => {
  it('store a file and give it back on standard output', async () => {
    const put = await run('put docs/file file.txt');
    expect(put).toMatchObject({ exitCode: 0, stderr: '' });
    expect(put.stdout).toMatch(/^stored docs\/file as version [a-z2-7]{52} \(provisional\)\n$/);
    expect(await run('get docs/file')).toEqual({ exitCode: 0, stdout: 'from a file\n', stderr: '' });
  });

  it('stream from standard input and into a file that appears whole', async () => {
    const put = await run('put docs/stream - --type text/plain --meta who=me --meta why=test --json', {
      stdin: 'streamed',
    });
    expect(JSON.parse(put.stdout)).toMatchObject({ ns: 'docs', key: 'stream', size: 8, kind: 'put', conflict: false });
    const get = await run('get docs/stream -o out.txt --json');
    expect(JSON.parse(get.stdout)).toMatchObject({ size: 8, type: 'text/plain', meta: { who: 'me', why: 'test' } });
    expect(await readFile(join(folder, 'out.txt'), 'utf8')).toBe('streamed');
    expect((await readdir(folder)).toSorted()).toEqual(['file.txt', 'out.txt']);
  });

  it('take versions by an unambiguous beginning of their ids', async () => {
    const [left = ''] = await fork('docs/prefix');
    expect((await run(`get docs/prefix --version ${left.slice(0, 8)}`)).stdout).toBe('left');
    expect(await run('get docs/prefix --version aaaaaaaa')).toMatchObject({ exitCode: 3 });
    expect(await run('get docs/prefix --version A!')).toMatchObject({ exitCode: 2 });
  });

  it('keep what was there when reading fails', async () => {
    await writeFile(join(folder, 'out.txt'), 'precious');
    expect(await run('get docs/none -o out.txt')).toMatchObject({ exitCode: 3 });
    expect(await readFile(join(folder, 'out.txt'), 'utf8')).toBe('precious');
  });

  it('write into a device as it comes', async () => {
    expect(await run('get docs/file -o /dev/null')).toMatchObject({ exitCode: 0 });
  });

  it('leave nothing when they are interrupted', async () => {
    const endless = new Readable({
      read() {
        this.push(Buffer.alloc(1024));
        setImmediate(() => controller.abort(new Error('interrupted by SIGINT')));
      },
    });
    const controller = new AbortController();
    const put = await run('put docs/endless -', { stdin: endless, signal: controller.signal });
    expect(put).toEqual({ exitCode: 1, stdout: '', stderr: 'anabranch: interrupted by SIGINT\n' });
    expect(await run('get docs/endless')).toMatchObject({ exitCode: 3 });
  });

  it('say on a terminal what else there is, and nothing elsewhere', async () => {
    await fork('docs/noted');
    expect((await run('get docs/noted')).stderr).toBe('');
    const { stderr } = await run('get docs/noted', { terminal: true, env: { NO_COLOR: '1' } });
    expect(stderr).toContain('docs/noted has 2 heads');
  });
});

describe('versions', () => {
  it('are drawn by log, newest first', async () => {
    await fork('docs/drawn');
    const { stdout } = await run('log docs/drawn');
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(4);
    expect(lines[0]).toMatch(/^● [a-z2-7]{10} put \d bytes by admin on n1 at .* ← head/);
    expect(lines[1]).toMatch(/^│ ● [a-z2-7]{10} put .* ← head/);
    expect(lines.filter((line) => line.endsWith('confirmed  ← head, preferred'))).toHaveLength(1);
    expect(lines[2]).toBe('├─╯');
    expect((await run('log docs/drawn -n 2')).stdout).toContain('… and 1 older');
    expect(JSON.parse((await run('log docs/drawn --json')).stdout).versions).toHaveLength(3);
  });

  it('that no other supersedes are listed by heads', async () => {
    const sides = await fork('docs/heads');
    const { stdout } = await run('heads docs/heads');
    for (const side of sides) expect(stdout).toContain(side);
    expect(stdout.match(/← preferred/g)).toHaveLength(1);
    const json = JSON.parse((await run('heads docs/heads --json')).stdout);
    expect(json.heads).toEqual(sides.toSorted());
    expect(json.versions).toHaveLength(2);
  });

  it('are joined by merge, with one side or with a file', async () => {
    const [left = ''] = await fork('docs/picked');
    expect((await run('conflicts --ns docs')).stdout).toContain('docs/picked: 2 heads');
    expect(await run(`merge docs/picked --pick ${left.slice(0, 6)}`)).toMatchObject({ exitCode: 0, stderr: '' });
    expect((await run('get docs/picked')).stdout).toBe('left');
    expect((await run('conflicts --json')).stdout).not.toContain('docs/picked');
    await fork('docs/joined');
    const merged = await run('merge docs/joined --file file.txt --commit quorum --json');
    expect(JSON.parse(merged.stdout)).toMatchObject({ kind: 'merge', conflict: false });
    expect((await run('get docs/joined')).stdout).toBe('from a file\n');
  });

  it('cannot be merged when there is one head, nor without content', async () => {
    await run('put docs/single file.txt');
    expect(await run('merge docs/single --pick aaaa')).toMatchObject({ exitCode: 1 });
    expect(await run('merge docs/single')).toMatchObject({ exitCode: 2 });
    expect(await run('merge docs/single --pick aaaa --file file.txt')).toMatchObject({ exitCode: 2 });
  });

  it('stay readable by id after rm', async () => {
    const { version } = JSON.parse((await run('put docs/removed file.txt --json')).stdout);
    expect((await run('rm docs/removed --commit quorum')).stdout).toMatch(
      /^deleted docs\/removed as version [a-z2-7]{52} \(confirmed\)\n$/,
    );
    expect(await run('get docs/removed')).toMatchObject({
      exitCode: 3,
      stderr: expect.stringMatching(/\(deleted\); "log" shows its versions, and --version reads one\n$/),
    });
    expect((await run(`get docs/removed --version ${version}`)).stdout).toBe('from a file\n');
  });
});

describe('ls', () => {
  beforeAll(async () => {
    for (const key of ['a/1', 'a/2', 'b', 'c\u001b[31m']) await runPut(key);
  });
  const runPut = (key: string) =>
    mesh.nodes[0]?.client.put('listed', key, Buffer.from('x')) ?? Promise.reject(new Error('no node'));

  it('lists keys, folders and prefixes', async () => {
    const all = (await run('ls listed')).stdout.trimEnd().split('\n');
    expect(all.map((line) => line.split('  ').at(-1))).toEqual(['a/1', 'a/2', 'b', 'c\\u001b[31m']);
    expect((await run('ls listed/a/')).stdout.trimEnd().split('\n')).toHaveLength(2);
    expect((await run('ls listed --delimiter /')).stdout).toMatch(/^ *a\/\n/);
  });

  it('gives all pages at once as JSON, or one when a limit says so', async () => {
    expect(JSON.parse((await run('ls listed --json')).stdout)).toMatchObject({ next: null, prefixes: [] });
    const page = JSON.parse((await run('ls listed --limit 2 --json')).stdout);
    expect(page.objects.map(({ key }: { key: string }) => key)).toEqual(['a/1', 'a/2']);
    const rest = JSON.parse((await run(`ls listed --after ${page.next} --json`)).stdout);
    expect(rest.objects).toHaveLength(2);
  });
});

describe('where there is nothing', () => {
  it.each([
    ['ls empty', 'no objects in empty'],
    ['ls listed/none', 'no objects in listed/none'],
    ['configuration', 'nothing is set'],
    ['configuration get cluster', 'nothing is set for cluster'],
    ['namespaces', 'no namespace has a policy of its own'],
    ['control-log list', 'no entries'],
  ])('%s says so, beside what a script reads', async (command, words) => {
    expect(await run(command)).toEqual({ exitCode: 0, stdout: '', stderr: `${words}\n` });
    expect(await run(`${command} --json`)).toMatchObject({ exitCode: 0, stderr: '' });
  });

  it('but a file, what went into it is told', async () => {
    expect(await run('control-log export -o log.jsonl')).toMatchObject({ stderr: 'wrote 1 entry to log.jsonl\n' });
    expect(await run('control-log genesis -o log.json')).toMatchObject({
      stderr: 'wrote the genesis entry to log.json\n',
    });
    expect(await run('control-log genesis -o log.json --json')).toMatchObject({ stderr: '' });
    await Promise.all(['log.jsonl', 'log.json'].map((file) => rm(join(folder, file))));
  });
});

describe('status and nodes', () => {
  it('show the node and the mesh, as text or as the API gives it', async () => {
    expect((await run('status')).stdout).toMatch(/^node +n1 at http:/);
    expect(JSON.parse((await run('status --json')).stdout)).toMatchObject({ name: 'n1', ready: true });
    expect((await run('nodes')).stdout).toMatch(/^NAME .*\nn1 +online, answers here/);
    expect(JSON.parse((await run('nodes --json')).stdout).nodes).toHaveLength(1);
  });
});

describe('a command that fails', () => {
  it.each([
    ['put docs file.txt', 2, 'write NAMESPACE/KEY'],
    ['put DOCS/x file.txt', 2, 'not a valid namespace'],
    ['put docs/../x file.txt', 2, 'segment'],
    ['put docs/x none.txt', 1, 'no such file'],
    ['put docs/x .', 1, 'is a directory'],
    ['put docs/x file.txt --commit never', 2, 'Allowed choices'],
    ['put docs/x file.txt --meta nothing', 2, '--meta NAME=VALUE'],
    ['put docs/x file.txt --parents a,,b', 2, 'separated by commas'],
    [`put docs/x file.txt --parents ${'a'.repeat(52)}`, 1, 'unknown_parent'],
    ['get docs/none', 3, 'not_found'],
    [`get docs/file --version ${'a'.repeat(52)}`, 3, 'version_not_found'],
    ['get docs/file --mode none', 2, 'Allowed choices'],
    ['get docs/file --json', 2, 'add -o FILE'],
    ['get docs/file -o .', 1, 'is a directory'],
    ['get docs/file -o none/out', 1, 'anabranch: none/out: no such file or directory'],
    ['get docs/file -o file.txt/out', 1, 'anabranch: file.txt/out: a part of this path is not a directory'],
    ['ls listed --limit 0', 2, 'from 1 to 1000'],
    ['status --token wrong-token-wrong-token', 1, 'unauthorized'],
    ['status --url nonsense', 2, 'is not the URL of a node'],
    ['status --url http://127.0.0.1:1', 4, 'npm run swarm'],
    ['status --dir none', 2, 'neither the directory of a node'],
    ['swarm heal --dir none', 4, 'no swarm is running'],
    ['swarm partition', 2, 'missing required argument'],
    ['serve', 2, 'serve --dir DIR'],
    ['serve --dir none', 2, 'is missing'],
    ['serve --dir none --max-upload 5', 2, 'at least 128KiB'],
    ['nonsense', 2, "unknown command 'nonsense'; see them with: --help"],
    ['nonsense --help', 2, 'unknown command'],
    ['help nonsense', 2, 'unknown command'],
    ['nodes nonsense --help', 2, "unknown command 'nodes nonsense'; see them with: nodes --help"],
    ['replication preview nonsense', 2, "unknown command 'preview nonsense'"],
    ['swarm nonsense', 2, 'unknown command'],
    ['nodes roles n1 king', 2, 'Allowed choices are storage, coordinator, agent'],
    ['nodes admit none.json --role king', 2, 'Allowed choices'],
    ['nodes admit none.json', 1, 'no such file'],
    ['ls docs --delimiter=', 2, '"delimiter": at least 1 character is expected (invalid_request)'],
    ['nodes roles n9 agent', 3, 'there is no member n9; there are n1'],
    ['control-log verify none.jsonl', 1, 'no such file'],
    ['namespaces set docs --read-mode never', 2, 'Allowed choices'],
    ['namespaces set docs --diversity dc=two', 2, '--diversity takes label=count'],
    ['namespaces set docs --diversity dc=5', 2, 'anabranch: 3 replicas cannot have 5'],
    ['nodes addresses n1 foo', 2, 'anabranch: an address'],
    ['ls', 2, 'missing required argument'],
  ])('%s: exit code %d, and one line that says why', async (command, exitCode, reason) => {
    await run('put docs/file file.txt');
    const result = await run(command);
    expect(result).toMatchObject({ exitCode, stdout: '' });
    expect(result.stderr).toMatch(/^anabranch: [^\n]+\n$/);
    expect(result.stderr).toContain(reason);
  });

  it('says in one line what the description of a node lacks', async () => {
    const { stderr, exitCode } = await run('nodes admit -', { stdin: '{"name":"n9","nodeId":7}' });
    const lacks = '"nodeId": text is expected. "peerId": text is expected.';
    expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: `anabranch: - does not describe a node: ${lacks}\n` });
  });

  it('prints the problem document as well with --json', async () => {
    const { stdout, stderr, exitCode } = await run('log docs/none --json');
    expect(JSON.parse(stdout)).toMatchObject({ code: 'not_found', status: 404 });
    expect({ exitCode, lines: stderr.split('\n').length }).toEqual({ exitCode: 3, lines: 2 });
  });
});

describe('help', () => {
  it('is a success, and names every command', async () => {
    const { exitCode, stdout } = await run('--help');
    expect(exitCode).toBe(0);
    const commands = 'swarm serve put get rm ls log heads merge conflicts status nodes';
    for (const name of commands.split(' ')) expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
    expect((await run('get --help')).stdout).toContain('--version <id>');
    for (const command of ['swarm partition', 'nodes roles', 'help put']) {
      const help = await run(command.startsWith('help') ? command : `${command} --help`);
      expect(help, command).toMatchObject({ exitCode: 0, stderr: '' });
      for (const words of ['--dir <dir>', 'Exit codes: 0 done', 'ANABRANCH_TOKEN']) {
        expect(help.stdout, command).toContain(words);
      }
    }
    expect((await run('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});
