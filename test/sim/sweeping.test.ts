import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { VersionId } from '../../crdt/ids.ts';
import { ReplicaPeers } from '../../src/replication/replica-peers.ts';
import type { SourceFaultName } from './mutants/source-faults.ts';
import { namespace, Simulation } from './simulation.ts';
import { isContentIntact } from './soundness.ts';
import { playSweep } from './sweeping.ts';

const seeds = [1, 2, 3, 4, 5, 6];

describe('a content that is written again while its node takes it apart', () => {
  it.each(seeds)('is whole whenever it is called whole (seed %i)', async (seed) => {
    await playSweep(seed);
  });

  it('is found not to be within 4 seeds when the sweeper does not look again', { timeout: 120_000 }, async () => {
    const fault: SourceFaultName = 'sweep-what-is-wanted-again';
    const loader = new URL('./mutants/load-fault.ts', import.meta.url).href;
    const worker = fork(fileURLToPath(new URL('./sweeping-worker.ts', import.meta.url)), {
      execArgv: ['--import', loader],
      env: { ...process.env, ANABRANCH_SIM_FAULT: fault },
    });
    const ended = once(worker, 'exit');
    let found = '';
    for (const seed of seeds.slice(0, 4)) {
      worker.send(seed);
      const answered = once(worker, 'message').then(([answer]) => String(answer));
      found = await Promise.race([answered, ended.then(([code]) => `the process of the run ended with ${code}`)]);
      if (found !== '') break;
    }
    worker.kill();
    await ended;
    expect(found).toMatch(/^Violation: (sweeping|no-loss):/);
  });
});

describe('a copy that lacks its chunks without knowing', () => {
  /** A content of three nodes, of which bob's disk has lost every file; where it is, and what it is. */
  const lost = async (seed: string, auditEveryMs: number) => {
    const replication = { repairDelayMs: 30_000, followEveryMs: 1_000, auditEveryMs };
    const sim = new Simulation({ seed, nodes: ['alice', 'bob', 'carol'], replication });
    await sim.startAll();
    const body = Array.from({ length: 24 }, (_, index) =>
      new Uint8Array(65_536).map((_byte, at) => (at * 31 + index * 7) & 0xff),
    );
    const { version } = await sim.write('alice', 'file', body);
    await sim.runUntilQuiet();
    const manifest = sim.library.get(version)?.version.record.content?.manifest;
    if (manifest === undefined) throw new Error('the version has no content');
    const bob = sim.get('bob');
    for (const hash of bob.blobs.hashes()) await sim.run(bob.blobs.delete(hash));
    expect([bob.contents.has(manifest), isContentIntact(bob, manifest, 'now')]).toEqual([true, false]);
    return { sim, bob, manifest, version };
  };

  it('is found out by a challenge, and mended by its own node', async () => {
    const { sim, bob, manifest } = await lost('challenged', 10_000);
    await sim.until(() => !bob.contents.has(manifest));
    await sim.until(() => bob.contents.has(manifest));
    expect(isContentIntact(bob, manifest, 'now')).toBe(true);
    await sim.runUntilQuiet();
  });

  it('is found out when somebody orders the content, and mended by its own node', async () => {
    const { sim, bob, manifest, version } = await lost('ordered', 24 * 3_600_000);
    const peers = new ReplicaPeers({ network: sim.process('alice').network, clock: sim.clock });
    const order = { ns: namespace, key: 'file', version: version as VersionId, manifest, holders: [] };
    const peer = sim.process('bob').network.localPeer;
    expect(await sim.run(peers.ask(peer, 'talk', (client) => client.order([order])))).toBe(1);
    await sim.advance(5_000);
    expect([bob.contents.has(manifest), isContentIntact(bob, manifest, 'now')]).toEqual([true, true]);
    await sim.runUntilQuiet();
  });
});
