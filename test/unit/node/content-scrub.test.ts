import { describe, expect, it } from 'vitest';
import { blake3, blobHashOf } from '../../../crdt/digest.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import type { Content } from '../../../crdt/version.ts';
import type { ScrubCounts } from '../../../src/node/content/content-plane.ts';
import { ContentMesh, type ContentNode, type Disk, expectSame } from '../../support/content-mesh.ts';

const mebibyte = 1024 * 1024;
const dayMs = 24 * 3_600_000;
const never = new AbortController().signal;

const scrub = (mesh: ContentMesh, node: ContentNode): Promise<ScrubCounts> => mesh.run(node.plane.scrubNow(never));

async function copied(mesh: ContentMesh, bytes: Uint8Array, disk?: Disk): Promise<[ContentNode, ContentNode, Content]> {
  const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob', disk)];
  const content = await mesh.put(alice, [bytes]);
  await mesh.want(bob, content);
  await mesh.until(() => bob.plane.holds(content));
  return [alice, bob, content];
}

describe('the scrub', () => {
  it('finds nothing amiss in a sound store, and counts what it looked at', async () => {
    const mesh = new ContentMesh();
    const [alice, , content] = await copied(mesh, mesh.bytes(4 * mebibyte));
    await mesh.put(alice, [mesh.bytes(700)]);
    const counts = await scrub(mesh, alice);
    expect(counts).toMatchObject({ damaged: 0, incomplete: 0, leftovers: 0 });
    expect(counts.bytes).toBeGreaterThan(content.size + 700);
    expect(alice.plane.scrubStatus().last).toMatchObject(counts);
  });

  it('puts a rotten file or row aside, says the content is whole no more, and has it again from a holder', async () => {
    const mesh = new ContentMesh();
    const bytes = mesh.bytes(4 * mebibyte);
    const [alice, bob, content] = await copied(mesh, bytes);
    const small = await mesh.put(alice, [bytes.subarray(0, 900)]);
    await mesh.want(bob, small, 'small');
    await mesh.until(() => bob.plane.holds(small));
    bob.blobs.corrupt(bob.blobs.hashes()[1] as BlobHash, mesh.random);
    bob.kv.rot(Uint8Array.of(0x40, ...blake3(bytes.subarray(0, 900))), mesh.random);
    mesh.hub.partition([alice.peer], [bob.peer]);
    expect(await scrub(mesh, bob)).toMatchObject({ damaged: 2 });
    await mesh.clock.advance(100);
    expect([bob.plane.holds(content), bob.plane.holds(small)]).toEqual([false, false]);
    mesh.hub.heal();
    await mesh.until(() => bob.plane.holds(content) && bob.plane.holds(small) && bob.plane.pending() === 0);
    expect(await scrub(mesh, bob)).toMatchObject({ damaged: 0, incomplete: 0 });
    mesh.hub.partition([alice.peer], [bob.peer]);
    expectSame(await mesh.read(bob, content), bytes);
    expect(bob.metrics.value('anabranch_scrub_found_total', { kind: 'damaged' })).toBe(2);
  });

  it('finds files that are gone or cut short', async () => {
    const mesh = new ContentMesh();
    const bytes = mesh.bytes(4 * mebibyte);
    const [, bob, content] = await copied(mesh, bytes);
    await mesh.run(bob.blobs.delete(bob.blobs.hashes()[0] as BlobHash));
    expect(await scrub(mesh, bob)).toMatchObject({ incomplete: 1 });
    await mesh.until(() => bob.plane.holds(content));
    expect(await scrub(mesh, bob)).toMatchObject({ incomplete: 0 });
  });

  it('reopens every content that shares what has rotted', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const shared = mesh.bytes(3 * mebibyte);
    const contents: Content[] = [];
    for (let index = 0; index < 3; index++) contents.push(await mesh.put(alice, [shared, mesh.bytes(100_000)]));
    const first = await firstChunk(alice);
    alice.blobs.corrupt(first, mesh.random);
    await scrub(mesh, alice);
    await mesh.clock.advance(100);
    expect(contents.map((content) => alice.plane.holds(content))).toEqual([false, false, false]);
  });

  it('removes what nothing needs, and nothing that an upload under way counts on', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const orphan = mesh.bytes(50_000);
    await mesh.run(alice.blobs.put(blobHashOf(orphan), orphan));
    const staged = await mesh.run(alice.plane.ingest([mesh.bytes(2 * mebibyte)], 'files'));
    expect(await scrub(mesh, alice)).toMatchObject({ leftovers: 1 });
    await mesh.run(alice.kv.transact((transaction) => alice.plane.keep(transaction, staged)));
    staged.release(true);
    expect(await scrub(mesh, alice)).toMatchObject({ leftovers: 0, incomplete: 0 });
    await mesh.read(alice, staged.content);
  });

  it('goes through everything once in its period, evenly, and mends on its way', async () => {
    const mesh = new ContentMesh();
    const [alice, bob, content] = await copied(mesh, mesh.bytes(8 * mebibyte));
    await mesh.clock.advance(7 * dayMs);
    const { position, last } = bob.plane.scrubStatus();
    expect(last).toBeNull();
    expect(position).toBeGreaterThan(0.2);
    expect(position).toBeLessThan(0.6);
    for (const hash of bob.blobs.hashes().slice(0, 3)) bob.blobs.corrupt(hash, mesh.random);
    await mesh.clock.advance(14.1 * dayMs);
    expect(bob.plane.scrubStatus().last).not.toBeNull();
    expect(bob.metrics.value('anabranch_content_corrupt_blobs_total')).toBe(3);
    expect([bob.plane.holds(content), bob.plane.pending()]).toEqual([true, 0]);
    expect(alice.metrics.value('anabranch_content_corrupt_blobs_total')).toBe(0);
  });

  it('goes on where it was after a restart', async () => {
    const mesh = new ContentMesh();
    let alice = await mesh.start('alice');
    for (let index = 0; index < 40; index++) await mesh.put(alice, [mesh.bytes(300_000)]);
    let looked = 0;
    for (let days = 0; days < 14; days += 2) {
      const before = alice.plane.scrubStatus().position;
      await mesh.clock.advance(2 * dayMs);
      looked += alice.metrics.value('anabranch_scrub_bytes_total');
      const { position } = alice.plane.scrubStatus();
      alice = await mesh.start('alice', await mesh.stop(alice));
      expect(alice.plane.scrubStatus().position).toBeCloseTo(position, 3);
      expect(position).toBeGreaterThan(before);
    }
    // Each was read once, and hardly any twice.
    expect(looked).toBeLessThan(45 * 300_000);
    expect(looked).toBeGreaterThan(30 * 300_000);
  });

  it('reads no more than its rate allows', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice', {}, { scrub: { bytesPerSecondMax: mebibyte } });
    await mesh.put(alice, [mesh.bytes(20 * mebibyte)]);
    const startMs = mesh.clock.monotonicMs();
    await scrub(mesh, alice);
    expect(mesh.clock.monotonicMs() - startMs).toBeGreaterThan(19_000);
    expect(mesh.clock.monotonicMs() - startMs).toBeLessThan(23_000);
  });

  it('ends with its signal and when the node stops, and runs once for all who ask', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice', {}, { scrub: { bytesPerSecondMax: mebibyte } });
    await mesh.put(alice, [mesh.bytes(20 * mebibyte)]);
    const abort = new AbortController();
    const scrubbing = alice.plane.scrubNow(abort.signal);
    expect(alice.plane.scrubNow(never)).toBe(scrubbing);
    await mesh.clock.advance(2_000);
    abort.abort(new Error('enough'));
    await expect(mesh.run(scrubbing)).rejects.toThrow('enough');
    const stopped = alice.plane.scrubNow(never);
    stopped.catch(() => undefined);
    await mesh.clock.advance(1_000);
    await mesh.run(alice.plane.stop());
    await expect(mesh.run(stopped)).rejects.toMatchObject({ code: 'shutting_down' });
  });
});

async function firstChunk(node: ContentNode): Promise<BlobHash> {
  const sizes = new Map<BlobHash, number>();
  for await (const { hash, sizeBytes } of node.blobs.list()) sizes.set(hash, sizeBytes);
  // Each content has a last chunk of its own; what is longer than those is shared.
  const [shared] = [...sizes].sort(([, left], [, right]) => right - left)[0] ?? [];
  return shared as BlobHash;
}
