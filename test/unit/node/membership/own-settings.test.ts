import { afterEach, describe, expect, it } from 'vitest';
import { stepOfBytes } from '../../../../crdt/control/capacity.ts';
import { encodeGenesis } from '../../../../crdt/genesis.ts';
import { peerIdOf, signerFromSeed } from '../../../../crdt/signature.ts';
import { MemoryBlobStore } from '../../../../src/adapters/memory/blob-store.ts';
import { VirtualClock } from '../../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../../src/adapters/memory/metrics.ts';
import { MemoryHub } from '../../../../src/adapters/memory/network.ts';
import { SeededRandom } from '../../../../src/adapters/memory/random.ts';
import { InlineVerifier } from '../../../../src/adapters/memory/verifier.ts';
import { composeNode } from '../../../../src/compose.ts';
import type { MembershipSettings } from '../../../../src/node/membership/settings.ts';
import type { Node } from '../../../../src/node/mesh-node.ts';
import { idOf } from '../../../support/made-ids.ts';

const minuteMs = 60_000;
const patienceMs = 10 * minuteMs;
const free = 2 ** 30;
const memberIdLength = 26;

const clock = new VirtualClock();
let nodes: readonly Node[] = [];
afterEach(async () => {
  for (const node of nodes) if (node.ready()) await clock.run(node.stop(), patienceMs);
});

/** Starts a node with these settings, and one that looks at it with those. */
async function start(settings: MembershipSettings, watching: MembershipSettings = {}): Promise<readonly [Node, Node]> {
  const hub = new MemoryHub({ clock });
  const random = new SeededRandom('settings');
  const all = [
    { name: 'one', settings },
    { name: 'two', settings: watching },
  ].map(({ name, ...rest }) => {
    const keySeed = random.split(`key ${name}`).bytes(32);
    return { name, keySeed, peerId: peerIdOf(signerFromSeed(keySeed).publicKey), ...rest };
  });
  const roles = ['coordinator', 'storage'] as const;
  const members = all.map(({ name, peerId }) => {
    return { name, nodeId: idOf(name).slice(0, memberIdLength) as never, peerId, addresses: [], roles };
  });
  const genesisText = encodeGenesis({ v: 1, cluster: 'settings', seed: 'a'.repeat(26), members });
  nodes = all.map(({ name, keySeed, peerId, settings: membership }) =>
    composeNode(
      {
        clock,
        random: random.split(name),
        network: hub.join(peerId),
        kv: new MemoryKv(clock, { name, flushDelayMs: 1 }),
        blobs: new MemoryBlobStore(),
        verifier: new InlineVerifier(),
        log: new MemoryLog(),
        metrics: new MemoryMetrics(),
      },
      { keySeed, genesisText, version: 'test', membership },
    ),
  );
  for (const node of nodes) await clock.run(node.start(), patienceMs);
  return nodes as readonly [Node, Node];
}

const seen = (by: Node) => by.nodes().find(({ name }) => name === 'one') ?? expect.fail('it is not listed');

describe('what a node is told to say of itself', () => {
  it('is what the others show: where its API is, what it is for people, and the most it is to hold', async () => {
    const url = 'https://one.example:7400';
    const [, two] = await start({ url, labels: { room: 'cellar' }, capacityBytes: 1_000_000 });
    await clock.advance(20_000);
    expect(seen(two)).toMatchObject({ url, reportedLabels: { room: 'cellar' }, capacityBytes: 1_000_000, labels: {} });
  });

  it('enters its capacity into the control log by itself when it is told to, and else leaves that to people', async () => {
    const [, two] = await start({ capacityBytes: free, autoCapacity: true }, { capacityBytes: free });
    await clock.advance(3 * minuteMs);
    expect(two.nodes().map(({ capacity }) => capacity)).toEqual([stepOfBytes(free), null]);
  });

  it('decides how soon it holds others for suspect, and for offline', async () => {
    const pace = { heartbeatIntervalMs: 1_000, suspectAfterMs: 4_000, offlineAfterMs: 20_000 };
    const [one, two] = await start(pace, pace);
    await clock.advance(10_000);
    expect(seen(two).state).toBe('online');
    expect(seen(two).lastHeartbeatMs).toBeLessThan(1_500);
    await clock.run(one.stop(), patienceMs);
    expect(seen(two).state).toBe('suspect');
    await clock.advance(15_000);
    expect(seen(two).state).toBe('suspect');
    await clock.advance(8_000);
    expect(seen(two).state).toBe('offline');
  });
});
