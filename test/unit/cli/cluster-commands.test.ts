import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { committed, genesis, scopeConfiguration } from '../../../src/http/cluster-examples.ts';
import type { CommittedChange, Outcome } from '../../../src/node/api.ts';
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
const held = (progress: object): Outcome<CommittedChange> => ({
  ok: false,
  error: { code: 'carry_over_running', message: 'not yet', detail: { operationId: committed.operationId, progress } },
});
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

  it('say where a member is and how much it holds', async () => {
    const nodeId = await own();
    await anabranch(['nodes', 'addresses', 'n1', '/ip4/10.0.0.7/tcp/7400', '/dns4/n1.example/tcp/7400']);
    await anabranch(['nodes', 'addresses', 'n1']);
    for (const capacity of ['21', '1TiB', '500 GB', '1.5tb']) await anabranch(['nodes', 'capacity', 'n1', capacity]);
    const addresses = ['/ip4/10.0.0.7/tcp/7400', '/dns4/n1.example/tcp/7400'];
    expect(operations()).toEqual([
      { type: 'addresses', nodeId, addresses },
      { type: 'addresses', nodeId, addresses: [] },
      ...[21, 20, 18, 21].map((capacity) => ({ type: 'capacity', nodeId, capacity })),
    ]);
  });

  it('set settings beside those there are, take some away, or replace them all', async () => {
    await anabranch(['configuration', 'set', 'cluster', 'keep=3', 'mode="fast"', '--reason', 'tuned']);
    await anabranch(['configuration', 'set', 'cluster', '--unset', 'cleanup']);
    await anabranch(['configuration', 'set', 'cluster', 'keep=null', '--replace']);
    await anabranch(['configuration', 'set', 'group/a', '--file', '-'], '{"a":[1]}');
    const { values } = scopeConfiguration;
    expect(operations()).toEqual([
      { type: 'configuration', scope: 'cluster', values: { ...values, keep: 3, mode: 'fast' } },
      { type: 'configuration', scope: 'cluster', values: {} },
      { type: 'configuration', scope: 'cluster', values: { keep: null } },
      { type: 'configuration', scope: 'group/a', values: { a: [1] } },
    ]);
  });

  it('are told in one line how far the carry-over is that they come too early for', async () => {
    const progress = { epoch: 2, done: 12, total: 31 };
    http.node.cluster.answers.push(held(progress));
    const { exitCode, stderr } = await anabranch(['nodes', 'roles', 'n1', 'storage']);
    expect(exitCode).toBe(1);
    expect(stderr).toBe(
      'anabranch: not yet (carry_over_running); 12 of 31 registers are there; --wait does it as soon as it can be done\n',
    );
  });

  it('wait for the carry-over before and after them when they are told to, under one operation id', async () => {
    const at = (done: number, complete = false) => ({ epoch: 2, carried: done, done, total: 31, complete });
    http.node.cluster.answers.push(held({ epoch: 2, done: 12, total: 31 }));
    http.node.cluster.carried.push(at(12), at(31, true), at(4), at(31, true));
    const { exitCode, stdout } = await anabranch(['nodes', 'roles', 'n1', 'storage', '--wait']);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^the roles of n1 are set: entry 1/);
    expect(http.node.cluster.asked.map(({ operationId }) => operationId)).toEqual([undefined, committed.operationId]);
    expect(http.node.cluster.carried).toEqual([]);
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
    [['nodes', 'capacity', 'n1', '65'], 2, 'a step from 1 to 64'],
    [['nodes', 'capacity', 'n1', '1TX'], 2, 'a step from 1 to 64'],
    [['configuration', 'set', 'cluster'], 2, 'there is nothing to set'],
    [['configuration', 'set', 'cluster', 'keep'], 2, 'settings are given as NAME=JSON'],
    [['configuration', 'set', 'cluster', 'mode=fast'], 2, 'is not JSON; a text stands in quotes'],
    [['configuration', 'set', 'cluster', 'a=1', '--file', '-'], 2, 'leave the others out'],
    [['configuration', 'get', 'cluster', 'nothing'], 3, 'has no setting nothing'],
    [['init'], 2, 'say where'],
    [['init', '--dir', 'x', '--join', 'x', '--cluster', 'x'], 2, 'give one of them'],
    [['init', '--dir', 'y', '--name', 'No Name'], 2, 'a node has a name of'],
    [['init', '--dir', 'y', '--join', 'nothing.json'], 2, 'cannot be read'],
  ])('are not carried out as %j', async (args, exitCode, message) => {
    expect(await anabranch(args)).toMatchObject({ exitCode, stderr: expect.stringContaining(message) });
    expect(http.node.cluster.asked).toEqual([]);
  });
});

describe('the status of a node', () => {
  afterEach(() => {
    http.node.membership = { state: 'member', removedBy: null, turnedAwayBy: 0 };
  });

  it.each([
    [{ state: 'removed', removedBy: 7, turnedAwayBy: 0 }, /^membership +REMOVED by entry 7 .*init --join/m],
    [{ state: 'turned_away', removedBy: null, turnedAwayBy: 3 }, /^membership +TURNED AWAY by 3 .*if this node/m],
    [{ state: 'pending', removedBy: null, turnedAwayBy: 0 }, /^membership +NOT ADMITTED yet: .*takes n1 in/m],
  ] as const)(
    'says what there is to do for one that is no member as others see it: %j',
    async (membership, pattern) => {
      http.node.membership = membership;
      expect((await anabranch(['status'])).stdout).toMatch(pattern);
    },
  );

  it.each([
    [{ pending: 0, waitingForCopies: 0 }, 'reachable)'],
    [{ pending: 1, waitingForCopies: 0 }, 'reachable); 1 object waits to be confirmed'],
    [{ pending: 8, waitingForCopies: 8 }, 'reachable); 8 objects wait for a second proved copy'],
    [
      { pending: 9, waitingForCopies: 1 },
      'reachable); 8 objects wait to be confirmed; 1 object waits for a second proved copy',
    ],
  ])('says what its objects wait for, as the doctor does: %j', async (waiting, words) => {
    http.node.unconfirmed = waiting;
    const status = await anabranch(['status']);
    const doctor = await anabranch(['doctor']);
    http.node.unconfirmed = { pending: 0, waitingForCopies: 0 };
    expect(status.stdout).toContain(`${words}\n`);
    expect(doctor.stdout).toContain(`reachable${words.slice('reachable)'.length)}\n`);
  });

  it('says nothing of it for a member', async () => {
    expect((await anabranch(['status'])).stdout).not.toMatch(/membership/);
  });
});

describe('commands that read what the cluster decided', () => {
  it.each([
    [['namespaces'], /^team-docs +\{"replicas":3/],
    [['namespaces', 'get', 'docs'], /^replicas +3\n/],
    [
      ['control-log', 'list'],
      /^ENTRY {2}TIME .*\n1 +2025-07-01 09:00:00 UTC {2}admin {2}admit n3 \(.*\) as storage +the new/,
    ],
    [['nodes'], /^n1 +online, answers here {2}coordinator,storage {2}step 22 {3}- {7}488 KiB free {2}self$/m],
    [
      ['nodes', '--long'],
      /^n1 .* 488 KiB used, 488 KiB free of 977 KiB {2}self {2}.* {2}ly7n\w+ {2}test {5}- {4}\/ip4\/127/m,
    ],
    [['configuration'], /^cluster +cleanup +\{"dailyAt":"03:00"\}\n$/],
    [['configuration', 'get', 'cluster'], /^cleanup +\{"dailyAt":"03:00"\}\n$/],
    [['configuration', 'get', 'cluster', 'cleanup'], /^\{"dailyAt":"03:00"\}\n$/],
    [['configuration', 'get', 'cluster', '--json'], /^\{"scope":"cluster","values":\{.*\}\}\n$/],
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
