import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { committed, genesis } from '../../../src/http/cluster-examples.ts';
import { HttpHarness, token } from '../../support/http-harness.ts';
import { runInProcess } from '../../support/run-cli.ts';

let http: HttpHarness;
let cwd: string;
beforeAll(async () => {
  http = await HttpHarness.start();
  cwd = await mkdtemp(join(tmpdir(), 'anabranch-cluster-'));
});
afterAll(async () => {
  await http.server.close();
  await rm(cwd, { recursive: true });
});
afterEach(() => {
  http.node.cluster.asked.length = 0;
});

const anabranch = (args: readonly string[], stdin?: string) =>
  runInProcess(args, {
    cwd,
    env: { ANABRANCH_URL: http.server.url, ANABRANCH_TOKEN: token },
    ...(stdin === undefined ? {} : { stdin }),
  });
const operations = () => http.node.cluster.asked.map(({ operation }) => operation);
const own = async (): Promise<string> => (http.node.nodes()[0]?.nodeId as string) ?? '';

describe('commands that change the cluster', () => {
  it('set roles and labels of a member by its name, and remove it', async () => {
    const nodeId = await own();
    const roles = await anabranch(['nodes', 'roles', 'n1', 'storage', 'coordinator', '--reason', 'votes too']);
    expect(roles.stdout).toBe(
      `the roles of n1 are set: entry 1 of the control log, operation ${committed.operationId}\n`,
    );
    await anabranch(['nodes', 'labels', nodeId, 'dc=a', 'rack=a4']);
    await anabranch(['nodes', 'labels', 'n1']);
    const removed = await anabranch(['nodes', 'remove', 'n1', '--operation-id', committed.operationId, '--json']);
    expect(JSON.parse(removed.stdout)).toEqual(committed);
    expect(operations()).toEqual([
      { type: 'roles', nodeId, roles: ['coordinator', 'storage'] },
      { type: 'labels', nodeId, labels: { dc: 'a', rack: 'a4' } },
      { type: 'labels', nodeId, labels: {} },
      { type: 'remove', nodeId },
    ]);
    expect(http.node.cluster.asked.map(({ reason }) => reason)).toEqual(['votes too', undefined, undefined, undefined]);
    expect(http.node.cluster.asked[3]?.operationId).toBe(committed.operationId);
  });

  it('admit what init says of a new node', async () => {
    const made = await anabranch(['init', '--dir', 'new', '--name', 'new', '--json']);
    const { name, nodeId, peerId, addresses } = JSON.parse(made.stdout);
    await anabranch(['nodes', 'admit', '-', '--role', 'storage', 'agent', '--label', 'dc=b'], made.stdout);
    const member = { name, nodeId, peerId, addresses, roles: ['agent', 'storage'], labels: { dc: 'b' } };
    expect(operations()).toEqual([{ type: 'admit', member }]);
  });

  it('set policies by options or from a file', async () => {
    await anabranch(['namespaces', 'set', 'docs', '--replicas', '3', '--diversity', 'dc=2', 'rack=3']);
    await writeFile(join(cwd, 'policy.json'), '{"readMode":"confirmed_only"}');
    await anabranch(['namespaces', 'set', 'docs', '--file', 'policy.json']);
    expect(operations()).toEqual([
      { type: 'namespace', ns: 'docs', policy: { replicas: 3, diversity: { dc: 2, rack: 3 } } },
      { type: 'namespace', ns: 'docs', policy: { readMode: 'confirmed_only' } },
    ]);
  });

  it.each([
    [['nodes', 'remove', 'nobody'], 3, 'there is no member nobody'],
    [['nodes', 'labels', 'n1', 'dc'], 2, 'labels are given as name=value'],
    [['nodes', 'admit', '-'], 2, 'is not JSON'],
    [['namespaces', 'set', 'docs', '--file', 'x', '--replicas', '2'], 2, 'leave the other options out'],
    [['namespaces', 'set', 'docs', '--replicas', '17'], 2, 'from 1 to 16'],
    [['init'], 2, 'say where'],
    [['init', '--dir', 'x', '--join', 'x', '--cluster', 'x'], 2, 'give one of them'],
    [['init', '--dir', 'y', '--name', 'No Name'], 2, 'a node has a name of'],
    [['init', '--dir', 'y', '--join', 'nothing.json'], 2, 'cannot be read'],
  ])('are not carried out as %j', async (args, exitCode, message) => {
    expect(await anabranch(args)).toMatchObject({ exitCode, stderr: expect.stringContaining(message) });
    expect(http.node.cluster.asked).toEqual([]);
  });
});

describe('commands that read what the cluster decided', () => {
  it.each([
    [['namespaces'], /^team-docs +\{"replicas":3/],
    [['namespaces', 'get', 'docs'], /^replicas +3\n/],
    [['control-log', 'list'], /^1 +2025-07-01T.*admin +admit n3 \(.*\) as storage +the new machine/],
    [['nodes'], /^n1 +online, answers here +\S+ +coordinator,storage/],
  ])('%j prints it for people', async (args, pattern) => {
    const { exitCode, stdout } = await anabranch(args);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(pattern);
  });

  it('write the genesis entry as it is', async () => {
    await anabranch(['control-log', 'genesis', '-o', 'genesis.json']);
    expect(await readFile(join(cwd, 'genesis.json'), 'utf8')).toBe(`${JSON.stringify(genesis)}\n`);
  });
});
