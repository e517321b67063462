import { describe, expect, it } from 'vitest';
import { Simulation } from './simulation.ts';

const start = (...names: string[]): Promise<Simulation> => startWith(names.join(), ...names);

const startWith = async (seed: string, ...names: string[]): Promise<Simulation> => {
  const sim = new Simulation({ seed, nodes: names });
  await sim.startAll();
  return sim;
};

describe('a mesh that is cut in two', () => {
  it('keeps what each side wrote, and comes together', async () => {
    const sim = await start('alice', 'bob', 'carol', 'dave');
    await sim.write('alice', 'plan', 'a plan');
    await sim.runUntilQuiet();
    sim.partition(['alice', 'bob'], ['carol', 'dave']);
    await sim.write('alice', 'plan', 'north');
    await sim.write('dave', 'plan', 'south');
    await sim.advance(5_000);
    expect(sim.headsOf('bob', 'plan')).toHaveLength(1);
    sim.heal();
    await sim.runUntilQuiet();
    expect(sim.headsOf('bob', 'plan')).toHaveLength(2);
    const merged = await sim.merge('carol', 'plan');
    await sim.runUntilQuiet();
    expect(sim.headsOf('alice', 'plan')).toEqual([merged.version]);
  });

  it('comes together over a link that is dead in one direction only', async () => {
    const sim = await start('alice', 'bob');
    sim.cutOneWay('alice', 'bob');
    await sim.write('bob', 'key', 'heard');
    await sim.write('alice', 'key', 'unheard');
    await sim.advance(10_000);
    expect(sim.headsOf('bob', 'key')).toHaveLength(1);
    sim.heal();
    await sim.runUntilQuiet();
    expect(sim.headsOf('bob', 'key')).toHaveLength(2);
  });
});

describe('a reconciliation that is cut off', () => {
  // Far more than one takes: the last ones are never cut off, which shows that every boundary was met.
  const boundaries = Array.from({ length: 100 }, (_, index) => index + 1);

  it('is taken up again and ends, whichever message was the last to arrive', async () => {
    let cutOff = 0;
    for (const pieces of boundaries) {
      const sim = await startWith(`boundary ${pieces}`, 'alice', 'bob');
      sim.partition(['alice'], ['bob']);
      for (const name of ['alice', 'bob']) {
        for (let key = 0; key < 6; key += 1) await sim.write(name, `key-${key}`, `by ${name}`);
      }
      sim.heal();
      sim.dropAfter('alice', 'bob', pieces);
      await sim.runUntilQuiet();
      for (let key = 0; key < 6; key += 1) expect(sim.headsOf('bob', `key-${key}`)).toHaveLength(2);
      cutOff += sim.faults.get('dropAfter') ?? 0;
    }
    expect(cutOff).toBeGreaterThan(10);
    expect(cutOff).toBeLessThan(boundaries.length);
  });
});

describe('a node', () => {
  it('that crashes keeps what it acknowledged', async () => {
    const sim = await start('alice', 'bob');
    sim.partition(['alice'], ['bob']);
    const { version } = await sim.write('alice', 'key', 'only here');
    sim.crash('alice');
    await sim.restart('alice');
    expect(await sim.read('alice', 'key', version)).toBe('only here');
  });

  it('that stands still hears everything when it goes on', async () => {
    const sim = await start('alice', 'bob');
    sim.pause('bob');
    await sim.write('alice', 'key', 'while you slept');
    await sim.advance(60_000);
    sim.resume('bob');
    await sim.runUntilQuiet();
    expect(await sim.read('bob', 'key')).toBe('while you slept');
  });

  it('whose clock jumps decides nothing by it', async () => {
    const sim = await start('alice', 'bob');
    await sim.write('alice', 'key', 'first');
    await sim.runUntilQuiet();
    sim.jumpClock('bob', -400 * 24 * 3_600_000);
    const last = await sim.write('bob', 'key', 'second');
    await sim.runUntilQuiet();
    expect(sim.headsOf('alice', 'key')).toEqual([last.version]);
  });

  it('whose disk goes back in time gets back what the others have, under a new incarnation', async () => {
    // Three, so that others know how she voted: what an only coordinator forgets, nobody can tell it.
    const sim = await start('alice', 'bob', 'carol');
    await sim.write('alice', 'key', 'before');
    sim.backUp('alice');
    const after = await sim.write('alice', 'key', 'after');
    await sim.runUntilQuiet();
    sim.restoreBackup('alice');
    await sim.restart('alice');
    await sim.runUntilQuiet();
    expect(sim.headsOf('alice', 'key')).toEqual([after.version]);
    await sim.write('alice', 'key', 'again');
    await sim.runUntilQuiet();
  });

  it('whose disk was wiped is filled again by the others', async () => {
    const sim = await start('alice', 'bob');
    await sim.write('alice', 'key', 'kept by bob');
    await sim.runUntilQuiet();
    sim.wipe('alice');
    await sim.restart('alice');
    await sim.runUntilQuiet();
    expect(await sim.read('alice', 'key')).toBe('kept by bob');
  });

  it('whose record rots fetches it again', async () => {
    const sim = await start('alice', 'bob');
    await sim.write('alice', 'key', 'sound');
    await sim.runUntilQuiet();
    expect(sim.rotRecord('bob')).toBe(true);
    await sim.stop('bob');
    await sim.restart('bob');
    await sim.runUntilQuiet();
    expect(await sim.read('bob', 'key')).toBe('sound');
  });

  it('with a full disk refuses, and goes on when there is room', async () => {
    const sim = await start('alice', 'bob');
    sim.fillDisk('alice');
    const refused = await sim.run(sim.put('alice', 'key', 'no room'));
    expect(refused.ok ? undefined : refused.error.code).toBe('disk_full');
    sim.freeDisk('alice');
    await sim.write('alice', 'key', 'room again');
    await sim.runUntilQuiet();
  });
});

describe('a content that is pulled', () => {
  const large = [new Uint8Array(40_000).fill(7)];

  // What is not flushed survives a power cut as chance has it: in one of these runs at least, it does not.
  it.each(['1', '2', '3', '4'])('is whole once it is called so, however often the flush failed (%s)', async (seed) => {
    const sim = await startWith(seed, 'alice', 'bob');
    sim.failFlush('bob');
    await sim.write('alice', 'file', large);
    await sim.runUntilQuiet();
    sim.crash('bob');
    await sim.restart('bob');
    await sim.runUntilQuiet();
  });

  it('is mended when a stored chunk rots', async () => {
    const sim = await start('alice', 'bob');
    const { version } = await sim.write('alice', 'file', large);
    await sim.runUntilQuiet();
    expect(sim.rotBlob('bob')).toBe(true);
    await sim.runUntilQuiet();
    expect(await sim.read('bob', 'file', version)).toBe(Buffer.concat(large).toString('utf8'));
  });
});
