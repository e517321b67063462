import { readFileSync } from 'node:fs';
import type { PeerId } from '../../crdt/ids.ts';
import { Channel } from '../../protocols/wire/channel.ts';
import { createLibp2pNetwork } from '../../src/adapters/libp2p/network.ts';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../src/adapters/memory/metrics.ts';
import { SystemClock } from '../../src/adapters/system/clock.ts';
import { SystemRandom } from '../../src/adapters/system/random.ts';
import type { NetworkMember } from '../../src/ports/network.ts';

/**
 * A process with one libp2p node in it, driven by its parent over IPC: it floods a peer through a `Channel`,
 * or takes what it is sent at the pace it is told.
 */
export type PeerCommand =
  | { readonly kind: 'start'; readonly seed: readonly number[]; readonly members: readonly NetworkMember[] }
  | { readonly kind: 'members'; readonly members: readonly NetworkMember[] }
  | { readonly kind: 'flood'; readonly peer: PeerId; readonly messageBytes: number }
  | { readonly kind: 'pace'; readonly messagesPerSecond: number }
  | { readonly kind: 'stop' };

export interface PeerReport {
  readonly peerId: PeerId;
  readonly addresses: readonly string[];
  readonly connected: readonly PeerId[];
  /** Messages whose `send` has resolved, or that were taken with `receive`. */
  readonly messages: number;
  /** Anonymous memory in use, where the system tells; absent elsewhere. */
  readonly rssAnonBytes?: number;
  readonly failure?: string;
}

const protocol = '/flood/1.0.0';
const reportIntervalMs = 50;
const heartbeat = { intervalMs: 300, timeoutMs: 300, missesMax: 3 };

const clock = new SystemClock();
let members: readonly NetworkMember[] = [];
let messages = 0;
let messagesPerSecond = 0;
let failure: string | undefined;

async function start(seed: readonly number[]) {
  const node = await createLibp2pNetwork(
    { log: new MemoryLog(), metrics: new MemoryMetrics(), clock, random: new SystemRandom() },
    { seed: Uint8Array.from(seed), listen: ['/ip4/127.0.0.1/tcp/0'], members: () => members, heartbeat },
  );
  node.handle(protocol, async (stream) => {
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
  await node.start();
  setInterval(() => report(node), reportIntervalMs);
  return node;
}

async function flood(node: Awaited<ReturnType<typeof start>>, peer: PeerId, messageBytes: number): Promise<void> {
  const channel = new Channel(await node.open(peer, protocol), { clock }, { creditTimeoutMs: 60_000 });
  for (;;) {
    const message = new Uint8Array(messageBytes);
    new DataView(message.buffer).setUint32(0, messages);
    await channel.send(message);
    messages += 1;
  }
}

function report(node: Awaited<ReturnType<typeof start>>): void {
  const rssAnonBytes = readRssAnonBytes();
  process.send?.({
    peerId: node.localPeer,
    addresses: node.addresses(),
    connected: node.connectedPeers(),
    messages,
    ...(rssAnonBytes === undefined ? {} : { rssAnonBytes }),
    ...(failure === undefined ? {} : { failure }),
  } satisfies PeerReport);
}

function readRssAnonBytes(): number | undefined {
  try {
    const kib = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    return kib === undefined ? undefined : Number(kib) * 1024;
  } catch {
    return undefined;
  }
}

let started: ReturnType<typeof start> | undefined;
process.on('disconnect', () => process.exit());
process.on('message', async (command: PeerCommand) => {
  try {
    if (command.kind === 'start') {
      members = command.members;
      started = start(command.seed);
    } else if (command.kind === 'members') members = command.members;
    else if (command.kind === 'pace') messagesPerSecond = command.messagesPerSecond;
    const node = await started;
    if (node === undefined) return;
    if (command.kind === 'flood') await flood(node, command.peer, command.messageBytes);
    if (command.kind === 'stop') {
      await node.stop();
      process.exit();
    }
  } catch (error) {
    failure = String(error);
  }
});
