import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PeerId } from '../../../crdt/ids.ts';
import { RateLimiter, rateLimitMin } from '../../../protocols/blobs/rate-limit.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { parseByteRate } from '../../../src/byte-rate.ts';
import { ContentMesh, expectSame } from '../../support/content-mesh.ts';

const mebibyte = 1024 * 1024;
const peer = (name: string): PeerId => name as PeerId;

/** Takes again and again for some peers, each in pieces of its own size; what each was granted. */
async function share(
  rate: number,
  pieces: Readonly<Record<string, number>>,
  forMs: number,
): Promise<Map<string, number>> {
  const clock = new VirtualClock();
  const limiter = new RateLimiter(clock, rate);
  const granted = new Map<string, number>();
  let isOver = false;
  for (const [name, bytes] of Object.entries(pieces)) {
    void (async () => {
      while (!isOver) {
        await limiter.take(peer(name), bytes);
        granted.set(name, (granted.get(name) ?? 0) + bytes);
      }
    })();
  }
  await clock.advance(forMs);
  isOver = true;
  limiter.close();
  return granted;
}

describe('the rate limiter', () => {
  it('lets pass as much as was set, whoever asks', async () => {
    const rates = fc.integer({ min: rateLimitMin, max: 100 * mebibyte });
    const pieces = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.integer({ min: 1_000, max: 262_144 }), {
      minKeys: 1,
      noNullPrototype: true,
    });
    await fc.assert(
      fc.asyncProperty(rates, pieces, async (rate, wanted) => {
        const granted = await share(rate, wanted, 20_000);
        const total = [...granted.values()].reduce((sum, bytes) => sum + bytes, 0);
        const most = Math.max(...Object.values(wanted));
        expect(total).toBeLessThanOrEqual(rate * 20.1 + 2 * most + Object.keys(wanted).length * most);
        expect(total).toBeGreaterThan(rate * 19);
      }),
      { numRuns: 20 },
    );
  });

  it('gives peers the same share, however large their pieces are', async () => {
    const granted = await share(mebibyte, { large: 262_144, small: 4_096, middle: 65_536 }, 30_000);
    const third = (mebibyte * 30) / 3;
    for (const bytes of granted.values()) expect(Math.abs(bytes - third) / third).toBeLessThan(0.1);
  });

  it('does not make up for a time in which a peer wanted nothing', async () => {
    const clock = new VirtualClock();
    const limiter = new RateLimiter(clock, mebibyte);
    const order: string[] = [];
    const take = (name: string): void => void limiter.take(peer(name), 262_144)?.then(() => order.push(name));
    for (let turn = 0; turn < 8; turn++) take('busy');
    await clock.advance(1_000);
    for (let turn = 0; turn < 4; turn++) take('late');
    await clock.advance(5_000);
    // Were its share counted from the beginning, it would get all of its turns first.
    expect(order.slice(-7, -1)).toContain('busy');
  });

  it('lets everybody pass once it is closed', async () => {
    const clock = new VirtualClock();
    const limiter = new RateLimiter(clock, rateLimitMin);
    limiter.take(peer('a'), 10 * mebibyte);
    const waiting = limiter.take(peer('a'), mebibyte);
    limiter.close();
    await waiting;
    expect(limiter.take(peer('a'), mebibyte)).toBeUndefined();
    expect(() => new RateLimiter(clock, rateLimitMin - 1)).toThrow(RangeError);
  });

  it.each([
    ['upload', { uploadBytesPerSecond: 512 * 1024 }, {}],
    ['download', {}, { downloadBytesPerSecond: 512 * 1024 }],
  ])('holds a transfer to the limit on the %s, and nobody is blamed for it', async (_, ofSource, ofTarget) => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice', {}, ofSource);
    const bob = await mesh.start('bob', {}, ofTarget);
    const bytes = mesh.bytes(8 * mebibyte);
    const content = await mesh.put(alice, [bytes]);
    const startMs = mesh.clock.monotonicMs();
    await mesh.want(bob, content);
    await mesh.until(() => bob.plane.holds(content));
    const seconds = (mesh.clock.monotonicMs() - startMs) / 1_000;
    expect(seconds).toBeGreaterThan(14.5);
    expect(seconds).toBeLessThan(20);
    expectSame(await mesh.read(bob, content), bytes);
    expect(bob.metrics.value('anabranch_blobs_received_bytes_total')).toBeLessThan(8.1 * mebibyte);
    expect(bob.log.linesOf('blobs:holder_failed')).toEqual([]);
  });

  it('works at the least rate that may be set, with several that fetch', async () => {
    const mesh = new ContentMesh();
    const alice = await mesh.start('alice', {}, { uploadBytesPerSecond: rateLimitMin });
    const content = await mesh.put(alice, [mesh.bytes(mebibyte)]);
    const others = [await mesh.start('bob'), await mesh.start('carol'), await mesh.start('dave')];
    for (const other of others) {
      mesh.hub.partition(
        [other.peer],
        others.filter((each) => each !== other).map((each) => each.peer),
      );
      await mesh.want(other, content);
    }
    await mesh.until(() => others.every((other) => other.plane.holds(content)));
    for (const other of others) expect(other.log.linesOf('blobs:holder_failed')).toEqual([]);
  });
});

describe('a rate', () => {
  it.each([
    ['131072', 131_072],
    ['512KiB', 524_288],
    ['1.5MiB', 1_572_864],
    ['2GiB', 2_147_483_648],
    ['127KiB', undefined],
    ['10MB', undefined],
    ['fast', undefined],
    ['-1MiB', undefined],
    ['', undefined],
  ])('of "%s" is %s', (text, rate) => {
    expect(parseByteRate(text)).toBe(rate);
  });
});
