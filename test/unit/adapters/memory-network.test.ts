import { describe, expect, it } from 'vitest';
import type { PeerId } from '../../../crdt/ids.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { type LinkModel, steadyLinks } from '../../../src/adapters/memory/links.ts';
import { MemoryHub, type MemoryNetwork } from '../../../src/adapters/memory/network.ts';

const seenGossipMs = 3_000;
const topic = 'news';
const data = Buffer.from('the same bytes');

async function three() {
  const clock = new VirtualClock();
  const lost = new Set<string>();
  const steady = steadyLinks(1);
  const gossipDelaysMs: LinkModel['gossipDelaysMs'] = (from, to, bytes) =>
    lost.has(`${from} ${to}`) ? [] : steady.gossipDelaysMs(from, to, bytes);
  const hub = new MemoryHub({ clock }, { seenGossipMs, links: { ...steady, gossipDelaysMs } });
  const heard: string[] = [];
  const join = async (name: string): Promise<MemoryNetwork> => {
    const network = hub.join(name as PeerId);
    network.subscribe(topic, () => {
      heard.push(name);
      return 'accept';
    });
    await network.start();
    return network;
  };
  const networks = [await join('alice'), await join('bob'), await join('carol')];
  await clock.advance(10);
  /** Nothing that one tells the other arrives. */
  const lose = (from: string, to: string): void => void lost.add(`${from} ${to}`);
  return { clock, heard, networks, lose };
}

describe('gossip in memory', () => {
  it('is heard once, whoever sends the same bytes again, until it is forgotten', async () => {
    const { clock, heard, networks } = await three();
    const [alice, bob] = networks as [MemoryNetwork, MemoryNetwork];
    expect(await alice.publish(topic, data)).toBe(2);
    await clock.advance(seenGossipMs - 20);
    expect(await bob.publish(topic, data)).toBe(0);
    expect(heard).toEqual(['bob', 'carol']);
  });

  it('is a new message to everybody once it is forgotten, so that it can be replayed', async () => {
    const { clock, heard, networks } = await three();
    const [alice, bob] = networks as [MemoryNetwork, MemoryNetwork];
    await alice.publish(topic, data);
    await clock.advance(seenGossipMs + 20);
    expect(await bob.publish(topic, data)).toBe(2);
    await clock.advance(20);
    expect(heard).toEqual(['bob', 'carol', 'alice', 'carol']);
  });

  it('comes at a beat to who missed it, from anybody who has it, and to nobody twice', async () => {
    const { clock, heard, networks, lose } = await three();
    const [alice] = networks as [MemoryNetwork];
    lose('alice', 'carol');
    await alice.publish(topic, data);
    await clock.advance(500);
    expect(heard).toEqual(['bob']);
    await clock.advance(1_000);
    expect(heard).toEqual(['bob', 'carol']);
    await clock.advance(10_000);
    expect(heard).toEqual(['bob', 'carol']);
    expect(clock.pendingTimers).toBe(0);
  });

  it('is told on by nobody after a stop', async () => {
    const { clock, heard, networks, lose } = await three();
    const [alice, bob] = networks as [MemoryNetwork, MemoryNetwork];
    lose('alice', 'carol');
    await alice.publish(topic, data);
    await clock.advance(500);
    await Promise.all([alice.stop(), bob.stop()]);
    await clock.advance(10_000);
    expect(heard).toEqual(['bob']);
    expect(clock.pendingTimers).toBe(0);
  });
});
