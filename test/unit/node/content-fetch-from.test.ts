import { describe, expect, it } from 'vitest';
import type { BlobHash, PeerId } from '../../../crdt/ids.ts';
import { blobsProtocol } from '../../../protocols/blobs/limits.ts';
import { Channel } from '../../../protocols/wire/channel.ts';
import { ContentMesh, type ContentNode, expectSame } from '../../support/content-mesh.ts';

const sizeBytes = 3 * 1024 * 1024;

/** A node that asks, and one that holds a blob of so many bytes. */
async function startPair(): Promise<{ mesh: ContentMesh; asker: ContentNode; holder: ContentNode; hash: BlobHash }> {
  const mesh = new ContentMesh();
  const [asker, holder] = [await mesh.start('asker'), await mesh.start('holder')];
  await mesh.put(holder, [mesh.bytes(sizeBytes)]);
  const { value: blob } = await holder.blobs.list()[Symbol.asyncIterator]().next();
  if (blob === undefined) throw new Error('the holder has no blob');
  return { mesh, asker, holder, hash: blob.hash };
}

/** A member that answers whatever it is asked for with these bytes. */
async function startAnswering(mesh: ContentMesh, name: string, answer: Uint8Array): Promise<PeerId> {
  const network = mesh.hub.join(name as PeerId);
  network.handle(blobsProtocol, async (stream) => {
    const channel = new Channel(stream, { clock: mesh.clock });
    while ((await channel.receive()) !== null) await channel.send(answer);
  });
  await network.start();
  await mesh.clock.advance(10);
  return name as PeerId;
}

describe('fetching a blob from one peer alone', () => {
  it('gives what the peer has, and keeps none of it', async () => {
    const { mesh, asker, holder, hash } = await startPair();
    const bytes = await mesh.run(asker.plane.fetchFrom(holder.peer, hash, sizeBytes));
    const expected = await holder.plane.lendBlob(hash);
    expectSame(bytes as Uint8Array, expected as Uint8Array);
    expect(await asker.plane.lendBlob(hash)).toBeUndefined();
  });

  it('gives nothing when the peer says that it has none, whoever else has it', async () => {
    const { mesh, asker, holder, hash } = await startPair();
    const empty = await mesh.start('empty');
    const both = [empty, holder].map(({ peer }) => asker.plane.fetchFrom(peer, hash, sizeBytes));
    const [none, some] = await mesh.run(Promise.all(both));
    expect(none).toBeUndefined();
    expect(some).toHaveLength((await holder.plane.lendBlob(hash))?.length ?? 0);
  });

  it('gives nothing when the peer sends something else, and while it is left alone for that', async () => {
    const { mesh, asker, hash } = await startPair();
    const liar = await startAnswering(mesh, 'liar', Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff));
    expect(await mesh.run(asker.plane.fetchFrom(liar, hash, sizeBytes))).toBeUndefined();
    await mesh.clock.advance(5_000);
    expect(await mesh.run(asker.plane.fetchFrom(liar, hash, sizeBytes))).toBeUndefined();
  });

  it('says that it knows nothing when the connection breaks in the middle, though it comes back at once', async () => {
    const { mesh, asker, holder, hash } = await startPair();
    mesh.hub.hold(holder.peer, asker.peer);
    const fetched = asker.plane.fetchFrom(holder.peer, hash, sizeBytes).catch((error: unknown) => error);
    await mesh.clock.advance(50);
    mesh.hub.dropConnection(asker.peer, holder.peer);
    mesh.hub.release(holder.peer, asker.peer);
    expect(await mesh.run(fetched)).toMatchObject({ code: 'stream_failed' });
    await mesh.until(() => asker.network.connectedPeers().includes(holder.peer));
    expect(await mesh.run(asker.plane.fetchFrom(holder.peer, hash, sizeBytes))).toBeDefined();
  });

  it('says that it knows nothing when the connection breaks, of a peer that has sent something else long ago, too', async () => {
    const { mesh, asker, hash } = await startPair();
    let isLiar = true;
    const network = mesh.hub.join('mended' as PeerId);
    network.handle(blobsProtocol, async (stream) => {
      const channel = new Channel(stream, { clock: mesh.clock });
      await channel.receive();
      if (isLiar) await channel.send(Uint8Array.of(0xff));
      else channel.reset(new Error('it breaks'));
    });
    await network.start();
    await mesh.clock.advance(10);
    const fetched = () => mesh.run(asker.plane.fetchFrom(network.localPeer, hash, sizeBytes));
    expect(await fetched()).toBeUndefined();
    isLiar = false;
    await mesh.clock.advance(61_000);
    await expect(fetched()).rejects.toMatchObject({ code: 'stream_failed' });
    // It is left alone for the break now, and that says nothing either.
    await expect(fetched()).rejects.toMatchObject({ code: 'stream_failed' });
  });

  it('says that it knows nothing of a peer that is gone', async () => {
    const { mesh, asker, holder, hash } = await startPair();
    await mesh.stop(holder);
    await expect(mesh.run(asker.plane.fetchFrom(holder.peer, hash, sizeBytes))).rejects.toMatchObject({
      code: 'stream_failed',
    });
  });
});
