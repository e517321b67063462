import { expect, test } from 'vitest';
import type { NodeId } from '../../../crdt/ids.ts';
import { NodeReplication, type NodeReplicationDependencies } from '../../../src/node/node-replication.ts';
import type { GatheredDrain } from '../../../src/replication/mesh-view.ts';

const nodeId = 'a'.repeat(26) as NodeId;
const empty = { contents: 3, remaining: 0, bytes: 0, unreadable: 0, current: true };

const statusOf = async (drain: Partial<GatheredDrain>, draining = true) => {
  const replication = {
    absent: () => ({ gone: new Set(), away: new Set(), nextMs: undefined }),
    mesh: { drain: async () => ({ progress: empty, intents: 0, unanswered: [], ...drain }) },
  };
  const members = { byNode: () => ({ nodeId, name: 'n1', draining }) };
  const dependencies = { replication, members } as unknown as NodeReplicationDependencies;
  const status = await new NodeReplication(dependencies).drainStatus(nodeId);
  if (!status.ok) throw new Error(status.error.message);
  return status.value;
};

test('a node may be switched off once it drains and everything on it is known, and proved elsewhere', async () => {
  expect(await statusOf({})).toMatchObject({ safe: true, remaining: 0, unreadable: 0 });
  expect((await statusOf({}, false)).safe).toBe(false);
});

test.each([
  ['a content remains', { progress: { ...empty, remaining: 1 } }],
  ['a version cannot be read, whose content any could be', { progress: { ...empty, unreadable: 1 } }],
  ['nobody asked it what it has', { progress: { ...empty, current: false } }],
  ['a write made at it waits for proofs', { intents: 1 }],
  ['it does not answer', { intents: undefined }],
])('and not while %s', async (_, drain) => {
  expect((await statusOf(drain)).safe).toBe(false);
});
