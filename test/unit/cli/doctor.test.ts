import { beforeAll, describe, expect, test } from 'vitest';
import { commandTextOf } from '../../../src/cli/command-text.ts';
import { type Examined, findings } from '../../../src/cli/doctor-checks.ts';
import * as examples from '../../../src/http/replication-examples.ts';
import type { NodeInfo, NodeStatus, ReplicationStatus } from '../../../src/node/api.ts';
import { FakeNode } from '../../support/fake-node.ts';

const command = commandTextOf({});
const scrubbed = { running: false, checked: 0, damaged: 0, missing: 0, removed: 0 };

let sound: Examined;
beforeAll(async () => {
  const node = new FakeNode();
  const standing = examples.status as unknown as ReplicationStatus;
  const totals = { ...standing.totals, healthy: 31, under: 0, waitingPulls: 0 };
  sound = {
    status: await node.status(),
    nodes: node.nodes(),
    replication: { ...standing, healthy: true, unanswered: [], totals },
    placements: [],
    drains: [],
    dead: [],
    scrub: { current: scrubbed, last: null } as unknown as Examined['scrub'],
  };
});

const of = (examined: Examined, check: string) =>
  findings(examined, command).flatMap((found) => (found.check === check ? [found] : []));
const withStatus = (changed: Partial<NodeStatus>): Examined => ({ ...sound, status: { ...sound.status, ...changed } });
const withTotals = (changed: Partial<ReplicationStatus['totals']>): Examined => ({
  ...sound,
  replication: { ...sound.replication, totals: { ...sound.replication.totals, ...changed } },
});
const other = (changed: Partial<NodeInfo>): Examined => {
  const [own] = sound.nodes as readonly [NodeInfo];
  return { ...sound, nodes: [own, { ...own, name: 'n2', self: false, ...changed }] };
};

test('a doctor finds nothing wrong, and nothing worth a note, with a node and a mesh that are well', () => {
  for (const { level, message } of findings(sound, command)) expect(level, message).toBe('ok');
});

describe('what a node is to the cluster', () => {
  test.each([
    ['pending', null, 0, 'n1 is not admitted', 'nodes admit'],
    ['removed', 7, 0, 'n1 was removed by entry 7 of the control log', 'init --join'],
    ['turned_away', null, 2, '2 members turn n1 away', 'init --join'],
  ] as const)('is wrong when it is %s, with the way back', (state, removedBy, turnedAwayBy, message, way) => {
    const [found] = of(withStatus({ membership: { state, removedBy, turnedAwayBy } }), 'node');
    expect(found).toMatchObject({ level: 'wrong', message });
    expect(found?.advice).toContain(way);
  });

  test('is not asked of one that is not ready', () => {
    expect(of(withStatus({ ready: false }), 'node')).toMatchObject([{ level: 'wrong', message: 'n1 is not ready' }]);
  });
});

describe('the coordinators', () => {
  const voting = (coordinators: number, reachable: number): Examined => {
    const { quorum } = sound.status;
    return withStatus({ quorum: { ...quorum, coordinators, reachable, available: reachable * 2 > coordinators } });
  };

  test('are wrong when too few of them can be reached, and worth a note when their number is even', () => {
    expect(of(voting(3, 1), 'quorum')).toMatchObject([
      { level: 'wrong', message: '1 of 3 coordinators are reachable' },
    ]);
    const [, even] = of(voting(4, 4), 'quorum');
    expect(even).toMatchObject({ level: 'note', message: '4 coordinators survive no more failures than 3' });
    expect(of(voting(3, 2), 'quorum')).toMatchObject([{ level: 'ok' }]);
  });

  test('are told of one by one when they were restored from a backup, with what to do', () => {
    const { control, nodeId } = sound.status;
    const found = of(withStatus({ control: { ...control, restored: [nodeId, nodeId] } }), 'coordinators');
    expect(found).toHaveLength(2);
    expect(found[0]).toMatchObject({
      level: 'wrong',
      message: `coordinator ${nodeId} was restored from a backup and gives no votes`,
      advice: 'remove it, and admit it again as a new node',
    });
  });

  test('say nothing of a network in which nobody is connected, which is wrong all the same', () => {
    const [found] = of(withStatus({ peers: { connected: 0, known: 4 } }), 'network');
    expect(found).toMatchObject({ level: 'wrong', message: 'none of 4 other members is connected' });
    expect(of(withStatus({ peers: { connected: 1, known: 4 } }), 'network')).toEqual([]);
  });
});

describe('the other members', () => {
  test.each([
    ['offline', 'wrong', /^n2 is offline for /],
    ['suspect', 'wrong', /^n2 is suspect for /],
    ['unknown', 'wrong', /^n2 was not seen yet$/],
  ] as const)('are told of while they are %s', (state, level, message) => {
    expect(of(other({ state }), 'nodes')).toMatchObject([{ level, message: expect.stringMatching(message) }]);
  });

  test('are worth a note while they live without a connection, also when they drain', () => {
    for (const state of ['online', 'draining'] as const) {
      const [found] = of(other({ state, connected: false }), 'nodes');
      expect(found).toMatchObject({ level: 'note', message: 'n2 lives, and there is no connection to it from here' });
    }
    expect(of(other({}), 'nodes')).toMatchObject([{ level: 'ok', message: 'all 2 members are there' }]);
  });
});

describe('the copies of versions', () => {
  test.each([
    ['unreachable', '2 versions have no copy on a node that is online', 'start the nodes that hold them'],
    ['under', '2 versions have too few copies', 'replication plan'],
    ['mis', '2 versions have copies in the wrong places, and too few in the right ones', 'replication plan'],
    ['degraded', '2 versions have a policy that cannot be met', 'see the policies below'],
  ] as const)('are wrong when some are %s', (state, message, advice) => {
    const [found, ...more] = of(withTotals({ [state]: 2, healthy: 29 }), 'replication');
    expect(found).toMatchObject({ level: 'wrong', message, advice: expect.stringContaining(advice) });
    expect(more).toEqual([]);
  });

  test('are worth a note when there are some to spare, and no more', () => {
    expect(of(withTotals({ over: 1, healthy: 30 }), 'replication')).toMatchObject([
      { level: 'note', message: '1 version has copies to spare' },
      { level: 'ok', message: '31 of 31 versions have all their copies' },
    ]);
  });

  test('are wrong while some count as not there, by the accounts of all coordinators', () => {
    const { replication } = sound;
    const [auditor] = replication.auditors;
    const last = auditor?.last ?? expect.fail('the example has an audit');
    const account = { ...auditor, last: { ...last, suspects: 3 } } as NonNullable<typeof auditor>;
    const [found] = of({ ...sound, replication: { ...replication, auditors: [account, account] } }, 'replication');
    expect(found).toMatchObject({ level: 'wrong', message: '6 copies count as not there' });
  });

  test('are not known before an audit', () => {
    const replication = { ...sound.replication, complete: false, lastAudit: null };
    expect(of({ ...sound, replication }, 'replication')).toMatchObject([
      { level: 'note', message: 'replication has not been audited yet', advice: 'anabranch replication audit' },
    ]);
  });
});
