import { expect, it } from 'vitest';
import { HostilePeer } from './hostile-peer.ts';
import { Simulation } from './simulation.ts';

const attacks = [
  'junk',
  'truncate',
  'mutate',
  'replay',
  'oversize',
  'lie',
  'forge',
  'contradict',
  'open',
  'certify',
  'invent',
] as const;

it('a hostile member reaches others with every one of its attacks', async () => {
  const seenGossipMs = 3_000;
  const sim = new Simulation({ seed: 'attacks', nodes: ['alice', 'bob', 'carol'], hostile: ['mallory'], seenGossipMs });
  await sim.startAll();
  const mallory = new HostilePeer(sim, 'mallory');
  await mallory.join();
  for (let left = 150; left > 0; left -= 1) {
    if (left % 5 === 0) await sim.write('alice', `key-${left % 3}`, `body ${left}`);
    mallory.act();
    await sim.advance(300);
  }
  await mallory.leave();
  await sim.runUntilQuiet();
  const reached = attacks.filter((attack) => sim.faults.has(`hostile:${attack}`));
  expect(reached).toEqual(attacks);
});
