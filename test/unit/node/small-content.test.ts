import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { defaultChunking } from '../../../crdt/chunking.ts';
import { blake3, blobHashOf, toHex } from '../../../crdt/digest.ts';
import type { Actor, ClusterId } from '../../../crdt/ids.ts';
import { buildManifest } from '../../../crdt/manifest.ts';
import { type Content, draftVersion, signVersion, type Version } from '../../../crdt/version.ts';
import { encodeGossip, gossipTopic, hintOf } from '../../../protocols/gossip/messages.ts';
import { hashed, smallBlobsOf, soleChunkOf } from '../../../src/node/content/small-content.ts';
import { ObjectStore } from '../../../src/node/object-store.ts';
import { Mesh } from '../../support/mesh.ts';

let mesh: Mesh;
afterEach(async () => {
  await mesh.stop();
});

const fetchedBytes = (name: string): number => mesh.get(name).metrics.value('anabranch_blobs_received_bytes_total');
const pendingAt = async (name: string): Promise<number> => (await mesh.get(name).node.status()).pendingContent;

function contentOf(bytes: Uint8Array): Content {
  const { root, size } = buildManifest([{ hash: blobHashOf(bytes), size: bytes.length }], defaultChunking);
  return { manifest: root, size, b3: toHex(blake3(bytes)) };
}

describe('a small content', () => {
  beforeEach(async () => {
    mesh = await Mesh.start(['alice', 'bob']);
  });

  it('comes with the gossip that tells of its version, so that nobody asks for it', async () => {
    await mesh.put('alice', 'key', 'x'.repeat(1_024));
    await mesh.until(() => mesh.heads('bob', 'key').length === 1);
    expect(await pendingAt('bob')).toBe(0);
    await mesh.settle();
    expect(fetchedBytes('bob')).toBe(0);
    expect(await mesh.text('bob', 'key')).toHaveLength(1_024);
  });

  it('comes with the gossip up to 16 KiB, where at least half of those who hear that are to hold it', async () => {
    await mesh.put('alice', 'largest', 'x'.repeat(16 * 1_024));
    await mesh.until(() => mesh.heads('bob', 'largest').length === 1);
    expect(await pendingAt('bob')).toBe(0);
    await mesh.settle();
    expect(fetchedBytes('bob')).toBe(0);
    expect(await mesh.text('bob', 'largest')).toHaveLength(16 * 1_024);
    await mesh.put('alice', 'larger', 'x'.repeat(16 * 1_024 + 1));
    await mesh.settle();
    expect(fetchedBytes('bob')).toBeGreaterThan(16 * 1_024);
  });

  it('shares a message with what is written beside it, whatever slots their objects are of', async () => {
    const sent = (): number => mesh.get('alice').metrics.value('anabranch_gossip_hints_total', { outcome: 'sent' });
    const before = sent();
    await Promise.all(Array.from({ length: 12 }, (_, index) => mesh.put('alice', `beside-${index}`, `${index}`)));
    await mesh.until(
      () => Array.from({ length: 12 }, (_, index) => mesh.heads('bob', `beside-${index}`)).flat().length === 12,
    );
    expect(sent() - before).toBeLessThanOrEqual(2);
  });

  it('comes with its record when a node catches up', async () => {
    await mesh.stopNode('bob');
    for (let index = 0; index < 50; index += 1) await mesh.put('alice', `key-${index}`, `${index}`.padEnd(4_096, '.'));
    // What is gossiped last is on its way no more when bob is back.
    await mesh.settle();
    await mesh.startNode('bob');
    await mesh.settle();
    expect(await pendingAt('bob')).toBe(0);
    expect(fetchedBytes('bob')).toBe(0);
    for (let index = 0; index < 50; index += 1) {
      expect((await mesh.text('bob', `key-${index}`)).startsWith(`${index}.`)).toBe(true);
    }
  });

  it('is asked for as any other when it is longer', async () => {
    await mesh.stopNode('bob');
    await mesh.put('alice', 'long', 'x'.repeat(4_097));
    await mesh.startNode('bob');
    await mesh.settle();
    expect(fetchedBytes('bob')).toBe(4_097);
    expect(await mesh.text('bob', 'long')).toHaveLength(4_097);
  });
});

describe('a content that comes with a record', () => {
  it('is passed over when it is not what the version says, and asked for instead', async () => {
    mesh = new Mesh(['alice', 'mallory']);
    const alice = await mesh.startNode('alice');
    const mallory = await mesh.impersonate('mallory');
    await mesh.settle(100);
    const { cluster } = await alice.node.status();
    const told = Buffer.from('what the version says');
    const version = signed(mallory, cluster, contentOf(told));
    const doc = new ObjectStore({ cluster, slots: 16 }).documentId('test', 'key');
    const topic = gossipTopic(cluster, new ObjectStore({ cluster, slots: 16 }).slotOf(doc));
    const hint = hintOf(doc, [version.id], [Buffer.from(version.text)], [Buffer.from('what the version saws')]);
    await mallory.network.publish(topic, encodeGossip([hint]));
    await mesh.until(() => mesh.heads('alice', 'key').length === 1);
    expect(await pendingAt('alice')).toBe(1);
    await mallory.network.stop();
  });

  it('counts only with the size, the hash and the manifest that the version names', () => {
    const bytes = Buffer.from('content');
    const content = contentOf(bytes);
    expect(smallBlobsOf(content, hashed(bytes))?.map(({ hash }) => hash)).toEqual([
      content.manifest,
      blobHashOf(bytes),
    ]);
    expect(smallBlobsOf({ ...content, size: content.size + 1 }, hashed(bytes))).toBeUndefined();
    expect(smallBlobsOf({ ...content, b3: toHex(blake3(Buffer.from('other'))) }, hashed(bytes))).toBeUndefined();
    expect(smallBlobsOf({ ...content, manifest: blobHashOf(bytes) }, hashed(bytes))).toBeUndefined();
    expect(smallBlobsOf(content, hashed(Buffer.from('contenT')))).toBeUndefined();
    expect(soleChunkOf(contentOf(new Uint8Array(0)))).toBeUndefined();
    expect(soleChunkOf(contentOf(new Uint8Array(16 * 1024)))).toBeDefined();
    expect(soleChunkOf(contentOf(new Uint8Array(16 * 1024 + 1)))).toBeUndefined();
  });
});

function signed(
  { member, signer }: Awaited<ReturnType<Mesh['impersonate']>>,
  cluster: ClusterId,
  content: Content,
): Version {
  const draft = draftVersion([], {
    ns: 'test',
    key: 'key',
    kind: 'put',
    dot: { actor: `${member.nodeId}.${'a'.repeat(13)}` as Actor, counter: 1 },
    content,
    type: 'text/plain',
    meta: {},
    author: 'admin',
    node: member.nodeId,
    time: 0,
    log: { seq: 0, hash: cluster },
  });
  if (!draft.ok) throw new Error(draft.error.message);
  return signVersion(draft.value, signer, cluster);
}
