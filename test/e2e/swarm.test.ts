import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AnabranchClient } from '../../src/client/http-client.ts';
import type { ObjectGraph } from '../../src/node/api.ts';
import type { SwarmState } from '../../src/swarm/swarm-state.ts';
import { CliProcess, cliProcess } from '../support/cli-process.ts';
import { firstOfFreePorts } from '../support/free-ports.ts';

const goneMsMax = 20_000;
let folder: string;
let dir: string;
let port: number;
const swarms: CliProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'anabranch-swarm-'));
  dir = join(folder, 'swarm');
  port = await firstOfFreePorts(5);
});

// A test that fails half-way leaves no swarm behind.
afterEach(() => Promise.all(swarms.splice(0).map((swarm) => swarm.end('SIGINT'))));
afterAll(() => rm(folder, { recursive: true }));

function startSwarm(args: readonly string[], settings?: { readonly detached?: boolean }): CliProcess {
  const swarm = new CliProcess(['swarm', ...args], settings);
  swarms.push(swarm);
  return swarm;
}

const readState = async (): Promise<SwarmState> => JSON.parse(await readFile(join(dir, 'swarm.json'), 'utf8'));
const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};
const command = (...args: string[]) => cliProcess([...args, '--dir', dir]);
const graphsOf = async (object: string): Promise<ObjectGraph[]> => {
  const { nodes } = await readState();
  const graphs = nodes.map((node) => cliProcess(['log', object, '--json', '--dir', node.dir]));
  return (await Promise.all(graphs)).map(({ stdout }) => JSON.parse(stdout));
};

describe('npm run swarm', () => {
  it('plays the whole tour with five nodes and ends with exit code 0, leaving no process', async () => {
    const swarm = startSwarm(['--exit', '--dir', dir, '--http-port', String(port)]);
    await swarm.until(/1\. The nodes find each other/);
    const pids = (await readState()).nodes.map(({ pid }) => pid as number);
    expect(pids).toHaveLength(5);
    const { exitCode, stdout, stderr } = await swarm.result;
    expect({ exitCode, stderr }, stdout).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout.match(/✓/g)).toHaveLength(11);
    expect(stdout).toContain('Every step held.');
    expect(pids.filter(isAlive)).toEqual([]);
  });

  it('finds its data again, stays up, obeys commands, and Ctrl-C stops all of it', async () => {
    const swarm = startSwarm(['--no-tour', '--dir', dir], { detached: true });
    await swarm.until(/Ctrl-C/);
    expect(swarm.stdout).toContain('the swarm that was there, with its data');
    const state = await readState();
    for (const { name, url, tokenFile, dir: nodeDir, pid } of state.nodes) {
      expect([nodeDir, tokenFile]).toEqual([join(dir, name), join(dir, name, 'admin.token')]);
      expect((await stat(tokenFile)).mode & 0o777).toBe(0o600);
      expect((await stat(join(nodeDir, 'control.sock'))).mode & 0o777).toBe(0o600);
      expect(isAlive(pid as number)).toBe(true);
      const client = new AnabranchClient({ url, token: (await readFile(tokenFile, 'utf8')).trim() });
      expect((await client.graph('tour', 'run-1/plan.txt')).heads).toHaveLength(1);
      client.close();
    }

    expect((await command('swarm', 'partition', 'n1,n2', 'n3,n4,n5')).stdout).toContain('cut: n1,n2 | n3,n4,n5');
    await writeFile(join(folder, 'note'), 'note');
    for (const [name, words] of [
      ['n2', /^$/],
      ['n5', /^it stays provisional until the node reaches a majority/],
    ] as const) {
      const put = await cliProcess(['put', 'notes/both', join(folder, 'note'), '--dir', join(dir, name)]);
      expect(put).toMatchObject({ exitCode: 0, stderr: expect.stringMatching(words) });
    }
    expect((await command('swarm', 'heal')).stdout).toContain('the mesh is whole');
    await expect
      .poll(async () => (await graphsOf('notes/both')).map(({ heads }) => heads.length), { timeout: 30_000 })
      .toEqual([2, 2, 2, 2, 2]);
    // One of the two is confirmed; that comes to every node a moment after the versions.
    const agreement = async () => {
      const graphs = await graphsOf('notes/both');
      const isConfirmed = graphs.every(({ confirmedHead }) => confirmedHead !== null);
      return { isConfirmed, different: new Set(graphs.map((each) => JSON.stringify(each))).size };
    };
    await expect.poll(agreement, { timeout: 30_000 }).toEqual({ isConfirmed: true, different: 1 });
    expect((await command('conflicts', '--ns', 'notes')).stdout).toContain('notes/both: 2 heads');

    const killed = state.nodes[2]?.pid as number;
    expect((await command('swarm', 'kill', 'n3')).stdout).toMatch(/n3 +stopped +ended by SIGKILL/);
    expect([isAlive(killed), (await readState()).nodes[2]?.pid]).toEqual([false, null]);
    await command('swarm', 'start', 'n3');
    expect((await readState()).nodes[2]?.pid).not.toBeNull();
    expect(await graphsOf('notes/both')).toHaveLength(5);

    const second = await command('swarm', '--no-tour');
    expect(second).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('is running in') });

    const pids = (await readState()).nodes.map(({ pid }) => pid as number);
    // The nodes get it too, and wait for their supervisor to say when: it takes none of them for one that broke down.
    const { exitCode, stdout, stderr } = await swarm.interrupt();
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout).not.toContain('! ');
    expect(stdout).toMatch(/\nAll stopped\. What they hold stays in /);
    expect(pids.filter(isAlive)).toEqual([]);
    await expect(stat(join(dir, 'swarm.json'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect((await command('status')).exitCode).toBe(4);
  });

  it('had stopped cleanly; leaves no orphans when the supervisor is killed, and starts again at once', async () => {
    const swarm = startSwarm(['--no-tour', '--dir', dir]);
    await swarm.until(/Ctrl-C/);
    const pids = (await readState()).nodes.map(({ pid }) => pid as number);
    const put = await cliProcess(['put', 'notes/both', join(folder, 'note'), '--dir', join(dir, 'n2'), '--json']);
    const [graph] = await graphsOf('notes/both');
    const written = graph?.versions.find(({ version }) => version === JSON.parse(put.stdout).version);
    const byTheSame = graph?.versions.filter(({ node }) => node === written?.node) ?? [];
    // A node that was not stopped cleanly would be another actor now.
    expect([byTheSame.length, new Set(byTheSame.map(({ dot }) => dot.actor)).size]).toEqual([2, 1]);
    await swarm.end('SIGKILL');
    const again = startSwarm(['--no-tour', '--exit', '--dir', dir]);
    expect(await again.result).toMatchObject({ exitCode: 0, stderr: '' });
    await expect.poll(() => pids.filter(isAlive), { timeout: goneMsMax }).toEqual([]);
  });

  it('ends with exit code 1 when a step of the tour does not hold', async () => {
    const own = join(folder, 'broken');
    const ownPort = await firstOfFreePorts(2);
    const swarm = startSwarm(['--exit', '--nodes', '2', '--dir', own, '--http-port', String(ownPort)]);
    await swarm.until(/3\. What one node stores/);
    const { nodes }: SwarmState = JSON.parse(await readFile(join(own, 'swarm.json'), 'utf8'));
    process.kill(nodes[0]?.pid as number, 'SIGKILL');
    const { exitCode, stdout } = await swarm.result;
    expect(exitCode, stdout).toBe(1);
    expect(stdout).toMatch(/ ✗ .*\nThe tour stops here, because this step did not hold\./s);
    expect(stdout).toContain('! n1 ended by SIGKILL');
  });

  it('names a port that is taken, and the flag that helps', async () => {
    const squatter = createServer().listen(port + 3, '127.0.0.1');
    await once(squatter, 'listening');
    const { exitCode, stderr } = await command('swarm', '--no-tour');
    squatter.close();
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(new RegExp(`^anabranch: port ${port + 3}, which n4 needs, .* --http-port`));
  });
});
