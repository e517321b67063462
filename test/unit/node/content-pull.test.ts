import { describe, expect, it, vi } from 'vitest';
import { fromBase32 } from '../../../crdt/digest.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import { decodeManifest } from '../../../crdt/manifest.ts';
import type { Content } from '../../../crdt/version.ts';
import { blobKey } from '../../../src/node/content/content-keys.ts';
import { ContentMesh, type ContentNode, expectSame, pieces, subjectNamed } from '../../support/content-mesh.ts';

const mebibyte = 1024 * 1024;

async function blobHashes(node: ContentNode): Promise<BlobHash[]> {
  const hashes: BlobHash[] = [];
  for await (const { hash } of node.blobs.list()) hashes.push(hash);
  return hashes.sort();
}

/** The names of the blob store's calls and of finished transactions, in order. */
function recordCalls(node: ContentNode): string[] {
  const calls: string[] = [];
  for (const name of ['put', 'flush'] as const) {
    const original = node.blobs[name].bind(node.blobs) as (...args: unknown[]) => Promise<void>;
    node.blobs[name] = async (...args: unknown[]) => {
      await original(...args);
      calls.push(name);
    };
  }
  const transact = node.kv.transact.bind(node.kv);
  node.kv.transact = async (change) => {
    const result = await transact(change);
    calls.push('transact');
    return result;
  };
  return calls;
}

describe('pulling content', () => {
  it('makes a large content whole, flushes it, marks it in one transaction and then tells', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const bytes = mesh.bytes(9 * mebibyte);
    const content = await mesh.put(alice, pieces(bytes, 65_536));
    const calls = recordCalls(bob);
    await mesh.want(bob, content);
    expect(bob.plane.pending()).toBe(1);
    expect(bob.plane.holds(content)).toBe(false);
    await mesh.until(() => bob.stored.length > 0);
    expect(bob.stored).toEqual([subjectNamed('v1')]);
    expect(bob.plane.pending()).toBe(0);
    expect(bob.plane.holds(content)).toBe(true);
    expect(await blobHashes(bob)).toEqual(await blobHashes(alice));
    expect(calls.lastIndexOf('flush')).toBeGreaterThan(calls.lastIndexOf('put'));
    expect(calls.lastIndexOf('transact')).toBeGreaterThan(calls.lastIndexOf('flush'));
    await mesh.run(alice.plane.stop());
    expectSame(await mesh.read(bob, content), bytes);
  });

  it('pulls many small contents in few transactions and messages', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const contents: Content[] = [];
    for (let index = 0; index < 1_500; index++) contents.push(await mesh.put(alice, [mesh.bytes(2_000)]));
    await mesh.run(
      bob.kv.transact((transaction) => {
        for (const [index, content] of contents.entries())
          bob.plane.want(transaction, content, subjectNamed(`v${index}`));
      }),
    );
    expect(bob.plane.pending()).toBe(1_500);
    const calls = recordCalls(bob);
    const startMs = mesh.clock.monotonicMs();
    bob.plane.kick();
    await mesh.until(() => bob.stored.length === 1_500);
    expect(bob.plane.pending()).toBe(0);
    expect(calls).not.toContain('flush');
    expect(calls.length).toBeLessThan(60);
    // With 1 ms of delay each way, asking one by one would take 6 s.
    expect(mesh.clock.monotonicMs() - startMs).toBeLessThan(150);
  });

  it('tells every version that waits for the same content, and asks for it once', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const content = await mesh.put(alice, [mesh.bytes(mebibyte)]);
    for (const version of ['v1', 'v2', 'v3']) await mesh.want(bob, content, version);
    await mesh.until(() => bob.stored.length === 3);
    expect(bob.metrics.value('anabranch_content_stored_total')).toBe(1);
    expect(bob.metrics.value('anabranch_blobs_received_bytes_total')).toBeLessThan(mebibyte + 2_000);
    expect(
      await mesh.run(bob.kv.transact((transaction) => bob.plane.want(transaction, content, subjectNamed('v4')))),
    ).toBe(false);
  });

  it('wants nothing that the node is not to hold', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const bob = await mesh.start('bob', {}, { shouldHold: ({ key }) => key === 'mine' });
    const content = await mesh.put(alice, [mesh.bytes(100)]);
    await mesh.want(bob, content, 'other');
    expect(bob.plane.pending()).toBe(0);
    await mesh.want(bob, content, 'mine');
    await mesh.until(() => bob.plane.holds(content));
  });

  it('asks only whom it is told to ask, with what is known of the content', async () => {
    const mesh = new ContentMesh();
    const [alice, carol] = [await mesh.start('alice'), await mesh.start('carol')];
    const asked: unknown[] = [];
    const bob = await mesh.start(
      'bob',
      {},
      {
        holdersOf: (wanted, subject) => {
          asked.push([wanted, subject]);
          return [carol.peer];
        },
      },
    );
    const content = await mesh.put(alice, [mesh.bytes(100)]);
    await mesh.want(bob, content);
    await mesh.clock.advance(60_000);
    expect(bob.plane.holds(content)).toBe(false);
    expect(asked).toContainEqual([{ manifest: content.manifest, size: 100 }, subjectNamed('v1')]);
    await mesh.want(carol, content);
    await mesh.until(() => bob.plane.holds(content));
    expect(alice.metrics.value('anabranch_blobs_served_bytes_total')).toBe(
      carol.metrics.value('anabranch_blobs_served_bytes_total'),
    );
  });

  it('asks who is said to have a content, and not its writer, who may have dropped it', async () => {
    const mesh = new ContentMesh();
    const [alice, carol] = [await mesh.start('alice'), await mesh.start('carol')];
    const lookedFor = vi.spyOn(alice.blobs, 'get');
    const options = { peerOf: () => alice.peer, namedHoldersOf: () => [carol.peer] };
    const bob = await mesh.start('bob', {}, options);
    for (const [index, size] of [mebibyte, 3 * mebibyte, 5 * mebibyte].entries()) {
      const content = await mesh.put(carol, [mesh.bytes(size)]);
      await mesh.want(bob, content, `v${index}`);
      await mesh.until(() => bob.plane.holds(content));
    }
    expect(lookedFor).not.toHaveBeenCalled();
  });

  describe('with a manifest that is a file, though the size of the content would not say so', () => {
    const cut = { chunkingOf: () => ({ algorithm: 'fastcdc-1', min: 64, average: 256, max: 1_024 }) as const };
    const started = async () => {
      const mesh = new ContentMesh();
      const [alice, bob] = [await mesh.start('alice', {}, cut), await mesh.start('bob')];
      const bytes = mesh.bytes(200_000);
      const content = await mesh.put(alice, [bytes]);
      const manifest = (await alice.blobs.get(content.manifest)) ?? new Uint8Array();
      expect(manifest.length).toBeGreaterThan(16_384);
      return { mesh, alice, bob, bytes, content, manifest };
    };

    it('counts on the one that is here when nobody else has it', async () => {
      const { mesh, alice, bob, bytes, content, manifest } = await started();
      await bob.blobs.put(content.manifest, manifest);
      await alice.blobs.delete(content.manifest);
      await mesh.want(bob, content);
      await mesh.until(() => bob.plane.holds(content));
      expectSame(await mesh.read(bob, content), bytes);
    });

    it('replaces one that is here and damaged', async () => {
      const { mesh, bob, content, manifest } = await started();
      const damaged = Uint8Array.from(manifest, (byte, at) => (at === 1_000 ? byte ^ 1 : byte));
      await bob.blobs.put(content.manifest, damaged);
      await mesh.want(bob, content);
      await mesh.until(() => bob.plane.holds(content));
      expectSame((await bob.blobs.get(content.manifest)) ?? new Uint8Array(), manifest);
    });

    it('fetches it once, and has patience, while a chunk is nowhere to be had', async () => {
      const { mesh, alice, bob, content, manifest } = await started();
      const decoded = decodeManifest(manifest);
      if (!decoded.ok || decoded.value.kind !== 'leaf') return expect.fail('it is no leaf');
      const lost = decoded.value.chunks[100]?.hash as BlobHash;
      await mesh.run(alice.kv.transact((transaction) => transaction.delete(blobKey(lost))));
      const read = vi.spyOn(alice.blobs, 'get');
      await mesh.want(bob, content);
      await mesh.clock.advance(120_000);
      expect(bob.plane.holds(content)).toBe(false);
      expect(read.mock.calls.filter(([hash]) => hash === content.manifest)).toHaveLength(1);
    });
  });

  it('goes on after a restart where it was, without fetching anything twice', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    let bob = await mesh.start('bob');
    const bytes = mesh.bytes(16 * mebibyte);
    const content = await mesh.put(alice, pieces(bytes, mebibyte));
    await mesh.want(bob, content);
    let received = 0;
    for (let life = 0; life < 4; life++) {
      const reached = (life + 1) * 3 * mebibyte - received;
      const node = bob;
      await mesh.until(() => node.metrics.value('anabranch_blobs_received_bytes_total') >= reached);
      received += node.metrics.value('anabranch_blobs_received_bytes_total');
      bob = await mesh.start('bob', await mesh.stop(bob));
      expect(bob.plane.pending()).toBe(1);
    }
    await mesh.until(() => bob.plane.holds(content));
    received += bob.metrics.value('anabranch_blobs_received_bytes_total');
    expect(received).toBeLessThan(bytes.length + 100_000);
    expectSame(await mesh.read(bob, content), bytes);
  });

  it('goes on after a power loss with whatever survived it', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    let bob = await mesh.start('bob');
    const bytes = mesh.bytes(12 * mebibyte);
    const content = await mesh.put(alice, pieces(bytes, mebibyte));
    await mesh.want(bob, content);
    await mesh.until(() => bob.metrics.value('anabranch_blobs_received_bytes_total') > 6 * mebibyte);
    await bob.network.stop();
    bob = await mesh.start('bob', { kv: bob.kv.crash(mesh.random), blobs: bob.blobs.crash(mesh.random) });
    await mesh.until(() => bob.plane.holds(content));
    expectSame(await mesh.read(bob, content), bytes);
  });

  it('draws on several holders, and finishes when one of them goes', async () => {
    const mesh = new ContentMesh();
    const [alice, carol] = [await mesh.start('alice'), await mesh.start('carol')];
    const bytes = mesh.bytes(24 * mebibyte);
    const content = await mesh.put(alice, pieces(bytes, mebibyte));
    await mesh.put(carol, pieces(bytes, mebibyte));
    const bob = await mesh.start('bob');
    await mesh.want(bob, content);
    await mesh.until(() => bob.metrics.value('anabranch_blobs_received_bytes_total') > 10 * mebibyte);
    const served = (node: ContentNode): number => node.metrics.value('anabranch_blobs_served_bytes_total');
    expect(served(alice)).toBeGreaterThan(2 * mebibyte);
    expect(served(carol)).toBeGreaterThan(2 * mebibyte);
    await carol.network.stop();
    await mesh.until(() => bob.plane.holds(content));
    expectSame(await mesh.read(bob, content), bytes);
  });

  it('waits for a holder that is away and goes on as soon as it is back', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const content = await mesh.put(alice, [mesh.bytes(3 * mebibyte)]);
    mesh.hub.partition([alice.peer], [bob.peer]);
    await mesh.clock.advance(100);
    await mesh.want(bob, content);
    await mesh.clock.advance(120_000);
    expect(bob.plane.pending()).toBe(1);
    mesh.hub.heal();
    const healedMs = mesh.clock.monotonicMs();
    await mesh.until(() => bob.plane.holds(content));
    expect(mesh.clock.monotonicMs() - healedMs).toBeLessThan(1_000);
  });

  it('is not held up by contents that nobody has', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    for (let index = 0; index < 1_200; index++) {
      const { content } = await mesh.run(alice.plane.ingest([mesh.bytes(50)], 'files'));
      await mesh.want(bob, content, `lost${index}`);
    }
    const content = await mesh.put(alice, [mesh.bytes(50)]);
    await mesh.want(bob, content, 'found');
    await mesh.until(() => bob.stored.length > 0);
    expect(bob.stored).toEqual([subjectNamed('found')]);
    expect(bob.plane.pending()).toBe(1_200);
  });

  it('rests while the disk is full, says so, and goes on when there is room', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const content = await mesh.put(alice, [mesh.bytes(8 * mebibyte)]);
    bob.blobs.setCapacity(3 * mebibyte);
    await mesh.want(bob, content);
    await mesh.until(() => bob.plane.paused() === 'disk_full');
    expect(bob.metrics.value('anabranch_content_paused')).toBe(1);
    expect(bob.log.linesOf('content:pulling_paused').length).toBe(1);
    await mesh.clock.advance(300_000);
    expect(bob.log.linesOf('content:pulling_paused').length).toBeLessThan(15);
    expect(bob.plane.holds(content)).toBe(false);
    bob.blobs.setCapacity(2 ** 40);
    await mesh.until(() => bob.plane.holds(content));
    expect(bob.plane.paused()).toBeUndefined();
    expect(bob.metrics.value('anabranch_content_paused')).toBe(0);
  });

  it('survives a failing disk and failing transactions', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const content = await mesh.put(alice, [mesh.bytes(5 * mebibyte)]);
    await mesh.run(bob.kv.transact((transaction) => bob.plane.want(transaction, content, subjectNamed('v1'))));
    bob.blobs.failNext('put', 'io_error', 3);
    bob.kv.failTransactions('io_error', 2);
    bob.plane.kick();
    await mesh.until(() => bob.plane.holds(content));
    expect(bob.log.linesOf('content:pull_failed').length).toBeGreaterThan(0);
  });

  it('stops within a bound, and its jobs outlive it', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const content = await mesh.put(alice, [mesh.bytes(20 * mebibyte)]);
    await mesh.want(bob, content);
    await mesh.clock.advance(5);
    const startMs = mesh.clock.monotonicMs();
    await mesh.run(bob.plane.stop());
    expect(mesh.clock.monotonicMs() - startMs).toBeLessThanOrEqual(2_000);
    expect(bob.plane.pending()).toBe(1);
  });
});

describe('content that rots', () => {
  const rotOne = async (mesh: ContentMesh, node: ContentNode, index: number): Promise<BlobHash> => {
    const hash = (await blobHashes(node))[index] as BlobHash;
    node.blobs.corrupt(hash, mesh.random);
    return hash;
  };

  it('is never served to a reader: it is put aside, fetched afresh and whole again', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const bytes = mesh.bytes(4 * mebibyte);
    const content = await mesh.put(alice, [bytes]);
    await mesh.want(bob, content);
    await mesh.until(() => bob.plane.holds(content));
    await rotOne(mesh, alice, 2);
    expectSame(await mesh.read(alice, content), bytes);
    expect(alice.metrics.value('anabranch_content_corrupt_blobs_total')).toBe(1);
    await mesh.until(() => alice.plane.holds(content) && alice.plane.pending() === 0);
    expectSame(await mesh.read(alice, content), bytes);
    expect(alice.metrics.value('anabranch_content_corrupt_blobs_total')).toBe(1);
  });

  it('reads as unavailable, and stays wanted, when nobody else has it', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const content = await mesh.put(alice, [mesh.bytes(300_000)]);
    await rotOne(mesh, alice, 0);
    expect(await mesh.open(alice, content)).toMatchObject({ ok: false, error: { code: 'content_unavailable' } });
    expect(alice.plane.holds(content)).toBe(false);
    expect(alice.plane.pending()).toBeGreaterThan(0);
  });

  it('is never served to a peer, and is repaired although no reader came upon it', async () => {
    const mesh = new ContentMesh();
    const [alice, carol] = [await mesh.start('alice'), await mesh.start('carol')];
    const bytes = mesh.bytes(4 * mebibyte);
    const content = await mesh.put(alice, [bytes]);
    await mesh.put(carol, [bytes]);
    const hash = await rotOne(mesh, alice, 1);
    const bob = await mesh.start('bob', {}, { holdersOf: () => [alice.peer] });
    await mesh.want(bob, content);
    await mesh.until(() => bob.plane.holds(content));
    expectSame(await mesh.read(bob, content), bytes);
    expect(bob.log.linesOf('blobs:holder_faulted')).toEqual([]);
    expect(alice.plane.pending()).toBe(0);
    expect(await blobHashes(alice)).toContain(hash);
  });

  it('is noticed in small blobs too', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const bytes = mesh.bytes(5_000);
    const content = await mesh.put(alice, [bytes]);
    await mesh.want(bob, content);
    await mesh.until(() => bob.plane.holds(content));
    alice.kv.rot(Uint8Array.of(0x40, ...(fromBase32(content.manifest) ?? [])), mesh.random);
    expectSame(await mesh.read(alice, content), bytes);
    await mesh.until(() => alice.plane.holds(content) && alice.plane.pending() === 0);
    expect(alice.metrics.value('anabranch_content_corrupt_blobs_total')).toBe(1);
  });
});
