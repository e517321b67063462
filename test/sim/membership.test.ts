import { describe, expect, it } from 'vitest';
import type { Transition } from '../../src/node/membership/liveness.ts';
import { strangeness } from './checkers/membership.ts';
import { Simulation } from './simulation.ts';

const names = ['alice', 'bob', 'carol'];

const start = async (seed: string): Promise<Simulation> => {
  const sim = new Simulation({ seed, nodes: names });
  await sim.startAll();
  await sim.advance(10_000);
  return sim;
};

/** What one node sees of another from now on, in seconds from now. */
function watch(sim: Simulation, watcher: string, watched: string): string[] {
  const seen: string[] = [];
  const startMs = sim.clock.monotonicMs();
  const { nodeId } = sim.member(watched);
  sim.node(watcher).model.liveness.onTransition((transition: Transition) => {
    if (transition.nodeId !== nodeId) return;
    seen.push(`${transition.to} after ${Math.round((sim.clock.monotonicMs() - startMs) / 1_000)} s`);
  });
  return seen;
}

const stateAt = (sim: Simulation, watcher: string, watched: string): string | undefined =>
  sim.node(watcher).model.liveness.stateOf(sim.member(watched).nodeId);
const offlineFor = (sim: Simulation, watcher: string, watched: string): number | undefined =>
  sim.node(watcher).model.liveness.offlineForMs(sim.member(watched).nodeId);

describe('a node that dies', () => {
  it('is suspect within 15 s of its last heartbeat and offline within 60, on every other node, and comes back', async () => {
    const sim = await start('dies');
    const seen = ['alice', 'carol'].map((name) => watch(sim, name, 'bob'));
    sim.crash('bob');
    await sim.advance(80_000);
    for (const each of seen) {
      expect(each).toHaveLength(2);
      expect(each[0]).toMatch(/^suspect after (9|1[0-5]) s$/);
      expect(each[1]).toMatch(/^offline after (5[4-9]|60) s$/);
    }
    expect(offlineFor(sim, 'alice', 'bob')).toBeGreaterThan(19_000);
    await sim.restart('bob');
    await sim.advance(8_000);
    expect([stateAt(sim, 'alice', 'bob'), stateAt(sim, 'carol', 'bob')]).toEqual(['online', 'online']);
    expect(offlineFor(sim, 'alice', 'bob')).toBeUndefined();
    await sim.runUntilQuiet();
  });

  it('flaps without ever being offline when each absence is short', async () => {
    const sim = await start('flaps');
    const seen = watch(sim, 'alice', 'bob');
    for (let turn = 0; turn < 10; turn += 1) {
      sim.crash('bob');
      await sim.advance(turn % 2 === 0 ? 4_000 : 20_000);
      await sim.restart('bob');
      await sim.advance(10_000);
    }
    expect(seen.some((each) => each.startsWith('suspect'))).toBe(true);
    expect(seen.filter((each) => each.startsWith('offline'))).toEqual([]);
    await sim.runUntilQuiet();
  });

  it('is suspect at once when it took its leave', async () => {
    const sim = await start('leaves');
    const seen = watch(sim, 'alice', 'bob');
    await sim.stop('bob');
    await sim.advance(70_000);
    expect(seen[0]).toBe('suspect after 0 s');
    expect(seen[1]).toMatch(/^offline after 6[01] s$/);
    expect(seen).toHaveLength(2);
  });
});

describe('a node that stands still', () => {
  it('is suspect though its connections are open, accuses nobody when it goes on, and is online again', async () => {
    const sim = await start('stands still');
    const [seen, accused] = [watch(sim, 'alice', 'bob'), watch(sim, 'bob', 'alice')];
    sim.pause('bob');
    await sim.advance(30_000);
    expect(stateAt(sim, 'alice', 'bob')).toBe('suspect');
    await sim.advance(60_000);
    expect(stateAt(sim, 'alice', 'bob')).toBe('offline');
    sim.resume('bob');
    await sim.advance(12_000);
    expect(seen.map((each) => each.split(' ')[0])).toEqual(['suspect', 'offline', 'online']);
    expect(accused).toEqual([]);
  });
});

describe('a wall clock that jumps', () => {
  it('moves no node from its state, on whichever side it jumps', async () => {
    const sim = await start('jumps');
    const seen = names.flatMap((watcher) =>
      names.filter((name) => name !== watcher).map((watched) => watch(sim, watcher, watched)),
    );
    for (const hours of [400 * 24, -800 * 24, 1]) {
      sim.jumpClock('bob', hours * 3_600_000);
      await sim.advance(20_000);
    }
    expect(seen.flat()).toEqual([]);
    sim.crash('bob');
    await sim.restart('bob');
    await sim.runUntilQuiet();
  });
});

describe('descriptors', () => {
  it('are the same on all nodes after a partition in which nodes started anew', async () => {
    const sim = await start('partition');
    sim.partition(['alice', 'bob'], ['carol']);
    for (const name of ['bob', 'carol', 'carol']) {
      sim.crash(name);
      await sim.restart(name);
    }
    await sim.advance(70_000);
    expect(strangeness([...sim.machines.values()])).toBeDefined();
    sim.heal();
    await sim.runUntilQuiet();
  });

  it('of a node whose disk was wiped, or put back, are raised above what the others know', async () => {
    const sim = await start('wiped');
    const sequence = (): number | undefined =>
      sim.node('alice').model.descriptors().get(sim.member('bob').nodeId)?.descriptor.sequence;
    sim.backUp('bob');
    for (let turn = 0; turn < 3; turn += 1) {
      sim.crash('bob');
      await sim.restart('bob');
      await sim.advance(2_000);
    }
    await sim.runUntilQuiet();
    expect(sequence()).toBe(4);
    sim.wipe('bob');
    await sim.restart('bob');
    await sim.runUntilQuiet();
    expect(sequence()).toBe(5);
    sim.restoreBackup('bob');
    await sim.restart('bob');
    await sim.runUntilQuiet();
    expect(sequence()).toBeGreaterThanOrEqual(5);
  });

  it('are known again after a restart, before anybody was heard', async () => {
    const sim = await start('restart');
    await sim.stop('alice');
    await sim.stop('bob');
    await sim.stop('carol');
    await sim.restart('alice');
    expect([...sim.node('alice').model.descriptors().keys()].sort()).toEqual(
      names.map((name) => sim.member(name).nodeId).sort(),
    );
    expect(stateAt(sim, 'alice', 'bob')).toBe('unknown');
    await sim.advance(61_000);
    expect(stateAt(sim, 'alice', 'bob')).toBe('offline');
  });
});
