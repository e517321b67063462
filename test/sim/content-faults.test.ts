import { describe, expect, it } from 'vitest';
import { Simulation } from './simulation.ts';
import { isContentIntact } from './soundness.ts';

const start = async (scrubPeriodMs: number | undefined, ...names: string[]): Promise<Simulation> => {
  const seed = names.join();
  const sim = new Simulation({ seed, nodes: names, ...(scrubPeriodMs === undefined ? {} : { scrubPeriodMs }) });
  await sim.startAll();
  return sim;
};

/** Bytes that fill several chunks. */
const large = (fill: number): Uint8Array[] =>
  Array.from({ length: 48 }, (_, index) => new Uint8Array(65_536).map((_, at) => (at * 31 + index * 7 + fill) & 0xff));

describe('rot that nobody reads', () => {
  it('is found and mended by the scrub within its period', async () => {
    const sim = await start(60_000, 'alice', 'bob', 'carol');
    const { version } = await sim.write('alice', 'file', large(1));
    await sim.runUntilQuiet();
    const manifest = sim.library.get(version)?.version.record.content?.manifest;
    if (manifest === undefined) throw new Error('the version has no content');
    expect(sim.rotBlob('bob')).toBe(true);
    expect(isContentIntact(sim.get('bob'), manifest, 'now')).toBe(false);
    await sim.advance(150_000);
    expect(isContentIntact(sim.get('bob'), manifest, 'now')).toBe(true);
    expect(sim.process('bob').node.content.scrubStatus().last).not.toBeNull();
    await sim.runUntilQuiet();
  });
});

describe('a content whose holders go', () => {
  const stored = (sim: Simulation, name: string): number =>
    sim.process(name).metrics.value('anabranch_content_stored_total');
  const received = (sim: Simulation, name: string): number =>
    sim.process(name).metrics.value('anabranch_blobs_received_bytes_total');

  it('is fetched from another when one dies in the middle of a transfer', async () => {
    const sim = await start(undefined, 'alice', 'bob', 'carol');
    sim.partition(['alice', 'bob'], ['carol']);
    const { version } = await sim.write('alice', 'file', large(2));
    await sim.until(() => stored(sim, 'bob') === 1);
    sim.heal();
    await sim.until(() => received(sim, 'carol') > 300_000);
    expect(stored(sim, 'carol')).toBe(0);
    sim.crash('alice');
    await sim.until(() => stored(sim, 'carol') === 1);
    expect((await sim.run(sim.readBytes('carol', 'file', version))).ok).toBe(true);
    await sim.restart('alice');
    await sim.runUntilQuiet();
  });

  it('is refused while all of them are away, keeps nobody waiting, and heals by itself when one is back', async () => {
    const sim = await start(undefined, 'alice', 'bob');
    const { version } = await sim.write('alice', 'file', large(3));
    await sim.until(() => sim.get('bob').holdings.has(version));
    sim.crash('alice');
    expect(stored(sim, 'bob')).toBe(0);
    const startMs = sim.clock.monotonicMs();
    const refused = await sim.run(sim.readBytes('bob', 'file', version));
    expect(refused.ok ? undefined : refused.error.code).toBe('content_unavailable');
    expect(sim.clock.monotonicMs() - startMs).toBeLessThan(40_000);
    await sim.restart('alice');
    await sim.until(() => stored(sim, 'bob') === 1);
    expect((await sim.run(sim.readBytes('bob', 'file', version))).ok).toBe(true);
    await sim.runUntilQuiet();
  });

  it('comes to a node whose disk was full as soon as there is room', async () => {
    const sim = await start(undefined, 'alice', 'bob');
    sim.fillDisk('bob');
    await sim.write('alice', 'file', large(4));
    await sim.advance(60_000);
    expect(stored(sim, 'bob')).toBe(0);
    sim.freeDisk('bob');
    await sim.until(() => stored(sim, 'bob') === 1);
    await sim.runUntilQuiet();
  });
});
