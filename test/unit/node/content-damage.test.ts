import { describe, expect, it } from 'vitest';
import { blake3, blobHashOf } from '../../../crdt/digest.ts';
import type { BlobHash } from '../../../crdt/ids.ts';
import type { Content } from '../../../crdt/version.ts';
import { ContentMesh, type ContentNode, expectSame, fillDiskAt } from '../../support/content-mesh.ts';

const mebibyte = 1024 * 1024;
const sound = { damaged: 0, incomplete: 0 };

/** A content that alice wrote and bob has, too, and then cannot ask her for. */
async function copied(
  length: number,
): Promise<{ mesh: ContentMesh; alice: ContentNode; bob: ContentNode; content: Content; bytes: Uint8Array }> {
  const mesh = new ContentMesh();
  const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
  const bytes = mesh.bytes(length);
  const content = await mesh.put(alice, [bytes]);
  await mesh.want(bob, content);
  await mesh.until(() => bob.plane.holds(content));
  mesh.hub.partition([alice.peer], [bob.peer]);
  return { mesh, alice, bob, content, bytes };
}

/** The file of a large content that comes first, or the row of a small one, rots. */
function rot(mesh: ContentMesh, node: ContentNode, bytes: Uint8Array): void {
  if (bytes.length < 16 * 1024) node.kv.rot(Uint8Array.of(0x40, ...blake3(bytes)), mesh.random);
  else for (const hash of node.blobs.hashes()) node.blobs.corrupt(hash, mesh.random);
}

const shown = (node: ContentNode): readonly number[] =>
  ['damaged', 'incomplete'].map((kind) => node.metrics.value('anabranch_content_damaged', { kind }) ?? 0);

describe('a content that has rotted', () => {
  it.each([
    ['a read', async (mesh: ContentMesh, bob: ContentNode, content: Content) => void mesh.open(bob, content)],
    [
      'a challenge, or a peer that wants it',
      async (mesh: ContentMesh, bob: ContentNode, _: Content, bytes: Uint8Array) => {
        const hashes = bytes.length < 16 * 1024 ? [blobHashOf(bytes)] : bob.blobs.hashes();
        for (const hash of hashes) await mesh.run(Promise.resolve(bob.plane.lendBlob(hash)));
      },
    ],
    [
      'the scrub',
      async (mesh: ContentMesh, bob: ContentNode) =>
        void (await mesh.run(bob.plane.scrubNow(new AbortController().signal))),
    ],
  ])('is counted when %s finds it, until it is mended', async (_name, find) => {
    for (const length of [900, 4 * mebibyte]) {
      const { mesh, bob, content, bytes } = await copied(length);
      expect(bob.plane.damaged()).toEqual(sound);
      rot(mesh, bob, bytes);
      await find(mesh, bob, content, bytes);
      await mesh.until(() => !bob.plane.holds(content));
      await mesh.clock.advance(100);
      expect(bob.plane.damaged()).toEqual({ damaged: 1, incomplete: 0 });
      expect(shown(bob)).toEqual([1, 0]);
      mesh.hub.heal();
      await mesh.until(() => bob.plane.holds(content));
      await mesh.clock.advance(100);
      expect([bob.plane.damaged(), shown(bob)]).toEqual([sound, [0, 0]]);
      expectSame(await mesh.read(bob, content), bytes);
    }
  });

  it('is counted after a restart as well', async () => {
    const { mesh, bob, content, bytes } = await copied(900);
    rot(mesh, bob, bytes);
    await mesh.run(Promise.resolve(bob.plane.lendBlob(blobHashOf(bytes))));
    await mesh.until(() => !bob.plane.holds(content));
    const again = await mesh.start('bob', await mesh.stop(bob));
    expect([again.plane.damaged(), shown(again)]).toEqual([{ damaged: 1, incomplete: 0 }, [1, 0]]);
    mesh.hub.heal();
    await mesh.until(() => again.plane.holds(content));
    expect(again.plane.damaged()).toEqual(sound);
  });

  it('is counted no more when it is dropped, or written here anew', async () => {
    const { mesh, bob, content, bytes } = await copied(900);
    for (const mend of [
      () => mesh.put(bob, [bytes]),
      () => mesh.run(bob.kv.transact((transaction) => bob.plane.drop(transaction, content.manifest))),
    ]) {
      rot(mesh, bob, bytes);
      await mesh.run(Promise.resolve(bob.plane.lendBlob(blobHashOf(bytes))));
      await mesh.until(() => bob.plane.damaged().damaged === 1);
      await mend();
      await mesh.clock.advance(100);
      expect([bob.plane.damaged(), shown(bob)]).toEqual([sound, [0, 0]]);
    }
  });
});

it('a content of which a file has vanished is told from one that has rotted', async () => {
  const { mesh, bob, content } = await copied(4 * mebibyte);
  await mesh.run(bob.blobs.delete(bob.blobs.hashes()[0] as BlobHash));
  bob.plane.doubt(content.manifest);
  await mesh.until(() => !bob.plane.holds(content));
  expect(bob.plane.damaged()).toEqual({ damaged: 0, incomplete: 1 });
  mesh.hub.heal();
  await mesh.until(() => bob.plane.holds(content));
  expect(bob.plane.damaged()).toEqual(sound);
});

it.each([1, 2, 3, 4])(
  'what rotted is fetched afresh though transaction %i finds no room while that is noted',
  async (nth) => {
    const { mesh, bob, content } = await copied(4 * mebibyte);
    mesh.hub.heal();
    await mesh.clock.advance(61_000);
    const hash = bob.blobs.hashes()[0] as BlobHash;
    bob.blobs.corrupt(hash, mesh.random);
    const transactions = fillDiskAt(bob, nth);
    await mesh.run(Promise.resolve(bob.plane.lendBlob(hash)));
    await mesh.clock.advance(50_000);
    expect(transactions()).toBeGreaterThanOrEqual(nth);
    expect([bob.plane.holds(content), bob.plane.pending()]).toEqual([true, 0]);
  },
);
