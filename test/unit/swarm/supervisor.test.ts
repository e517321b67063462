import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nodeDirectoryPaths } from '../../../src/node-directory.ts';
import { callControlSocket } from '../../../src/swarm/control-socket.ts';
import { chooseFreePorts } from '../../../src/swarm/ports.ts';
import { Supervisor, type SwarmCommand } from '../../../src/swarm/supervisor.ts';
import { prepareSwarm } from '../../../src/swarm/swarm-directory.ts';
import { readSwarmState, supervisorSocket, swarmStateFile } from '../../../src/swarm/swarm-state.ts';

const nodeCommand = [process.execPath, fileURLToPath(new URL('../../support/fake-swarm-node.ts', import.meta.url))];
const patienceMs = 10_000;
const supervisors: Supervisor[] = [];
let dir: string;
let messages: string[];

beforeEach(async () => {
  dir = join(await mkdtemp(join(tmpdir(), 'anabranch-supervisor-')), 'swarm');
  messages = [];
});

afterEach(async () => {
  for (const supervisor of supervisors.splice(0)) await supervisor.close();
  await rm(join(dir, '..'), { recursive: true });
});

async function supervisorOf(options: { nodes?: number; httpPort?: number } = {}): Promise<Supervisor> {
  const [httpPort = 0] = await chooseFreePorts(1, []);
  const deps = { notify: (message: string) => void messages.push(message) };
  const supervisor = new Supervisor(deps, { dir, nodes: 2, httpPort, nodeCommand, ...options });
  supervisors.push(supervisor);
  return supervisor;
}

async function running(): Promise<Supervisor> {
  const supervisor = await supervisorOf();
  await supervisor.start();
  return supervisor;
}

const command = (request: unknown) => callControlSocket(supervisorSocket(dir), request, patienceMs);
const states = (supervisor: Supervisor) => supervisor.status().nodes.map(({ state }) => state);

/** What a node's own control socket was asked. */
async function askedOf(name: string): Promise<{ command: string; peers?: string[] }[]> {
  const { controlSocket } = nodeDirectoryPaths(join(dir, name));
  return (await callControlSocket(controlSocket, { command: 'status' }, patienceMs)) as { command: string }[];
}

describe('a supervisor', () => {
  it('writes swarm.json when all nodes are ready, with absolute paths, and takes it away at the end', async () => {
    const supervisor = await supervisorOf();
    expect(await supervisor.start()).toEqual({ created: true });
    const state = JSON.parse(await readFile(swarmStateFile(dir), 'utf8'));
    const pids = supervisor.status().nodes.map(({ pid }) => pid);
    expect(state).toEqual({
      nodes: supervisor.nodes.map(({ name, url, peerId }, index) => ({
        name,
        url,
        tokenFile: join(dir, name, 'admin.token'),
        dir: join(dir, name),
        pid: pids[index],
        peerId,
      })),
    });
    await supervisor.close();
    expect(await readSwarmState(dir)).toBeUndefined();
    for (const pid of pids) expect(() => process.kill(pid as number, 0)).toThrow();
    await supervisor.close();
  });

  it('shows a node that died, leaves it dead, and starts it again when asked', async () => {
    const supervisor = await running();
    const [, second] = supervisor.status().nodes;
    process.kill(second?.pid as number, 'SIGKILL');
    await expect.poll(() => states(supervisor)).toEqual(['running', 'crashed']);
    await expect.poll(async () => (await readSwarmState(dir))?.nodes[1]?.pid).toBeNull();
    expect(messages).toEqual(['n2 ended by SIGKILL; start it again with: swarm start n2']);
    await command({ command: 'start', name: 'n2' });
    expect(states(supervisor)).toEqual(['running', 'running']);
    await expect.poll(async () => (await readSwarmState(dir))?.nodes[1]?.pid).toBe(supervisor.status().nodes[1]?.pid);
  });

  it('stops, kills and starts nodes on command', async () => {
    const supervisor = await running();
    expect(await command({ command: 'stop', name: 'n1' })).toMatchObject({
      nodes: [{ name: 'n1', state: 'stopped', pid: null, exit: 'ended with exit code 0' }, { state: 'running' }],
    });
    await command({ command: 'kill', name: 'n2' });
    expect(supervisor.status().nodes[1]).toMatchObject({ state: 'stopped', exit: 'ended by SIGKILL' });
    expect((await readSwarmState(dir))?.nodes.map(({ pid }) => pid)).toEqual([null, null]);
    await command({ command: 'start', name: 'n1' });
    expect(states(supervisor)).toEqual(['running', 'stopped']);
    const refused: readonly [SwarmCommand, string, string][] = [
      [{ command: 'start', name: 'n1' }, 'wrong_state', 'n1 is running already'],
      [{ command: 'kill', name: 'n2' }, 'wrong_state', 'n2 is not running'],
      [{ command: 'stop', name: 'n9' }, 'invalid_config', 'its nodes are n1, n2'],
    ];
    for (const [asked, code, message] of refused) {
      await expect(command(asked)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
    }
    await expect(command({ command: 'dance' })).rejects.toThrow('is not a command');
    expect(messages).toEqual([]);
  });

  it('tells every node of a partition whom not to see, also one that starts later', async () => {
    const supervisor = await running();
    const [first, second] = supervisor.nodes;
    await supervisor.stopNode('n2');
    expect(await command({ command: 'partition', groups: [['n1']] })).toMatchObject({ partition: [['n1'], ['n2']] });
    await supervisor.startNode('n2');
    expect((await askedOf('n1'))[0]).toEqual({ command: 'cut', peers: [second?.peerId] });
    expect((await askedOf('n2'))[0]).toEqual({ command: 'cut', peers: [first?.peerId] });
    expect(await command({ command: 'heal' })).toMatchObject({ partition: null });
    expect(await askedOf('n1')).toContainEqual({ command: 'heal' });
  });

  it('refuses a partition that makes no sense', async () => {
    const supervisor = await running();
    await expect(supervisor.partition([['n1'], ['n1', 'n2']])).rejects.toThrow('n1 is named in more than one group');
    await expect(supervisor.partition([['n1', 'n2']])).rejects.toThrow('cuts nothing');
    await expect(supervisor.partition([['n7']])).rejects.toThrow('there is no node "n7"');
    expect(supervisor.status().partition).toBeNull();
  });

  it('is alone in its directory', async () => {
    const supervisor = await running();
    await expect((await supervisorOf()).start()).rejects.toMatchObject({
      code: 'directory_in_use',
      message: expect.stringContaining('a swarm is running in'),
    });
    expect(states(supervisor)).toEqual(['running', 'running']);
    expect((await readSwarmState(dir))?.nodes).toHaveLength(2);
  });

  it.each([
    [
      'dies',
      'fails',
      /n2 could not be started: it ended with exit code 3\. The end of .*n2.node\.log:\nthe disk is on fire/,
    ],
    ['is not itself', 'stranger', /n2 could not be started: it found another node at http/],
  ])('gives up with the reason when a node %s, and stops the others', async (_what, behaviour, reason) => {
    const supervisor = await supervisorOf();
    await prepareSwarm(dir, { nodes: 2 });
    await writeFile(join(dir, 'n2', 'behaviour'), behaviour);
    await expect(supervisor.start()).rejects.toThrow(reason);
    await supervisor.close();
    expect(supervisor.status().nodes.map(({ pid }) => pid)).toEqual([null, null]);
    expect(await readSwarmState(dir)).toBeUndefined();
  });

  it('ends a start that takes long when it is closed', async () => {
    const supervisor = await supervisorOf();
    await prepareSwarm(dir, { nodes: 2 });
    await writeFile(join(dir, 'n2', 'behaviour'), 'slow');
    const start = supervisor.start();
    start.catch(() => undefined);
    await expect.poll(() => supervisor.status().nodes[0]?.state, { timeout: patienceMs }).toBe('running');
    await supervisor.close();
    await expect(start).rejects.toMatchObject({ code: 'shutting_down' });
  });

  it('keeps the log of the last run beside the current one', async () => {
    const supervisor = await running();
    await supervisor.stopNode('n1');
    const { logFile } = nodeDirectoryPaths(join(dir, 'n1'));
    await writeFile(logFile, 'said before\n');
    await supervisor.startNode('n1');
    expect(await readFile(`${logFile}.1`, 'utf8')).toBe('said before\n');
    expect((await stat(logFile)).mode & 0o777).toBe(0o600);
  });
});
