import { afterEach, describe, expect, it } from 'vitest';
import { windowBytes } from '../../protocols/wire/channel.ts';
import { messageBytesMax } from '../../protocols/wire/frames.ts';
import type { PeerProcess } from '../support/peer-process.ts';
import { connectPeerProcesses, pause, until } from '../support/peer-process.ts';

const mib = 1024 * 1024;
/** Noise of two garbage collectors. A sender that is not held back passes this in a fraction of a second. */
const growthBytesMax = 48 * mib;
const windowMessages = windowBytes / messageBytesMax;

describe('a slow reader at the other end of a channel between two processes', () => {
  const running: PeerProcess[] = [];
  afterEach(async () => {
    await Promise.all(running.splice(0).map((peer) => peer.stop()));
  });

  it('holds its sender back, and grows the memory of neither', async () => {
    const { alice: sender, bob: reader } = await connectPeerProcesses('channel');
    running.push(sender, reader);

    // At full speed first, so that both processes have their working memory.
    reader.send({ kind: 'pace', messagesPerSecond: 1e6 });
    sender.send({ kind: 'flood', peer: reader.report.peerId, messageBytes: messageBytesMax });
    await until(() => reader.report.messages > 800);
    const [senderBytes, readerBytes] = [sender.takeRssAnonBytesMax(), reader.takeRssAnonBytesMax()];

    // Slow for a while, then not reading at all.
    reader.send({ kind: 'pace', messagesPerSecond: 20 });
    await pause(2_000);
    reader.send({ kind: 'pace', messagesPerSecond: 0 });
    await pause(1_500);
    const taken = reader.report.messages;
    const sent = sender.report.messages;
    await pause(500);
    expect(reader.report.messages).toBe(taken);
    expect(sender.report.messages).toBe(sent);
    expect(sent - taken).toBeLessThanOrEqual(windowMessages);
    expect(sender.takeRssAnonBytesMax() - senderBytes).toBeLessThan(growthBytesMax);
    expect(reader.takeRssAnonBytesMax() - readerBytes).toBeLessThan(growthBytesMax);

    // And nothing was lost on the way: the reader checks the order of what it takes.
    reader.send({ kind: 'pace', messagesPerSecond: 1e6 });
    await until(() => reader.report.messages > taken + 200);
    expect([sender.report.failure, reader.report.failure]).toEqual([undefined, undefined]);
  });

  it('is let go when its process stops answering, and is connected again when that goes on', async () => {
    const { alice, bob } = await connectPeerProcesses('channel');
    running.push(alice, bob);
    bob.signal('SIGSTOP');
    await until(() => alice.report.connected.length === 0);
    bob.signal('SIGCONT');
    await until(() => alice.report.connected.length === 1 && bob.report.connected.length === 1);
  });
});
