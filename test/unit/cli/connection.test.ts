import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runInProcess } from '../../support/run-cli.ts';

/** Two places that answer, and remember the token that came last. */
const places: { url: string; server: Server; token: string | undefined }[] = [];
const tokens = ['first-token-of-the-test', 'second-token-of-the-test'] as const;
let folder: string;

beforeAll(async () => {
  for (let index = 0; index < 2; index += 1) {
    const server = createServer((request, response) => {
      place.token = request.headers.authorization?.replace('Bearer ', '');
      response.end('{"conflicts":[],"next":null}');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const place: (typeof places)[number] = { url: `http://127.0.0.1:${port}`, server, token: undefined };
    places.push(place);
  }
  folder = await mkdtemp(join(tmpdir(), 'anabranch-connection-'));
  await makeNode('node', 0);
  await makeSwarm('swarm');
});

beforeEach(() => {
  for (const place of places) place.token = undefined;
});

afterAll(async () => {
  for (const { server } of places) server.close();
  await rm(folder, { recursive: true });
});

async function makeNode(name: string, index: number): Promise<void> {
  const dir = join(folder, name);
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, 'admin.token'), `${tokens[index]}\n`);
  const port = Number(new URL(places[index]?.url ?? '').port);
  const node = { v: 1, name: 'n1', nodeId: 'a'.repeat(26), http: { host: '127.0.0.1', port } };
  await writeFile(
    join(dir, 'node.json'),
    JSON.stringify({ ...node, listen: ['/ip4/127.0.0.1/tcp/1'], peersFile: '../p' }),
  );
}

async function makeSwarm(name: string): Promise<void> {
  const nodes = [];
  for (const index of [0, 1]) {
    const dir = join(folder, name, `n${index + 1}`);
    await mkdir(dir, { recursive: true });
    const tokenFile = join(dir, 'admin.token');
    await writeFile(tokenFile, tokens[index] ?? '');
    nodes.push({ name: `n${index + 1}`, url: places[index]?.url, tokenFile, dir, pid: 1, peerId: 'p' });
  }
  await writeFile(join(folder, name, 'swarm.json'), JSON.stringify({ nodes }));
}

const ask = (args: string, env: Record<string, string> = {}, cwd = folder, terminal = false) =>
  runInProcess(['conflicts', ...args.split(' ').filter((arg) => arg !== '')], { env, cwd, terminal });
const seen = () => places.map(({ token }) => token);
const [first, second] = tokens;

describe('the node that a command talks to', () => {
  it('is the one of --url, with the token of --token', async () => {
    expect(await ask(`--url ${places[1]?.url} --token mine`)).toMatchObject({ exitCode: 0 });
    expect(seen()).toEqual([undefined, 'mine']);
  });

  it('comes from the environment when no option says it', async () => {
    const env = { ANABRANCH_URL: places[1]?.url ?? '', ANABRANCH_TOKEN: 'mine' };
    await ask('', env);
    expect(seen()).toEqual([undefined, 'mine']);
    await ask('--token other', env);
    expect(seen()).toEqual([undefined, 'other']);
  });

  it('is the one of a node directory', async () => {
    await ask('--dir node');
    expect(seen()).toEqual([first, undefined]);
    await ask('', { ANABRANCH_DIR: join(folder, 'node') });
    expect(seen()).toEqual([first, undefined]);
  });

  it('is the first of a swarm directory, or the one whose URL is given', async () => {
    await ask('--dir swarm');
    expect(seen()).toEqual([first, undefined]);
    await ask(`--dir swarm --url ${places[1]?.url}`);
    expect(seen()).toEqual([first, second]);
  });

  it('is the one of --dir, whatever the environment says', async () => {
    await ask('--dir node', { ANABRANCH_URL: places[1]?.url ?? '', ANABRANCH_TOKEN: 'mine' });
    expect(seen()).toEqual([first, undefined]);
  });

  it('never gets the token of another', async () => {
    await ask(`--dir node --url ${places[1]?.url}`);
    expect(seen()).toEqual([undefined, undefined]);
    await ask('', { ANABRANCH_URL: places[1]?.url ?? '', ANABRANCH_DIR: 'node' });
    expect(seen()).toEqual([undefined, undefined]);
  });

  it('is the first of the swarm in the current folder when nothing is said, which a terminal is told', async () => {
    const cwd = join(folder, 'project');
    await mkdir(cwd);
    await makeSwarm('project/.swarm');
    expect(await ask('', {}, cwd)).toMatchObject({ exitCode: 0, stderr: '' });
    expect(seen()).toEqual([first, undefined]);
    expect((await ask('', {}, cwd, true)).stderr).toBe(`talking to ${places[0]?.url} of the swarm in .swarm\n`);
  });

  it('is not there when its swarm is not running', async () => {
    await mkdir(join(folder, 'stopped'));
    await writeFile(join(folder, 'stopped', 'peers.json'), '{}');
    expect(await ask('--dir stopped')).toMatchObject({
      exitCode: 4,
      stderr: expect.stringContaining('is not running'),
    });
  });

  it.each([
    ['admin.token', '', 'does not hold an API token'],
    ['node.json', '{', 'is not JSON'],
    ['node.json', '{"v":2}', 'is not a valid node file: v'],
  ])('cannot be found with a %s that holds %j', async (file, text, reason) => {
    await makeNode('broken', 0);
    await writeFile(join(folder, 'broken', file), text);
    expect(await ask('--dir broken')).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(reason) });
  });

  it('cannot be found with a swarm.json that is damaged', async () => {
    await mkdir(join(folder, 'damaged'));
    await writeFile(join(folder, 'damaged', 'swarm.json'), '{"nodes":[]}');
    expect(await ask('--dir damaged')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('cannot be understood'),
    });
  });
});
