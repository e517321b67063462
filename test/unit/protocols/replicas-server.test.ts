import { afterEach, beforeEach, expect, test } from 'vitest';
import type { PeerId } from '../../../crdt/ids.ts';
import { replicasProtocol, workingEveryMs } from '../../../protocols/replicas/limits.ts';
import { decodeReplicaResponse, encodeReplicaMessage } from '../../../protocols/replicas/messages.ts';
import { type ReplicaSource, serveReplicas } from '../../../protocols/replicas/server.ts';
import { Channel } from '../../../protocols/wire/channel.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryHub, type MemoryNetwork } from '../../../src/adapters/memory/network.ts';

const challenge = encodeReplicaMessage({
  t: 'prove',
  nonce: new Uint8Array(32),
  items: [{ manifest: new Uint8Array(32) }],
});

let clock: VirtualClock;
let server: MemoryNetwork;
let client: MemoryNetwork;
beforeEach(() => {
  clock = new VirtualClock();
  const hub = new MemoryHub({ clock });
  server = hub.join('server' as PeerId);
  client = hub.join('client' as PeerId);
});
afterEach(async () => {
  await server.stop();
  await client.stop();
});

/** Asks for a proof that takes so long, and collects what comes. */
async function ask(workMs: number, signal?: AbortSignal): Promise<string[]> {
  const prove = async () => {
    await clock.sleep(workMs);
    return ['lacking' as const];
  };
  const source = { prove } as unknown as ReplicaSource;
  server.handle(replicasProtocol, (stream) => serveReplicas(stream, source, { clock, signal }));
  await Promise.all([server.start(), client.start()]);
  await clock.advance(1_000);
  const told: string[] = [];
  const asking = async (): Promise<void> => {
    const channel = new Channel(await client.open(server.localPeer, replicasProtocol), { clock });
    await channel.send(challenge);
    for (let bytes = await channel.receive(); bytes !== null; bytes = await channel.receive()) {
      const response = decodeReplicaResponse(bytes);
      told.push(response.ok ? response.value.t : response.error);
    }
  };
  asking().catch(() => undefined);
  await clock.advance(10 * workingEveryMs);
  return told;
}

test('an answer that takes long is announced, and nothing comes after it', async () => {
  expect(await ask(workingEveryMs - 100)).toEqual(['proofs']);
});

test('an answer that is done while it is being announced is not announced again', async () => {
  expect(await ask(workingEveryMs + 1)).toEqual(['working', 'proofs']);
});

test('a node that stops announces nothing any more', async () => {
  const stopping = new AbortController();
  const told = ask(1_000_000, stopping.signal);
  clock.setTimer(2.5 * workingEveryMs, () => stopping.abort());
  expect(await told).toEqual(['working', 'working']);
});
