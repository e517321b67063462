import { describe, expect, it } from 'vitest';
import type { Content } from '../../../crdt/version.ts';
import { ContentMesh, expectSame, joined, pieces } from '../../support/content-mesh.ts';

const mebibyte = 1024 * 1024;

describe('opening content', () => {
  it('streams it chunk by chunk, or exactly the range asked for', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const bytes = mesh.bytes(5 * mebibyte);
    const content = await mesh.put(alice, pieces(bytes, 65_536));
    expectSame(await mesh.read(alice, content), bytes);
    for (const [start, end] of [
      [0, 1],
      [bytes.length - 1, bytes.length],
      [mebibyte, 3 * mebibyte + 5],
      [7, 7],
      [4 * mebibyte, 9 * mebibyte],
    ] as const) {
      expectSame(await mesh.read(alice, content, { start, end }), bytes.slice(start, end));
    }
  });

  it('streams content in transit as it arrives, before it is whole', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const bytes = mesh.bytes(16 * mebibyte);
    const content = await mesh.put(alice, pieces(bytes, mebibyte));
    await mesh.want(bob, content);
    const opened = await mesh.open(bob, content);
    expect(opened.ok).toBe(true);
    expect(bob.plane.holds(content)).toBe(false);
    if (opened.ok) expectSame(await mesh.run(joined(opened.value)), bytes);
    // What the pull brought while the reader looked for it was never missing.
    expect(bob.log.linesOf('content:incomplete')).toEqual([]);
  });

  it('brings a reader its part before the rest of a long queue', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const others: Content[] = [];
    for (let index = 0; index < 20; index++) others.push(await mesh.put(alice, [mesh.bytes(4 * mebibyte)]));
    const bytes = mesh.bytes(2 * mebibyte);
    const content = await mesh.put(alice, [bytes]);
    for (const [index, other] of others.entries()) await mesh.want(bob, other, `other${index}`);
    await mesh.want(bob, content, 'last');
    await mesh.clock.advance(20);
    expectSame(await mesh.read(bob, content), bytes);
    expect(bob.plane.pending()).toBeGreaterThan(10);
  });

  it('refuses after 10 s without progress, not before', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const bob = await mesh.start('bob');
    const { content } = await mesh.run(alice.plane.ingest([mesh.bytes(100)], 'files'));
    const startMs = mesh.clock.monotonicMs();
    const opened = await mesh.open(bob, content);
    expect(opened).toMatchObject({ ok: false, error: { code: 'content_unavailable' } });
    expect(mesh.clock.monotonicMs() - startMs).toBeGreaterThanOrEqual(10_000);
    expect(mesh.clock.monotonicMs() - startMs).toBeLessThan(10_600);
  });

  it('waits through an interruption shorter than that, and throws in the stream after a longer one', async () => {
    const mesh = new ContentMesh();
    const [alice, bob] = [await mesh.start('alice'), await mesh.start('bob')];
    const bytes = mesh.bytes(30 * mebibyte);
    const content = await mesh.put(alice, pieces(bytes, mebibyte));
    const reading = (await mesh.run(bob.plane.open(content))) as { ok: true; value: AsyncIterable<Uint8Array> };
    const iterator = reading.value[Symbol.asyncIterator]();
    await mesh.run(iterator.next());
    mesh.hub.partition([alice.peer], [bob.peer]);
    await mesh.clock.advance(6_000);
    mesh.hub.heal();
    for (let part = 0; part < 8; part++) expect((await mesh.run(iterator.next())).done).toBe(false);
    mesh.hub.partition([alice.peer], [bob.peer]);
    const rest = async (): Promise<void> => {
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next());
    };
    await expect(mesh.run(rest())).rejects.toMatchObject({ code: 'content_unavailable' });
  });

  it('ends with the signal, and when the node stops', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const bob = await mesh.start('bob');
    const { content } = await mesh.run(alice.plane.ingest([mesh.bytes(100)], 'files'));
    const abort = new AbortController();
    const opening = bob.plane.open(content, { signal: abort.signal });
    const stopped = bob.plane.open(content);
    await mesh.clock.advance(1_000);
    abort.abort(new Error('the client has gone'));
    await expect(mesh.run(opening)).rejects.toThrow('the client has gone');
    stopped.catch(() => undefined);
    await mesh.run(bob.plane.stop());
    await expect(mesh.run(stopped)).rejects.toMatchObject({ code: 'shutting_down' });
  });

  it('refuses content whose version lies about its size or its b3', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const content = await mesh.put(alice, [mesh.bytes(1_000)]);
    for (const lie of [{ size: 999 }, { b3: '0'.repeat(64) }]) {
      expect(await mesh.open(alice, { ...content, ...lie })).toMatchObject({
        ok: false,
        error: { code: 'content_unavailable' },
      });
    }
  });

  it('does not hold on to anything when a reader never reads or leaves early', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice');
    const content = await mesh.put(alice, pieces(mesh.bytes(8 * mebibyte), mebibyte));
    for (let reader = 0; reader < 40; reader++) {
      const opened = await mesh.open(alice, content);
      if (!opened.ok || reader % 2 === 0) continue;
      for await (const _part of opened.value) break;
    }
    const gets: number[] = [];
    const get = alice.blobs.get.bind(alice.blobs);
    let underWay = 0;
    alice.blobs.get = async (hash, options) => {
      gets.push(++underWay);
      await mesh.clock.sleep(1);
      underWay -= 1;
      return get(hash, options);
    };
    await mesh.read(alice, content);
    // All read-ahead is there for the last reader.
    expect(Math.max(...gets)).toBe(4);
  });
});
