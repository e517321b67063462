import type { Role } from '../../../crdt/control/member.ts';
import type { AskedOperation } from '../../../src/node/cluster-api.ts';
import { Simulation } from '../simulation.ts';

const names = ['alice', 'bob', 'carol', 'dave', 'erin'];
const voting: readonly Role[] = ['coordinator', 'storage'];

/** Five nodes, the first three of which vote. */
async function begin(seed: string): Promise<Simulation> {
  const sim = new Simulation({ seed, nodes: names });
  await sim.startAll();
  return sim;
}

function coordinator(sim: Simulation, name: string): AskedOperation {
  return { type: 'roles', nodeId: sim.member(name).nodeId, roles: voting };
}

/**
 * Runs that come to the one place where a deliberate fault shows, which drawn runs come to by luck only. A sound node plays
 * each to its end.
 */
export const faultScripts = {
  /** Its disk goes back in time to a clean stop, so nothing but its own versions can tell a node of what it has lost. */
  'write-on-as-before': async () => {
    const sim = await begin('own versions');
    await sim.write('dave', 'key', 'before');
    await sim.stop('dave');
    sim.backUp('dave');
    await sim.restart('dave');
    await sim.write('dave', 'key', 'lost');
    await sim.runUntilQuiet();
    sim.restoreBackup('dave', { unnoticed: true });
    await sim.restart('dave');
    await sim.runUntilQuiet();
    await sim.write('dave', 'key', 'after');
    await sim.runUntilQuiet();
  },
  /** A coordinator goes on in a copy of its directory. Nobody has heard of a vote that the copy lacks, so nobody can tell it. */
  'vote-on-when-restored': async () => {
    const sim = await begin('copied votes');
    await sim.write('alice', 'key', 'before');
    await sim.runUntilQuiet();
    sim.backUp('carol');
    sim.restoreBackup('carol');
    await sim.restart('carol');
    await sim.write('alice', 'key', 'after');
    await sim.runUntilQuiet();
  },
  /** Two coordinators are to be added, the second while the objects are still on their way to the first. */
  'call-it-carried-over': async () => {
    const sim = await begin('one after the other');
    for (let key = 0; key < 12; key += 1) await sim.write('alice', `key-${key}`, 'before');
    await sim.runUntilQuiet();
    await sim.run(sim.change('alice', coordinator(sim, 'dave')));
    await sim.run(sim.change('alice', coordinator(sim, 'erin')));
    await sim.runUntilQuiet();
  },
  /** A change is chosen by way of the only coordinator that its node reaches, and the answer is lost. */
  'refuse-what-may-be-chosen': async () => {
    const sim = await begin('a lost answer');
    sim.partition(['dave'], ['bob', 'carol', 'erin']);
    await sim.advance(2_000);
    const asked = sim.change('dave', { type: 'configuration', scope: 'simulated', values: { value: 1 } });
    await sim.until(() => sim.node('alice').cluster.checkpoint().size === 2);
    sim.partition(['dave'], ['alice']);
    await sim.run(asked);
    sim.heal();
    await sim.runUntilQuiet();
  },
} satisfies Record<string, () => Promise<void>>;

export type FaultScriptName = keyof typeof faultScripts;
