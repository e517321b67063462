import { expect, test, vi } from 'vitest';
import type { BlobHash, DocId, NodeId, VersionId } from '../../../crdt/ids.ts';
import type { PlacementNode } from '../../../crdt/placement.ts';
import type { Order } from '../../../protocols/replicas/server.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { fullNodes } from '../../../src/replication/absences.ts';
import { OrderTaker } from '../../../src/replication/order-taker.ts';
import { PlacementDirectory } from '../../../src/replication/placement-directory.ts';
import { PlacementMap } from '../../../src/replication/placement-map.ts';
import { assess } from '../../../src/replication/plan.ts';
import type { Subject } from '../../../src/replication/subject.ts';
import type { SubjectRecord } from '../../../src/replication/subject-index.ts';
import { idOf } from '../../support/made-ids.ts';

const nodes = ['a', 'b', 'c', 'd'].map((name): PlacementNode => ({ nodeId: name as NodeId, weight: 1, labels: {} }));
const subject: Subject = {
  doc: idOf<DocId>('doc'),
  ns: 'docs',
  key: 'key',
  version: idOf<VersionId>('version'),
  manifest: idOf<BlobHash>('content'),
  sizeBytes: 10,
};

test('who said of little room is full, who said nothing is not', () => {
  const free = new Map([
    ['a' as NodeId, 0],
    ['b' as NodeId, 2 ** 40],
  ]);
  const full = fullNodes(['a', 'b', 'c'] as NodeId[], (node) => free.get(node));
  expect([...full]).toEqual(['a']);
});

test('what a full node lacks is planned for another, and what it has counts', () => {
  const placement = new PlacementMap(nodes, new Map());
  const { holders } = placement.desired(subject.ns, subject.key);
  const [first, second, third] = holders as [NodeId, NodeId, NodeId];
  const other = nodes.map(({ nodeId }) => nodeId).find((node) => !holders.includes(node)) as NodeId;
  const assessed = (full: NodeId, copies: readonly NodeId[]) =>
    assess(
      {
        placement,
        gone: new Set(),
        away: new Set(),
        full: new Set([full]),
        copies: () => copies.map((nodeId) => ({ nodeId, isProved: true, isSuspect: false })),
        subjectsOf: () => [subject],
      },
      subject,
    );
  const lacking = assessed(third, [first, second]);
  expect(lacking.pulls.map(({ to, isWaiting }) => [to, isWaiting])).toEqual([[other, false]]);
  expect(assessed(third, [first, second, third])).toMatchObject({ health: 'healthy', pulls: [] });
});

test('what its writer is copying is left to it, unless a copy was caught wanting or there were enough already', () => {
  const placement = new PlacementMap(nodes, new Map());
  const { holders } = placement.desired(subject.ns, subject.key);
  const [first, second, third] = holders as [NodeId, NodeId, NodeId];
  const healthOf = (copies: readonly NodeId[], suspects: readonly NodeId[] = [], gone: readonly NodeId[] = []) =>
    assess(
      {
        placement,
        gone: new Set(gone),
        away: new Set(),
        copies: () => copies.map((nodeId) => ({ nodeId, isProved: true, isSuspect: suspects.includes(nodeId) })),
        subjectsOf: () => [subject],
        isUnderWay: () => true,
      },
      subject,
    ).health;
  expect(healthOf([])).toBe('arriving');
  expect(healthOf([first, second])).toBe('arriving');
  expect(healthOf([first, second], [second])).toBe('under');
  expect(healthOf([first, second, third], [], [third])).toBe('under');
  expect(healthOf([first, second, third])).toBe('healthy');
});

test('an order for a version that is not here is taken up once the version was brought', async () => {
  const clock = new VirtualClock();
  const kv = new MemoryKv(clock);
  const state = { members: new Map(), namespaces: new Map() };
  const placement = new PlacementDirectory({ state: () => state, nodesOf: () => nodes });
  const self = placement.desired(subject.ns, subject.key).holders[0] as NodeId;
  const content = { manifest: subject.manifest, size: subject.sizeBytes, b3: 'b3' };
  let record: SubjectRecord | undefined;
  const wanted: string[] = [];
  const taker = new OrderTaker({
    kv,
    versions: { changedAfter: () => [], headsOf: () => [], record: () => record },
    placement,
    absent: () => ({ gone: new Set(), away: new Set(), nextMs: undefined }),
    self,
    want: async (contents) => {
      for (const each of contents) wanted.push(each.content.manifest);
    },
    bring: async () => {
      record = { ns: subject.ns, key: subject.key, parents: [], generation: 1, content, node: 'w' as NodeId, time: 0 };
    },
    log: new MemoryLog(),
  });
  const { ns, key, version, manifest } = subject;
  const order: Order = { ns, key, version, manifest, holders: [] };
  expect(await taker.take([order])).toBe(0);
  await vi.waitFor(() => expect(wanted).toEqual([manifest]));
  await taker.stop();
});

test('what a coordinator orders of a version stands for that version and for no other of its object', async () => {
  const state = { members: new Map(), namespaces: new Map() };
  const placement = new PlacementDirectory({ state: () => state, nodesOf: () => nodes });
  const { ns, key, version, manifest } = subject;
  const { holders } = placement.desired(ns, key);
  const self = nodes.map(({ nodeId }) => nodeId).find((node) => !holders.includes(node)) as NodeId;
  const content = { manifest, size: subject.sizeBytes, b3: 'b3' };
  const taker = new OrderTaker({
    kv: new MemoryKv(new VirtualClock()),
    versions: {
      changedAfter: () => [],
      headsOf: () => [],
      record: () => ({ ns, key, parents: [], generation: 1, content, node: 'w' as NodeId, time: 0 }),
    },
    placement,
    absent: () => ({ gone: new Set(), away: new Set(), nextMs: undefined }),
    self,
    want: async () => undefined,
    bring: () => undefined,
    log: new MemoryLog(),
  });
  const order: Order = { ns, key, version, manifest, holders: [] };
  expect(await taker.take([order])).toBe(0);
  expect(taker.shouldHold(order)).toBe(false);
  expect(await taker.take([order], true)).toBe(1);
  expect(taker.shouldHold(order)).toBe(true);
  expect(taker.shouldHold({ ns, key, version: idOf<VersionId>('next') })).toBe(false);
});
