import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeCanonical } from '../../../crdt/canonical-json.ts';
import type { Actor, ClusterId, VersionId } from '../../../crdt/ids.ts';
import type { Signer } from '../../../crdt/signature.ts';
import { draftVersion, signVersion, type Version, type VersionFields } from '../../../crdt/version.ts';
import { encodeGossip, gossipTopic, hintOf } from '../../../protocols/gossip/messages.ts';
import {
  decodeSyncRequest,
  encodeSyncMessage,
  type SyncRequest,
  type SyncResponse,
  syncProtocol,
} from '../../../protocols/sync/messages.ts';
import { Channel } from '../../../protocols/wire/channel.ts';
import { packAnswer, packChanges } from '../../../protocols/wire/item-sets.ts';
import type { MemoryNetwork } from '../../../src/adapters/memory/network.ts';
import { ObjectStore } from '../../../src/node/object-store.ts';
import { versionKey } from '../../../src/node/storage-keys.ts';
import { Mesh, type TestNode } from '../../support/mesh.ts';

let mesh: Mesh;
let alice: TestNode;
let network: MemoryNetwork;
let signer: Signer;
let cluster: ClusterId;
let actor: Actor;
let fields: VersionFields;

beforeEach(async () => {
  mesh = new Mesh(['alice', 'mallory']);
  alice = await mesh.startNode('alice');
  const mallory = await mesh.impersonate('mallory');
  await mesh.settle(100);
  network = mallory.network;
  signer = mallory.signer;
  cluster = (await alice.node.status()).cluster;
  actor = `${mallory.member.nodeId}.${'a'.repeat(13)}` as Actor;
  fields = {
    ns: 'test',
    key: 'key',
    kind: 'delete',
    dot: { actor, counter: 1 },
    content: null,
    type: '',
    meta: {},
    author: 'admin',
    node: mallory.member.nodeId,
    time: 0,
    log: { seq: 0, hash: cluster },
  };
});
afterEach(async () => {
  await network.stop();
  await mesh.stop();
});

/** A version by mallory, in order unless `change` breaks it before it is signed. */
function forge(parents: readonly Version[], change: (record: Record<string, unknown>) => object = (record) => record) {
  const draft = draftVersion(parents, fields);
  if (!draft.ok) throw new Error(draft.error.message);
  const record = change({ ...draft.value.record }) as typeof draft.value.record;
  return signVersion({ ...draft.value, record, text: encodeCanonical(record) }, signer, cluster);
}

function gossip(...versions: readonly Version[]): Promise<number> {
  const objects = new ObjectStore({ cluster, slots: 16 });
  const doc = objects.documentId('test', 'key');
  const hint = hintOf(
    doc,
    versions.map(({ id }) => id),
    versions.map(({ text }) => Buffer.from(text)),
  );
  return network.publish(gossipTopic(cluster, objects.slotOf(doc)), encodeGossip([hint]));
}

/** Answers alice's sync requests as `answer` says. */
function serve(answer: (request: SyncRequest) => readonly (SyncResponse | Uint8Array)[]): { readonly asked: string[] } {
  const asked: string[] = [];
  network.handle(syncProtocol, async (stream) => {
    const channel = new Channel(stream, { clock: mesh.clock });
    for (let bytes = await channel.receive(); bytes !== null; bytes = await channel.receive()) {
      const request = decodeSyncRequest(bytes);
      if (!request.ok) throw new Error(request.error);
      asked.push(request.value.t);
      for (const message of answer(request.value)) {
        await channel.send(message instanceof Uint8Array ? message : encodeSyncMessage(message));
      }
    }
    await channel.end();
  });
  return { asked };
}

const staleFeed: SyncResponse = { t: 'feed', feed: 'mallory', last: 7, through: 7, entries: null };
const refused = (fault: string): number => alice.metrics.value('anabranch_records_refused_total', { fault });
const violations = (): number => alice.metrics.value('anabranch_sync_rounds_total', { outcome: 'protocol_violation' });

describe('a member that breaks the rules', () => {
  it('is heard while it keeps them: its sound record is taken in', async () => {
    await gossip(forge([]));
    await mesh.settle();
    expect(mesh.heads('alice', 'key')).toHaveLength(1);
  });

  it.each([
    ['a wrong generation', (record: Record<string, unknown>) => ({ ...record, generation: 7 })],
    ['a wrong context', (record: Record<string, unknown>) => ({ ...record, context: { [actor]: 5 } })],
  ])('gets no record with %s past the check against its parents', async (_, change) => {
    const root = forge([]);
    fields = { ...fields, dot: { actor, counter: 9 } };
    await gossip(root);
    await mesh.settle();
    await gossip(forge([root], change));
    await mesh.settle();
    expect(mesh.heads('alice', 'key')).toEqual([root.id]);
    expect(refused('wrong_generation') + refused('wrong_context')).toBe(1);
  });

  it('cannot write in the name of another node, nor with a changed byte', async () => {
    const forAlice = forge([], (record) => ({
      ...record,
      node: alice.nodeId,
      dot: { actor: `${alice.nodeId}.${'a'.repeat(13)}`, counter: 1 },
    }));
    await gossip(forAlice);
    const sound = forge([]);
    await gossip({ ...sound, text: sound.text.replace('"author":"admin"', '"author":"roots"') });
    await mesh.settle();
    expect(mesh.heads('alice', 'key')).toEqual([]);
    const verdicts = alice.metrics.value('anabranch_gossip_hints_total', { outcome: 'reject' });
    expect(verdicts).toBe(2);
  });

  it('is rejected message by message when it floods, and the sound record among them is taken in', async () => {
    const sound = forge([]);
    const spoiled = Array.from({ length: 200 }, (_, at) => ({
      ...sound,
      text: sound.text.replace('"author":"admin"', `"author":"a${String(at).padStart(4, '0')}"`),
    }));
    const outcome = (name: string): number => alice.metrics.value('anabranch_gossip_hints_total', { outcome: name });
    for (const version of spoiled) await gossip(version);
    await mesh.settle();
    expect(outcome('reject')).toBe(200);
    await gossip(sound);
    await mesh.settle();
    expect(mesh.heads('alice', 'key')).toEqual([sound.id]);
  });

  it('is told apart from loss: garbage as gossip is rejected', async () => {
    await network.publish(gossipTopic(cluster, 3), Buffer.from('garbage'));
    await mesh.settle();
    expect(alice.metrics.value('anabranch_gossip_hints_total', { outcome: 'reject' })).toBe(1);
  });

  it('ends a sync round, and waits for the next, when it answers with garbage', async () => {
    serve(() => [Buffer.from('garbage')]);
    await mesh.settle(10_000);
    expect(violations()).toBe(1);
    await mesh.put('alice', 'other', 'goes on');
    expect(await mesh.text('alice', 'other')).toBe('goes on');
  });

  it.each([
    ['out of order', [2, 1]],
    ['twice', [1, 1]],
  ])('cannot keep a node busy with documents listed %s', async (_, order) => {
    const items = order.map((byte) => ({ key: new Uint8Array(32).fill(byte), value: new Uint8Array(32) }));
    const { asked } = serve((request) => {
      if (request.t === 'feed') return [staleFeed];
      if (request.t === 'ranges')
        return [{ t: 'ranges', answers: request.ranges.map(() => ({ items: packChanges(items) })) }];
      return [{ t: 'done', more: false }];
    });
    await mesh.settle(10_000);
    expect(violations()).toBe(1);
    expect(asked.length).toBeLessThan(5);
  });

  it('cannot make a node ask for ever with ranges that are always split', async () => {
    const { asked } = serve((request) => {
      if (request.t === 'feed') return [staleFeed];
      if (request.t !== 'ranges') return [{ t: 'done', more: false }];
      const children = Array.from({ length: 16 }, () => ({ count: 1_000, fingerprint: new Uint8Array(16) }));
      const split = packAnswer({ kind: 'split', children });
      return [{ t: 'ranges', answers: request.ranges.map((_, index) => (index < 500 ? split : 1)) }];
    });
    await mesh.settle(20_000);
    expect(violations()).toBe(1);
    expect(asked.length).toBeLessThan(2_000);
  });

  it('cannot make a node ask for ever with a feed that does not go on, or records that bring nothing', async () => {
    let feedsAsked = 0;
    const { asked } = serve((request) => {
      if (request.t === 'ranges') return [{ t: 'ranges', answers: request.ranges.map(() => 0 as const) }];
      if (request.t !== 'feed') return [{ t: 'done', more: true }];
      feedsAsked += 1;
      if (feedsAsked === 1) return [staleFeed];
      const entries = packChanges([{ key: new Uint8Array(32), value: new Uint8Array(32) }]);
      return [{ t: 'feed', feed: 'mallory', last: 1_000_000, through: request.after, entries }];
    });
    await mesh.settle(100_000);
    expect(violations()).toBeGreaterThan(0);
    expect(asked.length).toBeLessThan(100);
  });

  it('issues a dot twice: it is noticed, and both versions stay', async () => {
    const first = forge([]);
    fields = { ...fields, time: 1 };
    const second = forge([]);
    await gossip(first);
    await mesh.settle();
    await gossip(second);
    await mesh.settle();
    expect(mesh.heads('alice', 'key')).toEqual([first.id, second.id].sort());
    expect(alice.metrics.value('anabranch_dots_reused_total')).toBe(1);
  });

  it('sends a record before its parents: it waits, and is taken in when they come', async () => {
    const root = forge([]);
    fields = { ...fields, dot: { actor, counter: 2 } };
    const child = forge([root]);
    await gossip(child);
    await mesh.settle();
    expect(mesh.heads('alice', 'key')).toEqual([]);
    await gossip(root);
    await mesh.settle();
    expect(mesh.heads('alice', 'key')).toEqual([child.id]);
  });
});

describe('a record that is damaged on disk', () => {
  it('is not served or acted on, and is fetched again from a peer that has it', async () => {
    await network.stop();
    const bobMesh = await Mesh.start(['alice', 'bob']);
    try {
      const written = await bobMesh.put('alice', 'key', 'text');
      await bobMesh.settle();
      await bobMesh.stopNode('bob');
      damageRecord(bobMesh.get('bob'), written.version);
      await bobMesh.startNode('bob');
      const { node } = bobMesh.get('bob');
      expect(() => node.graph({ ns: 'test', key: 'key' })).toThrow(/damaged/);
      expect((await bobMesh.run(node.status())).records).toEqual({ damaged: 1 });
      await bobMesh.settle(120_000);
      expect(bobMesh.graph('bob', 'key')).toEqual(bobMesh.graph('alice', 'key'));
      expect((await bobMesh.run(node.status())).records).toEqual({ damaged: 0 });
      expect(bobMesh.get('bob').metrics.value('anabranch_records_damaged')).toBe(0);
    } finally {
      await bobMesh.stop();
    }
  });
});

/** Changes a digit within the stored text of a version's record. */
function damageRecord({ kv }: TestNode, version: VersionId): void {
  const key = versionKey(version);
  const text = Buffer.from(kv.get(key) ?? []).toString('utf8');
  expect(text).toContain('"generation":1');
  void kv.transact((transaction) => {
    transaction.put(key, Buffer.from(text.replace('"generation":1', '"generation":2')));
  });
}
