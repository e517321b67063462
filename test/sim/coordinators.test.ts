import { describe, expect, it } from 'vitest';
import type { Role } from '../../crdt/control/member.ts';
import type { AskedOperation, Outcome } from '../../src/node/api.ts';
import { Simulation } from './simulation.ts';

const voting: readonly Role[] = ['coordinator', 'storage'];
const names = ['alice', 'bob', 'carol', 'dave', 'erin'];

/** Five nodes, the first three of which vote. */
async function begin(seed: string): Promise<Simulation> {
  const sim = new Simulation({ seed, nodes: names });
  await sim.startAll();
  return sim;
}

const codeOf = (outcome: Outcome<unknown>): string => (outcome.ok ? 'ok' : outcome.error.code);
const rolesOf = (sim: Simulation, name: string, roles: readonly Role[]): AskedOperation => ({
  type: 'roles',
  nodeId: sim.member(name).nodeId,
  roles,
});
const carried = async (sim: Simulation, through: string): Promise<boolean> => {
  const told = await sim.run(sim.node(through).cluster.carryOver());
  return told.ok && told.value.complete;
};

/** Has an operator change something, and waits until every register has been carried to who votes then. */
async function change(sim: Simulation, through: string, operation: AskedOperation): Promise<void> {
  expect(codeOf(await sim.run(sim.change(through, operation)))).toBe('ok');
  for (let seconds = 0; !(await carried(sim, through)); seconds += 1) {
    if (seconds > 60) throw new Error('the carry-over did not end');
    await sim.advance(1_000);
  }
}

const confirmedAt = (sim: Simulation, name: string, key: string): string | null => sim.graphOf(name, key).confirmedHead;

/** How often a node proposed something, by what came of it. */
function proposals(sim: Simulation, name: string): Readonly<Record<string, number>> {
  const { metrics } = sim.process(name);
  const outcomes = ['confirmed', 'refused', 'no_majority', 'lost', 'busy', 'missing', 'epoch', 'deadline'];
  return Object.fromEntries(
    outcomes.flatMap((outcome) => {
      const count = metrics.value('anabranch_confirmations_total', { outcome });
      return count === 0 ? [] : [[outcome, count]];
    }),
  );
}

describe('a coordinator that is dead for good', () => {
  it('is removed and replaced: everything is confirmed again, with the new one and without a third', async () => {
    const sim = await begin('replaced');
    const keys = Array.from({ length: 12 }, (_, index) => `key-${index}`);
    for (const key of keys) await sim.write('alice', key, 'before');
    await sim.runUntilQuiet();
    sim.crash('carol');
    await change(sim, 'dave', { type: 'remove', nodeId: sim.member('carol').nodeId });
    await change(sim, 'erin', rolesOf(sim, 'dave', voting));
    // The new one counts: a majority of alice, bob and dave is left without alice.
    sim.crash('alice');
    const written = new Map<string, string>();
    for (const key of keys) written.set(key, (await sim.write('erin', key, 'after')).version);
    await sim.until(() => keys.every((key) => confirmedAt(sim, 'bob', key) === written.get(key)));
    const confirmed = await sim.run(sim.node('bob').confirm({ ns: 'test', key: 'key-0' }));
    expect(confirmed.ok && confirmed.value.certificate.statement.epoch).toBe(3);

    await sim.restart('alice');
    await sim.restart('carol');
    await sim.until(() => keys.every((key) => confirmedAt(sim, 'alice', key) === written.get(key)));
    await sim.advance(30_000);
    // It is a stranger to the others now, and whatever it holds of the past it does not decide with.
    const status = await sim.run(sim.node('carol').status());
    expect(status.peers.connected).toBe(0);
    expect(status.membership.state).toBe('turned_away');
    expect(codeOf(await sim.run(sim.change('carol', rolesOf(sim, 'erin', voting))))).toBe('quorum_unavailable');
    const alone = await sim.write('carol', 'key-0', 'by who was put out');
    await sim.advance(30_000);
    expect(confirmedAt(sim, 'carol', 'key-0')).not.toBe(alone.version);
    for (const name of ['alice', 'bob', 'dave', 'erin'])
      expect(sim.headsOf(name, 'key-0')).toEqual([written.get('key-0')]);
  });

  it('comes back as a node that only stores when it was made one meanwhile', async () => {
    const sim = await begin('demoted');
    await sim.write('alice', 'plan', 'before');
    await sim.runUntilQuiet();
    sim.crash('carol');
    await change(sim, 'alice', rolesOf(sim, 'carol', ['storage']));
    await change(sim, 'alice', rolesOf(sim, 'dave', voting));
    const { version } = await sim.write('erin', 'plan', 'after');
    await sim.until(() => confirmedAt(sim, 'alice', 'plan') === version);
    await sim.restart('carol');
    await sim.runUntilQuiet();
    const { control, membership } = await sim.run(sim.node('carol').status());
    expect(membership.state).toBe('member');
    expect(control).toMatchObject({ epoch: 3, coordinator: false, restored: [], carryOver: null });
    expect(confirmedAt(sim, 'carol', 'plan')).toBe(version);
  });
});

describe('a minority that wrote while it was cut off', () => {
  it('has each of its objects confirmed by one proposal when the cut heals, and what lost proposes nothing again', async () => {
    const sim = await begin('resubmitted');
    await sim.write('alice', 'both', 'before');
    await sim.runUntilQuiet();
    sim.partition(['alice', 'dave'], ['bob', 'carol', 'erin']);
    await sim.advance(20_000);
    expect((await sim.run(sim.node('alice').status())).quorum.available).toBe(false);
    const own = Array.from({ length: 20 }, (_, index) => `own-${index}`);
    for (const key of own) {
      // Of a line of writes the last is proposed, and its ancestors are confirmed with it.
      await sim.write('alice', key, 'first');
      await sim.write('alice', key, 'second');
    }
    await sim.write('alice', 'both', 'by the minority');
    await sim.write('bob', 'both', 'by the majority');
    await sim.advance(60_000);
    const before = proposals(sim, 'alice');
    sim.heal();
    await sim.runUntilQuiet();
    for (const key of own)
      expect(sim.graphOf('erin', key)).toMatchObject({ confirmedHead: sim.headsOf('erin', key)[0] });
    const after = proposals(sim, 'alice');
    const since = Object.fromEntries(
      Object.keys(after).map((each) => [each, (after[each] ?? 0) - (before[each] ?? 0)]),
    );
    // The branch of the object that both wrote is proposed once as well: who wrote it cannot know yet that it lost.
    expect(since).toEqual({ confirmed: own.length, refused: 1 });
    expect(sim.headsOf('alice', 'both')).toHaveLength(2);
    await sim.advance(300_000);
    expect(proposals(sim, 'alice')).toEqual(after);
  });
});
