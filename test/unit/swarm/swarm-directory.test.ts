import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeGenesis } from '../../../crdt/genesis.ts';
import { readNodeDirectory } from '../../../src/node-directory.ts';
import { chooseFreePorts, claimPorts } from '../../../src/swarm/ports.ts';
import { checkPortsFree, prepareSwarm } from '../../../src/swarm/swarm-directory.ts';

let dir: string;
beforeEach(async () => {
  dir = join(await mkdtemp(join(tmpdir(), 'anabranch-swarm-')), 'swarm');
});
afterEach(() => rm(join(dir, '..'), { recursive: true }));

describe('the directory of a swarm', () => {
  it('is made with a peers file that names every node, and their keys and tokens to themselves', async () => {
    const { nodes, created } = await prepareSwarm(dir, { nodes: 3, httpPort: 7_400 });
    expect(created).toBe(true);
    expect(nodes.map(({ name, url }) => `${name} ${url}`)).toEqual([
      'n1 http://127.0.0.1:7400',
      'n2 http://127.0.0.1:7401',
      'n3 http://127.0.0.1:7402',
    ]);
    const decoded = decodeGenesis(await readFile(join(dir, 'peers.json'), 'utf8'));
    if (!decoded.ok) throw new Error(decoded.error);
    for (const [index, node] of nodes.entries()) {
      const { name, nodeId, peerId, meshPort } = node;
      const addresses = [`/ip4/127.0.0.1/tcp/${meshPort}`];
      const roles = index === 0 || nodes.length > 2 ? ['coordinator', 'storage'] : ['storage'];
      const labels = { dc: `dc${index + 1}` };
      expect(decoded.value.genesis.members[index]).toEqual({ name, nodeId, peerId, addresses, roles, labels });
      const directory = await readNodeDirectory(node.dir);
      expect(directory).toMatchObject({ name, nodeId, peerId, cluster: decoded.value.id, token: node.token });
      expect((await stat(node.dir)).mode & 0o777).toBe(0o700);
      for (const file of ['admin.token', 'identity.key']) {
        expect((await stat(join(node.dir, file))).mode & 0o777).toBe(0o600);
      }
    }
    expect(new Set(nodes.map(({ token }) => token)).size).toBe(3);
  });

  it('is taken up as it is the next time', async () => {
    const first = await prepareSwarm(dir, { nodes: 2, httpPort: 7_500 });
    expect(await prepareSwarm(dir)).toEqual({ nodes: first.nodes, created: false });
    expect(await prepareSwarm(dir, { nodes: 2 })).toEqual({ nodes: first.nodes, created: false });
  });

  it('moves to other HTTP ports and keeps the mesh ports', async () => {
    const first = await prepareSwarm(dir, { nodes: 2, httpPort: 7_500 });
    const moved = await prepareSwarm(dir, { httpPort: 7_600 });
    expect(moved.nodes.map(({ httpPort }) => httpPort)).toEqual([7_600, 7_601]);
    expect(moved.nodes.map(({ meshPort }) => meshPort)).toEqual(first.nodes.map(({ meshPort }) => meshPort));
    expect((await prepareSwarm(dir)).nodes).toEqual(moved.nodes);
  });

  it('keeps its number of nodes, for they are the cluster', async () => {
    await prepareSwarm(dir, { nodes: 2 });
    await expect(prepareSwarm(dir, { nodes: 3 })).rejects.toMatchObject({
      code: 'invalid_config',
      message: expect.stringContaining('has 2 nodes, not 3'),
    });
  });

  it('is not that of a single node', async () => {
    const { nodes } = await prepareSwarm(dir, { nodes: 1 });
    await expect(prepareSwarm(nodes[0]?.dir ?? '')).rejects.toThrow('is the directory of a single node');
  });

  it('is begun again when it was left half made', async () => {
    const first = await prepareSwarm(dir, { nodes: 2 });
    await rm(join(dir, 'peers.json'));
    await rm(join(dir, 'n2'), { recursive: true });
    const again = await prepareSwarm(dir, { nodes: 2 });
    expect(again.created).toBe(true);
    expect(again.nodes[0]?.peerId).not.toBe(first.nodes[0]?.peerId);
  });

  it('is not begun again over data', async () => {
    const { nodes } = await prepareSwarm(dir, { nodes: 1 });
    await rm(join(dir, 'peers.json'));
    await writeFile(join(nodes[0]?.dir ?? '', 'data', 'data.mdb'), 'precious');
    await expect(prepareSwarm(dir, { nodes: 1 })).rejects.toThrow('exists already');
  });

  it.each([{ nodes: 0 }, { nodes: 65 }, { nodes: 1.5 }, { httpPort: 0 }, { nodes: 5, httpPort: 65_532 }])(
    'is not made with %j',
    async (wanted) => {
      await expect(prepareSwarm(dir, wanted)).rejects.toMatchObject({ code: 'invalid_config' });
    },
  );

  it.each([
    ['peers.json', '{}', 'is not a valid peers file'],
    [join('n1', 'node.json'), '{', 'is not JSON'],
    [join('n1', 'node.json'), '{"v":1}', 'is not a valid node file: name'],
    [join('n1', 'identity.key'), 'short', 'does not hold a key'],
    [join('n1', 'identity.key'), 'A'.repeat(43), 'gives node .* another one'],
    [join('n1', 'admin.token'), 'a token', 'does not hold an API token'],
  ])('with a %s that holds %j says what is wrong', async (file, text, reason) => {
    await prepareSwarm(dir, { nodes: 1 });
    await writeFile(join(dir, file), text);
    await expect(prepareSwarm(dir)).rejects.toMatchObject({
      code: 'invalid_config',
      message: expect.stringMatching(new RegExp(`${file.replaceAll('.', '\\.')} .*${reason}`)),
    });
  });
});

describe('the ports of a swarm', () => {
  it('that are taken are named, with what to do', async () => {
    const [httpPort = 0] = await chooseFreePorts(1, []);
    const { nodes } = await prepareSwarm(dir, { nodes: 1, httpPort });
    await checkPortsFree(nodes);
    for (const [port, advice] of [
      [httpPort, '--http-port'],
      [nodes[0]?.meshPort, '--dir'],
    ] as const) {
      const server = createServer().listen(port, '127.0.0.1');
      await once(server, 'listening');
      await expect(checkPortsFree(nodes)).rejects.toThrow(new RegExp(`port ${port}.*${advice}`));
      server.close();
      await once(server, 'close');
    }
  });

  it('are different, free, and none of those that are spoken for', async () => {
    const ports = await chooseFreePorts(20, []);
    expect(new Set(ports).size).toBe(20);
    for (const port of ports) expect(port).toBeGreaterThanOrEqual(20_000);
    // Another process draws from another part of the range.
    expect(Math.max(...ports) - Math.min(...ports)).toBeLessThan(120);
  });

  it('are drawn once, though nobody listens on them yet', async () => {
    const draws = await Promise.all(Array.from({ length: 30 }, () => chooseFreePorts(4, [])));
    expect(new Set(draws.flat()).size).toBe(120);
    const [first = 0] = draws.flat();
    expect(claimPorts([1, first])).toBe(false);
    expect(claimPorts([1])).toBe(true);
    expect(claimPorts([1])).toBe(false);
  });
});
