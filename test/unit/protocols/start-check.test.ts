import { afterEach, describe, expect, test } from 'vitest';
import { stickyOrder } from '../../../protocols/quorum/sticky-order.ts';
import { coordinatorOf, headOf, QuorumMesh, type QuorumNode, registerOf } from '../../support/quorum-mesh.ts';

let mesh: QuorumMesh;

afterEach(async () => {
  expect(mesh.faults()).toEqual([]);
  await mesh.stop();
});

const names = ['north', 'east', 'south'] as const;
const head = headOf('a');

/** Registers for which a coordinator is the first to propose. */
function registersOf(name: string, count: number): string[] {
  const found: string[] = [];
  for (let at = 0; found.length < count; at += 1) {
    const register = registerOf(`start check ${at}`);
    if (stickyOrder(register, names.map(coordinatorOf))[0]?.nodeId === coordinatorOf(name).nodeId) found.push(register);
  }
  return found;
}

async function timed<T>(run: Promise<T>): Promise<{ readonly outcome: T; readonly ms: number }> {
  const startMs = mesh.clock.monotonicMs();
  const outcome = await mesh.run(run);
  return { outcome, ms: mesh.clock.monotonicMs() - startMs };
}

/** Starts a node again whose connections to some never bring anything, from the moment they are there. */
async function startBesideSilent(node: QuorumNode, silent: readonly string[]): Promise<void> {
  await node.start();
  const peers = mesh.peers(...silent);
  node.network.onPeerChange(({ kind, peer }) => {
    if (kind !== 'connected' || !peers.includes(peer)) return;
    mesh.hub.hold(peer, node.peerId);
    mesh.hub.hold(node.peerId, peer);
  });
  await mesh.clock.advance(1_000);
}

function release(node: QuorumNode, silent: readonly string[]): Promise<void> {
  for (const peer of mesh.peers(...silent)) {
    mesh.hub.release(peer, node.peerId);
    mesh.hub.release(node.peerId, peer);
  }
  return mesh.clock.advance(1_000);
}

/** Puts back the disk that a node had before another one heard of its last votes. */
async function rollBack(victim: QuorumNode, heardBy: string): Promise<void> {
  const backup = victim.kv.snapshot();
  for (const register of registersOf(heardBy, 5)) await mesh.node(heardBy).propose(register, head);
  await mesh.clock.advance(1_000);
  await victim.stop();
  victim.kv = victim.kv.restore(backup, { unnoticed: true });
}

describe('the first proposal after a start', () => {
  test('takes no longer than any other when everybody answers', async () => {
    mesh = await QuorumMesh.start(names, 3, { linkMs: 100, flushDelayMs: 0 });
    await mesh.clock.advance(2_000);
    const [first = '', second = ''] = registersOf('north', 2);
    const { ms } = await timed(mesh.node('north').engine.propose(first, head));
    expect(ms).toBe((await timed(mesh.node('north').engine.propose(second, head))).ms);
  });

  test('waits a moment for one that is connected and says nothing, and then does without', async () => {
    mesh = await QuorumMesh.start(names);
    const north = mesh.node('north');
    await north.stop();
    await startBesideSilent(north, ['south']);
    const [register = ''] = registersOf('north', 1);
    const { outcome, ms } = await timed(north.engine.propose(register, head));
    expect(outcome).toMatchObject({ kind: 'confirmed' });
    expect(ms).toBeLessThan(1_600);
    await release(north, ['south']);
  });

  test('is not made while no majority has compared, and is once one has', async () => {
    mesh = await QuorumMesh.start(names);
    const north = mesh.node('north');
    await north.stop();
    await startBesideSilent(north, ['south', 'east']);
    const [register = ''] = registersOf('north', 1);
    expect(await north.propose(register, head, 3_000)).toMatchObject({ kind: 'unavailable' });
    await release(north, ['south', 'east']);
    expect(await north.propose(register, head)).toMatchObject({ kind: 'confirmed' });
  });
});

describe('a coordinator on an older disk', () => {
  test('learns it from one who answers late, and gives no vote from then on', async () => {
    mesh = await QuorumMesh.start(names);
    const north = mesh.node('north');
    await rollBack(north, 'east');
    await startBesideSilent(north, ['east']);
    // Who has heard of the later votes says nothing yet; the other one never heard of any.
    const [register = ''] = registersOf('north', 1);
    await north.propose(register, head);
    expect(north.engine.restoredCoordinators()).toEqual([]);
    await release(north, ['east']);
    expect(north.engine.restoredCoordinators()).toEqual([north.nodeId]);
  });

  test('learns it from one who connects late', async () => {
    mesh = await QuorumMesh.start(names);
    const south = mesh.node('south');
    await rollBack(south, 'east');
    mesh.hub.partition(mesh.peers('south'), mesh.peers('east'));
    await south.start();
    await mesh.clock.advance(1_000);
    expect(south.engine.restoredCoordinators()).not.toContain(south.nodeId);
    mesh.hub.heal();
    await mesh.clock.advance(1_000);
    expect(south.engine.restoredCoordinators()).toContain(south.nodeId);
  });
});
