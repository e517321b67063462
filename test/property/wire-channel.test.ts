import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PeerId } from '../../crdt/ids.ts';
import { Channel, windowBytes } from '../../protocols/wire/channel.ts';
import { messageBytesMax } from '../../protocols/wire/frames.ts';
import { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { MemoryHub } from '../../src/adapters/memory/network.ts';
import type { ByteStream } from '../../src/ports/network.ts';
import { runs } from '../support/property-runs.ts';

const limitMs = 10 * 60_000;

/** Two ends of a stream whose pieces take their time, each its own. */
async function connect(delaysMs: readonly number[], piecewise: boolean) {
  const clock = new VirtualClock();
  let turn = 0;
  const streamDelayMs = (): number => delaysMs[turn++ % delaysMs.length] ?? 1;
  const links = { connectDelayMs: () => 1, noticeDelayMs: () => 1, streamDelayMs, gossipDelaysMs: () => [] };
  const hub = new MemoryHub({ clock }, { links });
  const [a, b] = [hub.join('a' as PeerId), hub.join('b' as PeerId)];
  const accepted = new Promise<ByteStream>((resolve) => b.handle('/test/1', async (stream) => resolve(stream)));
  await a.start();
  await b.start();
  await clock.runUntil(() => a.connectedPeers().length === 1, limitMs);
  const near = await clock.run(a.open('b' as PeerId, '/test/1'), limitMs);
  const far = await clock.run(accepted, limitMs);
  return { clock, sender: new Channel(near, { clock }), receiver: new Channel(far, { clock }, { piecewise }) };
}

describe('Channel', () => {
  it('delivers everything in order, with never more than a window ahead of a reader of any pace', async () => {
    const messageSizes = fc.array(fc.oneof(fc.nat(2_000), fc.nat(messageBytesMax)), { maxLength: 30 });
    const pausesMs = fc.array(fc.oneof(fc.constant(0), fc.nat(500)), { minLength: 1, maxLength: 8 });
    const delaysMs = fc.array(fc.nat(50), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(messageSizes, pausesMs, delaysMs, fc.boolean(), async (sizes, pauses, delays, piecewise) => {
        const { clock, sender, receiver } = await connect(delays, piecewise);
        let sentBytes = 0;
        let takenBytes = 0;
        let aheadBytesMax = 0;
        const sending = (async () => {
          for (const [index, size] of sizes.entries()) {
            await sender.send(new Uint8Array(size).fill(index));
            sentBytes += size;
            aheadBytesMax = Math.max(aheadBytesMax, sentBytes - takenBytes);
          }
          await sender.end();
        })();
        const reading = (async () => {
          const received: [number, number | undefined][] = [];
          for (let message = await receiver.receive(); message !== null; message = await receiver.receive()) {
            received.push([message.byteLength, message[0]]);
            takenBytes += message.byteLength;
            await clock.sleep(pauses[received.length % pauses.length] ?? 0);
          }
          return received;
        })();
        const [received] = await clock.run(Promise.all([reading, sending]), limitMs);
        expect(received).toEqual(sizes.map((size, index) => [size, size === 0 ? undefined : index]));
        expect(aheadBytesMax).toBeLessThanOrEqual(windowBytes);
      }),
      runs(0.25),
    );
  });
});
