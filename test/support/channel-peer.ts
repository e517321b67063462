import type { PeerId } from '../../crdt/ids.ts';
import { Channel } from '../../protocols/wire/channel.ts';
import { clock, type PeerNetwork, runPeer } from './libp2p-peer.ts';

/** A peer process that floods another through a `Channel`, or takes what it is sent at the pace it is told. */
export type ChannelCommand =
  | { readonly kind: 'flood'; readonly peer: PeerId; readonly messageBytes: number }
  | { readonly kind: 'pace'; readonly messagesPerSecond: number };

export interface ChannelReport {
  /** Messages whose `send` has resolved, or that were taken with `receive`. */
  readonly messages: number;
}

const protocol = '/flood/1.0.0';

let messages = 0;
let messagesPerSecond = 0;

function take(network: PeerNetwork): void {
  network.handle(protocol, async (stream) => {
    const channel = new Channel(stream, { clock });
    for (;;) {
      while (messagesPerSecond === 0) await clock.sleep(10);
      const message = await channel.receive();
      if (message === null) break;
      const serial = new DataView(message.buffer, message.byteOffset).getUint32(0);
      if (serial !== messages) throw new Error(`message ${serial} came where ${messages} was due`);
      messages += 1;
      await clock.sleep(1_000 / messagesPerSecond);
    }
  });
}

async function flood(network: PeerNetwork, peer: PeerId, messageBytes: number): Promise<void> {
  const channel = new Channel(await network.open(peer, protocol), { clock }, { creditTimeoutMs: 60_000 });
  for (;;) {
    const message = new Uint8Array(messageBytes);
    new DataView(message.buffer).setUint32(0, messages);
    await channel.send(message);
    messages += 1;
  }
}

runPeer<ChannelCommand, ChannelReport>({
  setUp: take,
  obey: (command, network) => {
    if (command.kind === 'flood') return flood(network, command.peer, command.messageBytes);
    messagesPerSecond = command.messagesPerSecond;
  },
  report: () => ({ messages }),
  heartbeat: { intervalMs: 300, timeoutMs: 300, missesMax: 3 },
});
