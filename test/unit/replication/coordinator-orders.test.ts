import { beforeEach, expect, test } from 'vitest';
import type { BlobHash, NodeId, VersionId } from '../../../crdt/ids.ts';
import type { Order } from '../../../protocols/replicas/server.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { OrderTaker } from '../../../src/replication/order-taker.ts';
import { PlacementDirectory } from '../../../src/replication/placement-directory.ts';
import { idOf } from '../../support/made-ids.ts';

const manifest = idOf<BlobHash>('content');
const order: Order = { ns: 'docs', key: 'key', version: idOf<VersionId>('version'), manifest, holders: [] };
const labelled: Readonly<Record<string, string>> = { a: 'cellar', b: 'cellar', c: 'cellar', d: 'attic' };

let policy: object;
let wanted: string[];
beforeEach(() => {
  policy = { replicas: 1 };
  wanted = [];
});

/** Who takes orders on a node, which knows the version that they name. */
function takerOn(self: string, known: Partial<Order> = order): OrderTaker {
  const nodes = Object.entries(labelled).map(([name, room]) => {
    return { nodeId: name as NodeId, weight: 1, labels: { room } };
  });
  const state = { members: new Map(), namespaces: new Map([['docs', policy]]) };
  const { ns = '', key = '', manifest: named = manifest } = known;
  const record = { ns, key, parents: [], generation: 1, node: 'w' as NodeId, time: 0 };
  return new OrderTaker({
    kv: new MemoryKv(new VirtualClock()),
    versions: {
      changedAfter: () => [],
      headsOf: () => [],
      record: () => ({ ...record, content: { manifest: named, size: 1, b3: '' } }),
    },
    placement: new PlacementDirectory({ state: () => state, nodesOf: () => nodes }),
    absent: () => ({ gone: new Set(), away: new Set(), nextMs: undefined }),
    self: self as NodeId,
    want: async (contents) => void wanted.push(...contents.map(({ content }) => content.manifest)),
    bring: () => undefined,
    log: new MemoryLog(),
  });
}

test('a coordinator has any node fetch what the policy lets it hold, and anybody else only who is to hold it', async () => {
  const taken = await Promise.all(Object.keys(labelled).map((name) => takerOn(name).take([order])));
  expect(taken.toSorted()).toEqual([0, 0, 0, 1]);
  for (const name of Object.keys(labelled)) expect(await takerOn(name).take([order], true), name).toBe(1);
});

test('nobody has a node fetch what the policy forbids it, or what is placed on no node of its kind', async () => {
  policy = { replicas: 1, forbidden: { room: ['attic'] } };
  expect(await takerOn('d').take([order], true)).toBe(0);
  policy = { replicas: 1, required: { room: ['attic'] } };
  for (const name of ['a', 'b', 'c']) expect(await takerOn(name).take([order], true), name).toBe(0);
  // A node that content is not placed on at all: it drains, or stores nothing.
  policy = { replicas: 1 };
  expect(await takerOn('elsewhere').take([order], true)).toBe(0);
  expect(wanted).toEqual([]);
});

test('an order that names another object, or other content, than the version has is not taken from anybody', async () => {
  for (const known of [
    { ...order, key: 'other' },
    { ...order, ns: 'files' },
    { ...order, manifest: idOf<BlobHash>('x') },
  ]) {
    for (const name of Object.keys(labelled)) expect(await takerOn(name, known).take([order], true)).toBe(0);
  }
  expect(wanted).toEqual([]);
});
