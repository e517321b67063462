import { describe, expect, it } from 'vitest';
import type { PeerId } from '../../../crdt/ids.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryHub, type MemoryNetwork } from '../../../src/adapters/memory/network.ts';

const seenGossipMs = 3_000;
const topic = 'news';
const data = Buffer.from('the same bytes');

async function three() {
  const clock = new VirtualClock();
  const hub = new MemoryHub({ clock }, { seenGossipMs });
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
  return { clock, heard, networks };
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
});
