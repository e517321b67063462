import { describe, expect, it } from 'vitest';
import type { PeerId } from '../../../crdt/ids.ts';
import type { Content } from '../../../crdt/version.ts';
import { ReadCache } from '../../../src/node/content/read-cache.ts';
import { ContentMesh, type ContentNode, expectSame, joined, pieces, subjectNamed } from '../../support/content-mesh.ts';
import { storedBlobs } from '../../support/stored-blobs.ts';

const mebibyte = 1024 * 1024;
const served = ({ metrics }: ContentNode): number => metrics.value('anabranch_blobs_served_bytes_total');

/** Two holders, and a reader that is to hold nothing. */
async function threeNodes(): Promise<{ mesh: ContentMesh; holders: ContentNode[]; reader: ContentNode }> {
  const mesh = new ContentMesh();
  const holders = [await mesh.start('alice'), await mesh.start('carol')];
  const reader = await mesh.start('bob', {}, { shouldHold: () => false });
  return { mesh, holders, reader };
}

async function putOnAll(mesh: ContentMesh, holders: readonly ContentNode[], bytes: Uint8Array): Promise<Content> {
  let content: Content | undefined;
  for (const holder of holders) content = await mesh.put(holder, pieces(bytes, 65_536));
  return content as Content;
}

describe('reading at a node that is not to hold the content', () => {
  it('streams all of it or a range from holders, and keeps nothing and notes no job', async () => {
    const { mesh, holders, reader } = await threeNodes();
    const bytes = mesh.bytes(9 * mebibyte);
    const content = await putOnAll(mesh, holders, bytes);
    await mesh.want(reader, content);
    expectSame(await mesh.read(reader, content), bytes);
    for (const [start, end] of [
      [0, 1],
      [3 * mebibyte, 5 * mebibyte + 7],
      [bytes.length - 3, bytes.length],
      [mebibyte, mebibyte],
    ] as const) {
      expectSame(await mesh.read(reader, content, { start, end }), bytes.slice(start, end));
    }
    expect(reader.plane.pending()).toBe(0);
    expect(reader.plane.holds(content)).toBe(false);
    expect(await storedBlobs(reader)).toEqual(new Map());
  });

  it('draws on several holders at once', async () => {
    const { mesh, holders, reader } = await threeNodes();
    const bytes = mesh.bytes(16 * mebibyte);
    expectSame(await mesh.read(reader, await putOnAll(mesh, holders, bytes)), bytes);
    for (const holder of holders) expect(served(holder)).toBeGreaterThan(2 * mebibyte);
  });

  it('reads ahead by a bounded window, however slowly its own reader reads', async () => {
    const { mesh, holders, reader } = await threeNodes();
    const bytes = mesh.bytes(40 * mebibyte);
    const content = await putOnAll(mesh, holders, bytes);
    const opened = await mesh.open(reader, content);
    if (!opened.ok) throw new Error(opened.error.message);
    const parts = opened.value[Symbol.asyncIterator]();
    for (let part = 0; part < 3; part++) await mesh.run(parts.next());
    await mesh.clock.advance(60_000);
    // Three that were handed out, and eight more: 512 KiB each on average, 2 MiB at most.
    expect(reader.metrics.value('anabranch_blobs_received_bytes_total')).toBeLessThan(12 * mebibyte);
    await mesh.run(Promise.resolve(parts.return?.()));
  });

  it('goes on with another holder when one dies in the middle', async () => {
    const { mesh, holders, reader } = await threeNodes();
    const bytes = mesh.bytes(24 * mebibyte);
    const content = await putOnAll(mesh, holders, bytes);
    const opened = await mesh.open(reader, content);
    if (!opened.ok) throw new Error(opened.error.message);
    const parts: Uint8Array[] = [];
    for await (const part of stepwise(mesh, opened.value)) {
      if (parts.length === 6) await holders[0]?.network.stop();
      parts.push(part);
    }
    expectSame(new Uint8Array(Buffer.concat(parts)), bytes);
  });

  it('is refused after 10 s while every holder is away, and works again when one is back', async () => {
    const { mesh, holders, reader } = await threeNodes();
    const bytes = mesh.bytes(2 * mebibyte);
    const content = await putOnAll(mesh, holders, bytes);
    mesh.hub.partition([reader.peer], ['alice' as PeerId, 'carol' as PeerId]);
    const startMs = mesh.clock.monotonicMs();
    expect(await mesh.open(reader, content)).toMatchObject({ ok: false, error: { code: 'content_unavailable' } });
    expect(mesh.clock.monotonicMs() - startMs).toBeLessThan(11_000);
    mesh.hub.heal();
    await mesh.clock.advance(100);
    expectSame(await mesh.read(reader, content), bytes);
  });

  it('passes over a holder whose copy has rotted', async () => {
    const { mesh, holders, reader } = await threeNodes();
    const bytes = mesh.bytes(4 * mebibyte);
    const content = await putOnAll(mesh, holders, bytes);
    for (const hash of holders[0]?.blobs.hashes() ?? []) holders[0]?.blobs.corrupt(hash, mesh.random);
    expectSame(await mesh.read(reader, content), bytes);
  });

  it('asks the holders that are named for the version that is read', async () => {
    const mesh = new ContentMesh();
    const [alice, carol] = [await mesh.start('alice'), await mesh.start('carol')];
    const bytes = mesh.bytes(mebibyte);
    const content = await putOnAll(mesh, [alice, carol], bytes);
    const reader = await mesh.start(
      'bob',
      {},
      {
        shouldHold: () => false,
        holdersOf: (_, subject) => (subject?.key === 'v7' ? [carol.peer] : [alice.peer]),
      },
    );
    const opened = await mesh.run(reader.plane.open(content, { subject: subjectNamed('v7') }));
    if (!opened.ok) throw new Error(opened.error.message);
    expectSame(await mesh.run(joined(opened.value)), bytes);
    expect(served(alice)).toBe(0);
  });

  it('costs one transfer for many ranges of one chunk', async () => {
    const { mesh, holders, reader } = await threeNodes();
    const bytes = mesh.bytes(100_000);
    const content = await putOnAll(mesh, holders, bytes);
    for (let start = 0; start < 50_000; start += 5_000) {
      expectSame(await mesh.read(reader, content, { start, end: start + 10 }), bytes.slice(start, start + 10));
    }
    expect(reader.metrics.value('anabranch_blobs_received_bytes_total')).toBeLessThan(110_000);
  });
});

describe('the read cache', () => {
  it('stays within its bytes, whatever is put in, and keeps what was used last', () => {
    const cache = new ReadCache(100_000);
    for (let index = 0; index < 50; index++) {
      cache.add(`blob-${index}` as never, new Uint8Array(9_000));
      expect(cache.bytes).toBeLessThanOrEqual(100_000);
      cache.get('blob-0' as never);
    }
    expect(cache.get('blob-0' as never)).toBeDefined();
    expect(cache.get('blob-1' as never)).toBeUndefined();
    cache.add('huge' as never, new Uint8Array(60_000));
    expect(cache.get('huge' as never)).toBeUndefined();
  });
});

/** The parts of a stream, each waited for in virtual time. */
async function* stepwise(mesh: ContentMesh, stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const parts = stream[Symbol.asyncIterator]();
  for (let next = await mesh.run(parts.next()); next.done !== true; next = await mesh.run(parts.next()))
    yield next.value;
}
