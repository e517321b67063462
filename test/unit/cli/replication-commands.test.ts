import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { formatDuration, parseDuration } from '../../../src/cli/duration.ts';
import { committed } from '../../../src/http/cluster-examples.ts';
import * as examples from '../../../src/http/replication-examples.ts';
import type { AuditOutcome, NodeInfo, ReplicationStatus } from '../../../src/node/api.ts';
import { HttpHarness, token } from '../../support/http-harness.ts';
import { runInProcess } from '../../support/run-cli.ts';

let http: HttpHarness;
beforeAll(async () => {
  http = await HttpHarness.start();
});
afterAll(() => http.server.close());
afterEach(() => {
  const { replication, cluster } = http.node;
  replication.asked.length = 0;
  replication.refusal = undefined;
  replication.standing = examples.status as unknown as ReplicationStatus;
  cluster.asked.length = 0;
  http.node.others.length = 0;
  http.node.contentStatus = { dead: 0, damaged: 0, incomplete: 0, scrubbedAt: null };
  http.node.isQuorate = true;
});

const anabranch = (...args: readonly string[]) =>
  runInProcess(args, { env: { ANABRANCH_URL: http.server.url, ANABRANCH_TOKEN: token } });
const own = (): NodeInfo => http.node.nodes()[0] as NodeInfo;
const healthy = (): ReplicationStatus => ({
  ...(examples.status as unknown as ReplicationStatus),
  healthy: true,
  unanswered: [],
  totals: { ...examples.status.totals, healthy: 31, under: 0, waitingPulls: 0 },
});

describe('anabranch replicas', () => {
  it('shows holders, who is missing, who is suspect, and who did not answer', async () => {
    const { stdout, exitCode } = await anabranch('replicas', 'team-docs/a');
    expect(exitCode).toBe(0);
    expect(stdout).toContain('team-docs/a: 2 copies in at least 2 dc');
    expect(stdout).toMatch(/n1 {2}dc=dc1 .* proved \d+ days ago/);
    expect(stdout).toMatch(/n3 {2}dc=dc2 .* SUSPECT: caught without it {2}beyond the policy/);
    expect(stdout).toMatch(/n2 {2}dc=dc2 {2}away {2}MISSING/);
    expect(stdout).toContain('n2 did not answer (offline)');
  });

  it('prints what the API answers, and passes on what is asked for', async () => {
    const version = examples.replicas.versions[0]?.version ?? '';
    const { stdout } = await anabranch('replicas', 'team-docs/a', '--version', version, '--limit', '3', '--json');
    expect(JSON.parse(stdout)).toEqual({ ...examples.replicas, key: 'a' });
    expect(http.node.replication.asked).toEqual([{ ns: 'team-docs', key: 'a', version, limit: 3 }]);
  });

  it('ends with 3 for an object that is not there', async () => {
    http.node.replication.refusal = { code: 'not_found', message: 'there is no such object' };
    expect((await anabranch('replicas', 'team-docs/none')).exitCode).toBe(3);
  });
});

describe('anabranch replication', () => {
  it('tells how replication stands', async () => {
    const { stdout } = await anabranch('replication');
    expect(stdout).toMatch(/^state +NOT HEALTHY$/m);
    expect(stdout).toMatch(/^versions +31: 30 healthy, 1 under-replicated$/m);
    expect(stdout).toMatch(/^waiting +1 copy, 33 bytes should nodes stay away$/m);
    expect(stdout).toMatch(/^last audit +\d+ days ago by n1$/m);
    expect(JSON.parse((await anabranch('replication', 'status', '--json')).stdout)).toEqual(examples.status);
  });

  it('does not call healthy what it cannot see whole', async () => {
    http.node.replication.standing = { ...healthy(), healthy: false, complete: false };
    expect((await anabranch('replication', 'status')).stdout).toMatch(/^state +not known/m);
  });

  it('lists the plan with names, and what it waits for', async () => {
    const { stdout } = await anabranch('replication', 'plan', '--limit', '5');
    expect(stdout).toMatch(
      /^k5sh\w+ {2}from n1 {2}team-docs\/rivers\/anabranch.md {2}33 bytes {2}1 proved {2}unless 6ygi\w+ is back by /m,
    );
    expect(http.node.replication.asked).toEqual([{ limit: 5 }]);
    http.node.replication.planned = { repairs: [], next: null, unanswered: [] };
    expect((await anabranch('replication', 'plan')).stdout).toBe('nothing is to be repaired\n');
  });

  it('audits, and looks on when that takes longer than one call waits', async () => {
    expect((await anabranch('replication', 'audit')).stdout).toMatch(/^state +NOT HEALTHY$/m);
    http.node.replication.audits.push(examples.auditRuns as unknown as AuditOutcome);
    const { stdout } = await anabranch('replication', 'audit', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ complete: true, auditors: [{ state: 'done' }] });
    http.node.replication.audits.push(examples.auditRuns as unknown as AuditOutcome);
    expect((await anabranch('replication', 'audit', '--no-wait')).stdout).toMatch(/^audited by n1$/m);
    expect(http.node.replication.asked).toEqual([{ waitMs: 30_000 }, { waitMs: 30_000 }, { waitMs: 0 }]);
  });

  it('shows placement, and what cannot be met', async () => {
    const { stdout } = await anabranch('replication', 'placement', 'team-docs/new');
    expect(stdout).toContain('team-docs/new: 2 copies in at least 3 dc');
    expect(stdout).toMatch(/n1 {2}dc=dc1 .*desired/);
    expect(stdout).toContain('CANNOT BE MET: holders with 3 different values of dc');
  });

  it('previews changes over all pages, by the names of members', async () => {
    http.node.replication.previews.push({ next: 'there' });
    const { stdout } = await anabranch('replication', 'preview', 'leave', 'n1');
    expect(stdout).toContain('2 of 62 versions would move: 2 copies, 66 bytes');
    expect(stdout).toMatch(/n3 +fetches 2, 66 bytes +gives up 0, 0 bytes/);
    await anabranch('replication', 'preview', 'join', '--label', 'dc=x', '--capacity', '1TiB');
    await anabranch('replication', 'preview', 'labels', 'n1', 'dc=y');
    await anabranch('replication', 'preview', 'capacity', 'n1', '22');
    const change = { kind: 'leave', nodeId: own().nodeId };
    expect(http.node.replication.asked).toEqual([
      { change, limit: 20 },
      { change, after: 'there', limit: 20 },
      { change: { kind: 'join', labels: { dc: 'x' }, capacity: 20 }, limit: 20 },
      { change: { kind: 'labels', nodeId: own().nodeId, labels: { dc: 'y' } }, limit: 20 },
      { change: { kind: 'capacity', nodeId: own().nodeId, capacity: 22 }, limit: 20 },
    ]);
    const unknown = await anabranch('replication', 'preview', 'leave', 'nobody');
    expect([unknown.exitCode, unknown.stderr]).toEqual([3, 'anabranch: there is no member nobody; there are n1\n']);
  });
});

describe('anabranch drain', () => {
  it('begins a drain, undoes it, and shows how far it is', async () => {
    const begun = await anabranch('drain', 'n1', '--reason', 'old');
    expect(begun.stdout).toContain('n1 drains: entry 1');
    await anabranch('drain', 'n1', '--undo');
    expect(http.node.cluster.asked.map(({ operation }) => operation)).toEqual([
      { type: 'drain', nodeId: own().nodeId, draining: true },
      { type: 'drain', nodeId: own().nodeId, draining: false },
    ]);
    http.node.replication.drains.push({ safe: false, remaining: 2, remainingBytes: 66 });
    const { stdout } = await anabranch('drain', 'n1', '--status');
    expect(stdout).toBe('2 of 31 contents on n3 (66 bytes) are not proved elsewhere\n');
    expect((await anabranch('drain', 'n1', '--undo', '--wait')).exitCode).toBe(2);
  });

  it('waits until the node may be switched off', async () => {
    http.node.replication.drains.push({ safe: false, remaining: 2 }, { safe: false, remaining: 0, intents: 1 });
    const { stdout } = await anabranch('drain', 'n1', '--wait', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ safe: true, remaining: 0 });
    expect(http.node.cluster.asked).toHaveLength(1);
    expect(committed.seq).toBe(1);
  });
});

describe('anabranch doctor', () => {
  it('is content with a healthy mesh', async () => {
    http.node.replication.standing = healthy();
    const { stdout } = await anabranch('doctor');
    expect(stdout).toContain('ok    node: n1 is ready');
    expect(stdout).toContain('ok    replication: 31 of 31 versions have all their copies');
    expect(stdout).not.toContain('WRONG quorum');
  });

  it('says what is wrong and what to do, and ends with 1', async () => {
    http.node.isQuorate = false;
    http.node.contentStatus = { dead: 2, damaged: 1, incomplete: 0, scrubbedAt: null };
    http.node.others.push({
      ...own(),
      name: 'n2',
      self: false,
      state: 'offline',
      version: 'older',
      clockOffsetMs: 9_000,
    });
    http.node.others.push({ ...own(), name: 'n3', self: false, draining: true, freeBytes: 1, clockOffsetMs: null });
    const { stdout, exitCode } = await anabranch('doctor');
    expect(exitCode).toBe(1);
    for (const line of [
      'WRONG quorum: 1 of 1 coordinators are reachable',
      'WRONG nodes: n2 is offline for ',
      'start it or mend the network to it; if it is gone for good: anabranch nodes remove n2',
      'note  versions: different versions run: test on n1, n3; older on n2',
      'note  clocks: the clock of n2 is 9 s ahead',
      'WRONG disks: n3 has 0 MiB left',
      'WRONG content: 2 contents were given up by this node',
      "WRONG scrub: 1 blobs had rotted on this node's disk",
      'WRONG replication: 1 versions have too few copies',
      'WRONG policies: team-docs: holders with 3 different values of dc',
      'note  drain: n3 may be switched off',
      '→ switch n3 off',
    ]) {
      expect(stdout).toContain(line);
    }
    const json = await anabranch('doctor', '--json');
    expect(json.exitCode).toBe(1);
    const body = JSON.parse(json.stdout) as { healthy: boolean; findings: { level: string }[] };
    expect(body.healthy).toBe(false);
    expect(body.findings.some(({ level }) => level === 'wrong')).toBe(true);
  });

  it('tells of writes that wait long, coordinators that are silent, and copies that were not there', async () => {
    const standing = healthy();
    const [auditor] = standing.auditors;
    const last = auditor?.last ?? expect.fail('the example has an audit');
    http.node.replication.standing = {
      ...standing,
      healthy: false,
      complete: false,
      intents: { pending: 4, late: 3 },
      unanswered: [{ nodeId: own().nodeId, name: 'n2', presence: 'online' }],
      auditors: [{ ...auditor, last: { ...last, checks: { ...last.checks, wrong: 2 } } } as typeof auditor & object],
    };
    const { stdout } = await anabranch('doctor');
    expect(stdout).toContain('WRONG writes: 3 writes of this node have waited long');
    expect(stdout).toContain('WRONG replication: coordinator n2 does not answer');
    expect(stdout).toContain('WRONG replication: 2 copies were missing or damaged');
  });
});

describe('a duration', () => {
  it('is written with its unit, and nothing else is one', () => {
    expect(['1s', '90 s', '10min', '1.5h', '7d'].map(parseDuration)).toEqual([
      1_000, 90_000, 600_000, 5_400_000, 604_800_000,
    ]);
    for (const text of ['', '10', '0s', '0.05s', '10m', '-1s', '1e9s', '400d', '10 years']) {
      expect(parseDuration(text), text).toBe(undefined);
    }
    expect([900, 119_000, 120_000, 7_200_000, 200_000_000].map(formatDuration)).toEqual([
      '1 s',
      '119 s',
      '2 min',
      '2 h',
      '2 days',
    ]);
  });

  it('is what the options of serve take', async () => {
    const { exitCode, stderr } = await runInProcess(['serve', '--dir', '/nowhere', '--repair-delay', '10']);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('A duration is such as 30s')]);
  });
});
