import { afterEach, expect, it } from 'vitest';
import { encodeGossip, gossipTopic, hintOf } from '../../../protocols/gossip/messages.ts';
import { ObjectStore } from '../../../src/node/object-store.ts';
import { versionKey } from '../../../src/node/storage-keys.ts';
import { Mesh } from '../../support/mesh.ts';

let mesh: Mesh;
afterEach(async () => {
  await mesh.stop();
});

/** What a node has counted of gossip: its messages, or the records in them. */
const counted = (name: string, what: 'hints' | 'records', outcome: string): number =>
  mesh.get(name).metrics.value(`anabranch_gossip_${what}_total`, { outcome });

it('counts what is sent and accepted, and each record as new where it was', async () => {
  mesh = await Mesh.start(['alice', 'bob', 'carol'], 'gossip', ['alice']);
  const before = ['bob', 'carol'].map((name) => counted(name, 'records', 'new'));
  const sent = counted('alice', 'hints', 'sent');
  await mesh.put('alice', 'one', 'text');
  await mesh.settle(200);
  expect(counted('alice', 'hints', 'sent')).toBeGreaterThan(sent);
  for (const [index, name] of ['bob', 'carol'].entries()) {
    expect(counted(name, 'records', 'new')).toBe((before[index] as number) + 1);
    expect(counted(name, 'hints', 'accept')).toBeGreaterThan(0);
    expect(counted(name, 'hints', 'reject')).toBe(0);
  }
  expect(mesh.get('bob').metrics.value('anabranch_versions_accepted_total', { kind: 'put' })).toBe(1);
});

it('counts a record that is told of again as a duplicate, and takes nothing in for it', async () => {
  mesh = new Mesh(['alice', 'mallory']);
  const alice = await mesh.startNode('alice');
  const { network } = await mesh.impersonate('mallory');
  await mesh.settle(100);
  const { version } = await mesh.put('alice', 'one', 'text');
  const { cluster } = await mesh.run(alice.node.status());
  const objects = new ObjectStore({ cluster, slots: 16 });
  const doc = objects.documentId('test', 'one');
  const text = objects.version(alice.kv, version)?.text ?? '';
  expect(alice.kv.get(versionKey(version))).toBeDefined();
  const events = await mesh.eventsOf('alice', 'version');
  await network.publish(gossipTopic(cluster, 0), encodeGossip([hintOf(doc, [version], [Buffer.from(text)])]));
  await mesh.settle(200);
  expect(['new', 'duplicate', 'incomplete'].map((outcome) => counted('alice', 'records', outcome))).toEqual([0, 1, 0]);
  expect(await mesh.eventsOf('alice', 'version')).toEqual(events);
  await network.stop();
});

it('counts a message that nobody got as unsent', async () => {
  mesh = await Mesh.start(['alice', 'bob'], 'gossip', ['alice']);
  const { network } = mesh.get('alice');
  // As gossipsub does when it knows of nobody who listens, or has dropped the message for its length.
  network.publish = async () => 0;
  const sent = counted('alice', 'hints', 'sent');
  await mesh.put('alice', 'one', 'text');
  await mesh.settle(100);
  expect(counted('alice', 'hints', 'unsent')).toBeGreaterThan(0);
  expect(counted('alice', 'hints', 'sent')).toBe(sent);
  // It comes all the same: gossip is a hint.
  await mesh.settle(120_000);
  expect(mesh.heads('bob', 'one')).toHaveLength(1);
});
