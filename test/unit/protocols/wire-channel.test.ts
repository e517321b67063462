import { describe, expect, it } from 'vitest';
import type { PeerId } from '../../../crdt/ids.ts';
import { Channel, windowBytes } from '../../../protocols/wire/channel.ts';
import {
  creditFrame,
  dataFrame,
  endFrame,
  helloFrame,
  messageBytesMax,
  wireVersion,
} from '../../../protocols/wire/frames.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryHub } from '../../../src/adapters/memory/network.ts';
import type { ByteStream } from '../../../src/ports/network.ts';

const alice = 'alice' as PeerId;
const bob = 'bob' as PeerId;
const limitMs = 120_000;

/** Two ends of one stream between alice and bob, on virtual time. */
async function connect() {
  const clock = new VirtualClock();
  const hub = new MemoryHub({ clock });
  const a = hub.join(alice);
  const b = hub.join(bob);
  const accepted = new Promise<ByteStream>((resolve) => {
    b.handle('/test/1', async (stream) => resolve(stream));
  });
  await a.start();
  await b.start();
  await clock.runUntil(() => a.connectedPeers().length === 1, limitMs);
  const near = await clock.run(a.open(bob, '/test/1'), limitMs);
  const far = await clock.run(accepted, limitMs);
  return { clock, hub, near, far };
}

async function connectChannels() {
  const { clock, hub, near, far } = await connect();
  return { clock, hub, alice: new Channel(near, { clock }), bob: new Channel(far, { clock }) };
}

/** What a promise came to, without waiting for it. */
function watch<T>(promise: Promise<T>) {
  const outcome: { state: 'pending' | 'resolved' | 'rejected'; value?: T; error?: unknown } = { state: 'pending' };
  promise.then(
    (value) => Object.assign(outcome, { state: 'resolved', value }),
    (error: unknown) => Object.assign(outcome, { state: 'rejected', error }),
  );
  return outcome;
}

async function receiveAll(channel: Channel): Promise<Uint8Array[]> {
  const messages: Uint8Array[] = [];
  for (let message = await channel.receive(); message !== null; message = await channel.receive())
    messages.push(message);
  return messages;
}

function concat(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

describe('Channel', () => {
  it('carries messages both ways in order, and ends cleanly', async () => {
    const { clock, alice, bob } = await connectChannels();
    const sizes = [0, 1, 5, 16 * 1024, 16 * 1024 + 1, messageBytesMax];
    const messages = sizes.map((size) => new Uint8Array(size).fill(size % 251));
    const send = async (channel: Channel) => {
      for (const message of messages) await channel.send(message.slice());
      await channel.end();
    };
    const [atBob, atAlice] = await clock.run(
      Promise.all([receiveAll(bob), receiveAll(alice), send(alice), send(bob)]),
      limitMs,
    );
    expect(atBob).toEqual(messages);
    expect(atAlice).toEqual(messages);
  });

  it('stops a sender whose reader takes nothing at one window, and lets it go on when the reader does', async () => {
    const { clock, alice, bob } = await connectChannels();
    let sent = 0;
    const sending = (async () => {
      for (; sent < 100; sent++) await alice.send(new Uint8Array(messageBytesMax));
      await alice.end();
    })();
    await clock.advance(1_000);
    expect(sent).toBe(windowBytes / messageBytesMax);
    const received = await clock.run(receiveAll(bob), limitMs);
    expect(received.length).toBe(100);
    await sending;
  });

  it('charges empty messages, so that a flood of them is bounded as well', async () => {
    const { clock, alice } = await connectChannels();
    let sent = 0;
    void (async () => {
      for (;;) {
        await alice.send(new Uint8Array(0));
        sent += 1;
      }
    })().catch(() => undefined);
    await clock.advance(1_000);
    expect(sent).toBe(windowBytes / 64);
  });

  it('gives a stream up when no credit comes for the progress timeout', async () => {
    const { clock, alice, bob } = await connectChannels();
    const sends = Array.from({ length: 6 }, () => watch(alice.send(new Uint8Array(messageBytesMax))));
    await clock.advance(29_000);
    expect(sends.map((send) => send.state)).toEqual([...Array(4).fill('resolved'), 'pending', 'pending']);
    await clock.advance(2_000);
    expect(sends[5]).toMatchObject({ state: 'rejected', error: { code: 'timeout' } });
    for (let index = 0; index < 4; index++) await clock.run(bob.receive(), limitMs);
    await expect(clock.run(bob.receive(), limitMs)).rejects.toMatchObject({ code: 'stream_failed' });
  });

  it('refuses a message that is too large, and stays usable', async () => {
    const { clock, alice, bob } = await connectChannels();
    await expect(alice.send(new Uint8Array(messageBytesMax + 1))).rejects.toMatchObject({ code: 'too_large' });
    await alice.send(Uint8Array.of(7));
    expect(await clock.run(bob.receive(), limitMs)).toEqual(Uint8Array.of(7));
  });

  it('delivers what had arrived before the peer failed, then the failure', async () => {
    const { clock, hub, alice, bob: receiver } = await connectChannels();
    await alice.send(Uint8Array.of(1));
    await clock.advance(10);
    hub.partition([alice.remotePeer], ['alice' as PeerId]);
    await clock.advance(10);
    expect(await clock.run(receiver.receive(), limitMs)).toEqual(Uint8Array.of(1));
    await expect(clock.run(receiver.receive(), limitMs)).rejects.toMatchObject({ code: 'stream_failed' });
    await expect(alice.send(Uint8Array.of(2))).rejects.toMatchObject({ code: 'stream_failed' });
  });

  it('is reset by its signal, with the reason of the signal', async () => {
    const { clock, near, far } = await connect();
    const controller = new AbortController();
    const a = new Channel(near, { clock }, { signal: controller.signal });
    const b = new Channel(far, { clock });
    const receiving = watch(a.receive());
    const reason = new Error('enough');
    controller.abort(reason);
    await clock.advance(10);
    expect(receiving).toEqual({ state: 'rejected', error: reason });
    await expect(a.send(Uint8Array.of(1))).rejects.toBe(reason);
    await expect(clock.run(b.receive(), limitMs)).rejects.toMatchObject({ code: 'stream_failed' });
  });

  it('takes messages cut into single bytes', async () => {
    const { clock, near, far } = await connect();
    const channel = new Channel(far, { clock });
    const wire = concat(helloFrame(), dataFrame(Uint8Array.of(1, 2, 3)), dataFrame(new Uint8Array(0)), endFrame());
    for (const byte of wire) await near.write(Uint8Array.of(byte));
    expect(await clock.run(receiveAll(channel), limitMs)).toEqual([Uint8Array.of(1, 2, 3), new Uint8Array(0)]);
  });

  const window = Array.from({ length: 5 }, () => dataFrame(new Uint8Array(messageBytesMax)));
  it.each([
    ['overruns its credit', concat(helloFrame(), ...window), /more than it had credit for/],
    ['sends a message after its end', concat(helloFrame(), endFrame(), dataFrame(Uint8Array.of(1))), /after its end/],
    ['ends twice', concat(helloFrame(), endFrame(), endFrame()), /ended twice/],
    ['grants too much credit', concat(helloFrame(), creditFrame(2 ** 32 - 1)), /more credit/],
    ['grants nothing', concat(helloFrame(), creditFrame(0)), /grants nothing/],
    ['sends an oversized frame', concat(helloFrame(), Uint8Array.of(0, 4, 0, 1, 1)), /262145 bytes/],
    ['sends an unknown frame type', concat(helloFrame(), Uint8Array.of(0, 0, 0, 0, 9)), /unknown frame type 9/],
    ['omits the hello', dataFrame(Uint8Array.of(1)), /not a hello/],
    ['says hello twice', concat(helloFrame(), helloFrame()), /second hello/],
    ['speaks another wire version', Uint8Array.of(0, 0, 0, 1, 0, 9), new RegExp(`version 9.*speaks ${wireVersion}`)],
  ])('resets the stream of a peer that %s', async (_name, wire, message) => {
    const { clock, near, far } = await connect();
    const channel = new Channel(far, { clock });
    void near.write(wire).catch(() => undefined);
    await clock.advance(10);
    await expect(
      clock.run(receiveAll(channel), limitMs).then(() => channel.send(Uint8Array.of(1))),
    ).rejects.toMatchObject({ code: 'protocol_violation', message: expect.stringMatching(message) });
    await expect(clock.run(near.read(), limitMs)).rejects.toMatchObject({ code: 'stream_failed' });
  });

  it('calls a stream that closes without an end frame failed', async () => {
    const { clock, near, far } = await connect();
    const channel = new Channel(far, { clock });
    await near.write(concat(helloFrame(), Uint8Array.of(0, 0, 0, 9, 1)));
    await near.end();
    await expect(clock.run(channel.receive(), limitMs)).rejects.toMatchObject({ code: 'stream_failed' });
  });

  it('keeps granting credit after its own end', async () => {
    const { clock, alice, bob } = await connectChannels();
    await alice.end();
    const sending = (async () => {
      for (let sent = 0; sent < 20; sent++) await bob.send(new Uint8Array(messageBytesMax));
      await bob.end();
    })();
    expect((await clock.run(receiveAll(alice), limitMs)).length).toBe(20);
    await sending;
  });
});
