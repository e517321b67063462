import { describe, expect, test } from 'vitest';
import type { Outcome } from '../../../protocols/quorum/register-kind.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import { runs } from '../../support/property-runs.ts';
import { headOf, QuorumMesh, type QuorumNode, registerOf } from '../../support/quorum-mesh.ts';

const seeds = Array.from({ length: runs(0.24).numRuns }, (_, at) => `engine ${at + 1}`);
const names = ['north', 'east', 'south', 'agent'];
const registers = ['x', 'y', 'z'].map(registerOf);
const stepsMax = 40;

/** Whole engines with real signatures and stores, under cuts and power losses, on virtual time. */
async function run(seed: string): Promise<{ mesh: QuorumMesh; confirmed: number }> {
  const random = new SeededRandom(seed);
  const mesh = await QuorumMesh.start(names, 3, { seed, flushDelayMs: 3 });
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random.fraction() * items.length)] as T;
  const under = new Set<Promise<void>>();
  const proposed = new Map<string, string>();
  let confirmed = 0;
  let serial = 0;
  const settled = (outcome: Outcome): void => {
    if (outcome.kind === 'confirmed') confirmed += 1;
  };
  const propose = (node: QuorumNode): void => {
    const register = pick(registers);
    const base = node.book.latest(register)?.statement.head;
    serial += 1;
    // Who gave up proposes the same again, as a node does with what it holds.
    const again = random.fraction() < 0.3 ? proposed.get(register) : undefined;
    const head = again ?? headOf(...mesh.historyOf(base), `${serial}`);
    proposed.set(register, head);
    const timeoutMs = random.fraction() < 0.3 ? 25 : 3_000;
    // A proposal of a node that loses its power never ends; nobody is there to wait for it.
    const ended = node.engine.propose(register, head, { timeoutMs }).then(settled, () => undefined);
    under.add(ended);
    void ended.then(() => under.delete(ended));
  };
  for (let step = 0; step < stepsMax; step += 1) {
    const node = mesh.node(pick(names));
    const what = random.fraction();
    if (what < 0.6) for (let count = 0; count < 3; count += 1) propose(mesh.node(pick(names)));
    else if (what < 0.75) mesh.hub.partition([node.peerId], mesh.peers(...names));
    else if (what < 0.9) mesh.hub.heal();
    else {
      node.crash();
      await node.start();
    }
    await mesh.clock.advance(random.fraction() * 200);
  }
  mesh.hub.heal();
  await mesh.clock.advance(20_000);
  expect(under.size).toBe(0);
  return { mesh, confirmed };
}

describe('whole engines under cuts and power losses', () => {
  test.each(seeds)('keep one chain a register and go on: %s', async (seed) => {
    const { mesh, confirmed } = await run(seed);
    expect(mesh.faults()).toEqual([]);
    expect(confirmed).toBeGreaterThan(5);
    for (const register of registers) {
      const base = mesh.node('north').book.latest(register)?.statement.head;
      const found = await mesh.node('north').propose(register, headOf(...mesh.historyOf(base), 'last'));
      // Either it is the next, or the refusal shows the head to build on.
      const head = found.kind === 'unavailable' ? undefined : found.certificate?.statement.head;
      expect(head).toBeDefined();
      expect(await mesh.node('agent').propose(register, headOf(...mesh.historyOf(head), 'end'))).toMatchObject({
        kind: 'confirmed',
      });
    }
    for (const name of names) expect(mesh.node(name).engine.restoredCoordinators()).toEqual([]);
    expect(mesh.faults()).toEqual([]);
    await mesh.stop();
  });
});
