import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { NodeId } from '../../../crdt/ids.ts';
import { commandTextOf } from '../../../src/cli/command-text.ts';
import { defaultNamespace, policiesOf } from '../../../src/cli/doctor-content.ts';
import { formatDuration, parseDuration } from '../../../src/cli/duration.ts';
import { committed } from '../../../src/http/cluster-examples.ts';
import * as examples from '../../../src/http/replication-examples.ts';
import type { AuditOutcome, MovePreview, NodeInfo, ObjectPlacement, ReplicationStatus } from '../../../src/node/api.ts';
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
    expect(stdout).toMatch(/^versions +30 of 31 have all their copies, 1 has too few$/m);
    expect(stdout).toMatch(/^waiting +1 copy, 33 bytes should nodes stay away$/m);
    expect(stdout).toMatch(/^last audit +\d+ days ago by n1$/m);
    expect(JSON.parse((await anabranch('replication', 'status', '--json')).stdout)).toEqual(examples.status);
  });

  it.each([
    [{ healthy: 0, over: 31, under: 0 }, '31 have all their copies, 31 of them more than needed'],
    [{ healthy: 31, under: 0 }, '31 have all their copies'],
    [{ subjects: 0, healthy: 0, under: 0 }, 'none yet'],
    [{ subjects: 1, healthy: 1, under: 0, degraded: 1 }, '1 has all its copies, 1 has a policy that cannot be met'],
    [
      { healthy: 20, under: 0, mis: 10, unreachable: 1 },
      '20 of 31 have all their copies, 10 have some in the wrong places, 1 has NONE that can be reached',
    ],
  ])('counts a version once: %j', async (totals, words) => {
    http.node.replication.standing = { ...healthy(), totals: { ...examples.status.totals, ...totals } };
    expect((await anabranch('replication', 'status')).stdout).toContain(`versions     ${words}\n`);
  });

  it('does not call healthy what it cannot see whole', async () => {
    const partial = { ...healthy(), healthy: false, complete: false };
    const stateOf = async (standing: ReplicationStatus): Promise<string | undefined> => {
      http.node.replication.standing = standing;
      return /^state +(.*)$/m.exec((await anabranch('replication', 'status')).stdout)?.[1];
    };
    const silent = { nodeId: own().nodeId, name: 'n2', presence: 'online' as const };
    expect(await stateOf({ ...partial, unanswered: [silent] })).toBe('not known: not every coordinator answers');
    expect(await stateOf(partial)).toMatch(
      /^not known: a coordinator went or came, and the others have not audited since/,
    );
    const [auditor] = partial.auditors;
    expect(await stateOf({ ...partial, auditors: [{ ...auditor, last: null } as typeof auditor & object] })).toMatch(
      /^not known: not every coordinator has audited yet/,
    );
    http.node.replication.standing = partial;
    expect((await anabranch('doctor')).stdout).toContain('note  replication: a coordinator went or came');
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
    expect(stdout).toContain(
      'CANNOT BE MET: holders with 3 different values of dc are asked for, and there are 2: give',
    );
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
      { change, limit: 40 },
      { change, after: 'there', limit: 40 },
      { change: { kind: 'join', labels: { dc: 'x' }, capacity: 20 }, limit: 40 },
      { change: { kind: 'labels', nodeId: own().nodeId, labels: { dc: 'y' } }, limit: 40 },
      { change: { kind: 'capacity', nodeId: own().nodeId, capacity: 22 }, limit: 40 },
    ]);
    const unknown = await anabranch('replication', 'preview', 'leave', 'nobody');
    expect([unknown.exitCode, unknown.stderr]).toEqual([3, 'anabranch: there is no member nobody; there are n1\n']);
  });
});

describe('anabranch replication preview', () => {
  const [move] = examples.preview.moves as unknown as MovePreview['moves'];
  const lost = { ...move, to: [], lacks: examples.degradedPlacement.lacks } as unknown as MovePreview['moves'][number];
  const n2 = examples.preview.nodes[1] as unknown as MovePreview['nodes'][number];
  const preview = async (page: Partial<MovePreview>): Promise<string> => {
    http.node.replication.previews.push(page);
    return (await anabranch('replication', 'preview', 'leave', 'n1')).stdout;
  };

  it('lists only what a node has to fetch, and says what loses its place', async () => {
    const totals = { subjects: 510, moved: 510, copies: 0, bytes: 0, degraded: 505 };
    const moves = Array.from({ length: 40 }, () => lost);
    const nodes = [{ ...n2, contentsOut: 510, bytesOut: 510 }];
    expect(await preview({ totals, moves, nodes })).toBe(
      '510 versions would lose their place on n2; nothing has to be copied; 505 would have a policy that cannot be met ' +
        '(holders with 3 different values of dc are asked for, and there are 2)\n' +
        'n2  fetches 0, 0 bytes  gives up 510, 510 bytes\n',
    );
  });

  it('counts the copies that it does not list', async () => {
    const totals = { subjects: 60, moved: 50, copies: 30, bytes: 990, degraded: 0 };
    const moves = [...Array.from({ length: 15 }, () => lost), ...Array.from({ length: 25 }, () => move as typeof lost)];
    const lines = (await preview({ totals, moves })).trimEnd().split('\n');
    expect(lines[0]).toBe('50 of 60 versions would move: 30 copies, 990 bytes');
    expect(lines.filter((line) => line.endsWith('n2 → n3'))).toHaveLength(20);
    expect(lines.at(-1)).toBe('… and 10 more copies');
  });

  it('says that nothing moves', async () => {
    const totals = { subjects: 1, moved: 0, copies: 0, bytes: 0, degraded: 0 };
    expect(await preview({ totals, moves: [], nodes: [] })).toBe('none of 1 version would move\n');
  });
});

describe('anabranch drain', () => {
  it('begins a drain, undoes it, and shows how far it is', async () => {
    const begun = await anabranch('drain', 'n1', '--reason', 'old');
    expect(begun.stdout).toContain('n1 drains: entry 1');
    const n5 = { ...own(), nodeId: 'fdraining' as NodeId, name: 'n5', self: false, draining: true };
    http.node.others.push(n5);
    expect((await anabranch('drain', 'n5', '--undo')).stdout).toContain('n5 is used again: entry 1');
    expect(http.node.cluster.asked.map(({ operation }) => operation)).toEqual([
      { type: 'drain', nodeId: own().nodeId, draining: true },
      { type: 'drain', nodeId: n5.nodeId, draining: false },
    ]);
    http.node.replication.drains.push({ safe: false, remaining: 2, remainingBytes: 66 });
    const { stdout } = await anabranch('drain', 'n1', '--status');
    expect(stdout).toBe('2 of 31 contents on n3 (66 bytes) are not proved elsewhere\n');
    http.node.replication.drains.push({ safe: false, unreadable: 1 });
    const unread = await anabranch('drain', 'n1', '--status');
    expect(unread.stdout).toContain('; of 1 object a version cannot be read');
    expect((await anabranch('drain', 'n1', '--undo', '--wait')).exitCode).toBe(2);
  });

  it('changes nothing twice, unless it is asked what became of an operation', async () => {
    http.node.others.push({ ...own(), nodeId: 'fdraining' as NodeId, name: 'n5', self: false, draining: true });
    expect(await anabranch('drain', 'n5')).toMatchObject({ exitCode: 0, stdout: 'n5 drains already\n' });
    expect(await anabranch('drain', 'n1', '--undo')).toMatchObject({ exitCode: 0, stdout: 'n1 does not drain\n' });
    const json = JSON.parse((await anabranch('drain', 'n5', '--json')).stdout);
    expect(json).toEqual({ nodeId: 'fdraining', draining: true, changed: false });
    expect((await anabranch('drain', 'n5', '--wait')).stdout).toMatch(/^n5 drains already\nn3 may be switched off/);
    expect(http.node.cluster.asked).toEqual([]);
    const again = await anabranch('drain', 'n5', '--operation-id', committed.operationId);
    expect(again.stdout).toContain('n5 drains: entry 1');
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
      'WRONG quorum: 1 of 1 coordinator is reachable',
      'WRONG nodes: n2 is offline for ',
      'start it or mend the network to it; if it is gone for good: anabranch nodes remove n2',
      'note  versions: different versions run: test on n1, n3; older on n2',
      'note  clocks: the clock of n2 is 9 s ahead',
      'WRONG disks: n3 has 0 MiB left',
      'WRONG content: 2 contents were given up by this node',
      '→ nobody had it for a day: bring a node back that has it; it is tried again when one comes; "anabranch content dead"',
      "WRONG content: 1 content has rotted on this node's disk",
      'WRONG replication: 1 version has too few copies',
      'WRONG policies: team-docs: holders with 3 different values of dc are asked for, and there are 2',
      '→ give a storage node another dc, admit one that has it, or lower',
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
    expect(stdout).toContain('WRONG replication: 2 copies that nodes said to have were missing or damaged');
  });
});

describe('a policy that nobody set', () => {
  const lack = { kind: 'replicas', label: null, wanted: 3, placed: 1, message: 'too few nodes', advice: 'admit more' };
  const placements = (lacking: readonly string[]) =>
    ['docs', defaultNamespace].map((ns) => ({
      ns,
      lacks: lacking.includes(ns) ? [lack] : [],
    })) as unknown as ObjectPlacement[];
  const found = (lacking: readonly string[], degraded = 0) => {
    const replication = { ...healthy(), totals: { ...healthy().totals, degraded } };
    return policiesOf({ placements: placements(lacking), replication }, commandTextOf({}));
  };

  it('is worth a note where it cannot be met, with what can be done', () => {
    const [finding] = found([defaultNamespace]);
    expect(finding).toMatchObject({ level: 'note', message: 'namespaces without a policy: too few nodes' });
    expect(finding?.advice).toBe('admit more storage nodes, or set a policy: anabranch namespaces set NS --replicas 1');
  });

  it('is wrong once versions have it, which is where no policy that was set explains what is short', () => {
    expect(found([defaultNamespace], 2).map(({ level }) => level)).toEqual(['wrong']);
    expect(found(['docs', defaultNamespace], 2).map(({ level }) => level)).toEqual(['wrong', 'note']);
    expect(found([], 0).map(({ level }) => level)).toEqual(['ok']);
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
