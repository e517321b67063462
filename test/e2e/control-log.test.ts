import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { chooseFreePorts } from '../../src/swarm/ports.ts';
import { CliProcess, cliProcess } from '../support/cli-process.ts';

let folder: string;
const serving: CliProcess[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'anabranch-founding-'));
});
afterEach(async () => {
  for (const process of serving.splice(0)) await process.end('SIGTERM');
});
afterAll(() => rm(folder, { recursive: true }));

const anabranch = async (...args: string[]): Promise<string> => {
  const { exitCode, stdout, stderr } = await cliProcess(args, { cwd: folder });
  if (exitCode !== 0) throw new Error(`${args.join(' ')} ended with ${exitCode}: ${stderr}`);
  return stdout;
};

async function serve(dir: string): Promise<void> {
  const process = new CliProcess(['serve', '--dir', dir, '--log-level', 'warn'], { cwd: folder });
  serving.push(process);
  await process.until(/serves at/);
}

/** Runs a command until it prints what is waited for. */
async function eventually(pattern: RegExp, ...args: string[]): Promise<string> {
  for (let tries = 0; ; tries += 1) {
    const { stdout, stderr } = await cliProcess(args, { cwd: folder });
    if (pattern.test(stdout)) return stdout;
    if (tries === 40) throw new Error(`${args.join(' ')}: ${stdout}${stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

it('founds a cluster, admits a second node, and its exported log proves itself', async () => {
  const [first = 0, second = 0] = await chooseFreePorts(2, []);
  await anabranch('init', '--dir', 'one', '--name', 'one', '--cluster', 'e2e', '--http-port', String(first));
  await serve('one');
  const genesis = await anabranch('control-log', 'genesis', '--dir', 'one');
  expect(genesis).toBe(await readFile(join(folder, 'one', 'peers.json'), 'utf8'));
  await writeFile(join(folder, 'genesis.json'), genesis);

  const joining = ['--dir', 'two', '--name', 'two', '--join', 'genesis.json', '--http-port', String(second), '--json'];
  await writeFile(join(folder, 'two.json'), await anabranch('init', ...joining));
  await serve('two');
  const refused = await cliProcess(['put', 'docs/early', '-', '--dir', 'two'], { cwd: folder });
  expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('not_permitted') });
  const admitted = await anabranch(
    ...['nodes', 'admit', 'two.json', '--label', 'dc=b', '--reason', 'a second node', '--dir', 'one'],
  );
  expect(admitted).toMatch(/^two is admitted: entry 1 of the control log/);
  const policy = ['namespaces', 'set', 'docs', '--replicas', '2', '--dir', 'one'];
  await anabranch(...policy);
  await eventually(/"seq":2/, 'control-log', 'list', '--dir', 'two', '--json');

  await writeFile(join(folder, 'note.txt'), 'by the second node');
  await anabranch('put', 'docs/note', 'note.txt', '--dir', 'two');
  expect(await eventually(/second/, 'get', 'docs/note', '--dir', 'one')).toBe('by the second node');
  expect(await anabranch('nodes', '--dir', 'two')).toMatch(/two +online, answers here +storage +- +dc=b/);

  await anabranch('control-log', 'export', '-o', 'log.jsonl', '--dir', 'two');
  expect(await anabranch('control-log', 'verify', 'log.jsonl')).toMatch(/^all 3 entries of cluster/);
  const log = await readFile(join(folder, 'log.jsonl'), 'utf8');
  await writeFile(join(folder, 'changed.jsonl'), log.replace('a second node', 'a sicond node'));
  const verified = await cliProcess(['control-log', 'verify', 'changed.jsonl'], { cwd: folder });
  expect(verified).toMatchObject({ exitCode: 1, stdout: expect.stringMatching(/^entry 1 does not hold/) });
}, 60_000);

it('cuts a removed node off, once it has been told', async () => {
  const [first = 0, second = 0] = await chooseFreePorts(2, []);
  await anabranch('init', '--dir', 'here', '--name', 'here', '--http-port', String(first));
  const joining = ['--dir', 'gone', '--name', 'gone', '--join', 'here/peers.json', '--http-port', String(second)];
  await writeFile(join(folder, 'gone.json'), await anabranch('init', ...joining, '--json'));
  await serve('here');
  await anabranch('nodes', 'admit', 'gone.json', '--dir', 'here');
  await serve('gone');
  await eventually(/gone +online/, 'nodes', '--dir', 'here');
  await anabranch('nodes', 'roles', 'gone', 'coordinator', 'storage', '--wait', '--dir', 'here');
  expect(await anabranch('control-log', 'list', '--dir', 'gone')).toMatch(/coordinator,storage/);
  await anabranch('nodes', 'capacity', 'gone', '2TiB', '--dir', 'here');
  await eventually(/gone +online, answers here .* step 22/, 'nodes', '--dir', 'gone');
  await anabranch('nodes', 'remove', 'gone', '--wait', '--dir', 'here');
  await eventually(/here +(suspect|offline)/, 'nodes', '--dir', 'gone');
  expect(await anabranch('nodes', '--dir', 'here')).not.toContain('gone');
  expect(await anabranch('status', '--dir', 'gone')).toMatch(/membership +REMOVED by entry 4 of the control log/);
  const refused = await cliProcess(['put', 'docs/late', 'gone.json', '--dir', 'gone'], { cwd: folder });
  expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('put out of the cluster') });
}, 120_000);
