import { afterEach, describe, expect, it } from 'vitest';
import type { PeerId } from '../../../crdt/ids.ts';
import type { Version } from '../../../crdt/version.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import type { MemberDirectory } from '../../../src/node/member-directory.ts';
import { PropagationMonitor } from '../../../src/node/propagation.ts';
import { Mesh } from '../../support/mesh.ts';
import { testNode, write } from '../../support/versions.ts';

const hourMs = 3_600_000;
const delays = 'anabranch_propagation_seconds';
const bob = testNode('bob');
const peer = 'peer of bob' as PeerId;

function monitor() {
  const clock = new VirtualClock();
  const metrics = new MemoryMetrics();
  const members = {
    byPeer: (id: PeerId) => (id === peer ? { nodeId: bob.nodeId } : undefined),
  } as unknown as MemberDirectory;
  const propagation = new PropagationMonitor({ clock, members, metrics });
  const nowMs = clock.nowMs();
  /** Bob's clock is ahead by so much; asked so long ago. */
  const hear = (aheadMs: number, tripMs = 10): void =>
    propagation.heardTime(peer, { sentMs: nowMs - tripMs, peerMs: nowMs - tripMs / 2 + aheadMs, receivedMs: nowMs });
  const version = (time: number): Version => write(bob, [], { time });
  const seen = (via: 'gossip' | 'quorum' | 'sync') => ({
    count: metrics.observations(delays, { via }),
    seconds: metrics.value(delays, { via }),
  });
  return { propagation, nowMs, hear, version, seen };
}

describe('the delay of a version that arrives', () => {
  it('is counted from its writing by the clock of its writer, less how far that is ahead', () => {
    const { propagation, nowMs, hear, version, seen } = monitor();
    hear(5 * hourMs);
    expect(propagation.offsetMs(bob.nodeId)).toBe(5 * hourMs);
    propagation.arrived([version(nowMs + 5 * hourMs - 250), version(nowMs + 5 * hourMs - 750)], 'gossip');
    expect(seen('gossip')).toEqual({ count: 2, seconds: 1 });
    propagation.arrived([version(nowMs + 5 * hourMs - 2_000)], 'sync');
    expect(seen('sync')).toEqual({ count: 1, seconds: 2 });
    expect(seen('quorum').count).toBe(0);
  });

  it('is counted alike when that clock is behind, and is nothing when it would be less', () => {
    const { propagation, nowMs, hear, version, seen } = monitor();
    hear(-3 * hourMs);
    propagation.arrived([version(nowMs - 3 * hourMs - 500)], 'quorum');
    expect(seen('quorum')).toEqual({ count: 1, seconds: 0.5 });
    propagation.arrived([version(nowMs - 3 * hourMs + 500)], 'quorum');
    expect(seen('quorum')).toEqual({ count: 2, seconds: 0.5 });
  });

  it('is not counted while the clock of the writer is not known, nor by the word of who is no member', () => {
    const { propagation, nowMs, version, seen } = monitor();
    const sample = { sentMs: nowMs, peerMs: nowMs, receivedMs: nowMs };
    propagation.heardTime('a stranger' as PeerId, sample);
    propagation.arrived([version(nowMs - 100)], 'sync');
    expect(seen('sync').count).toBe(0);
    propagation.heardTime(peer, sample);
    propagation.arrived([version(nowMs - 100)], 'sync');
    expect(seen('sync')).toEqual({ count: 1, seconds: 0.1 });
  });

  it('follows a clock that was set right, after eight samples at the latest', () => {
    const { propagation, hear } = monitor();
    hear(hourMs, 2);
    for (let count = 0; count < 7; count += 1) hear(0, 10);
    expect(propagation.offsetMs(bob.nodeId)).toBe(hourMs);
    hear(0, 10);
    expect(propagation.offsetMs(bob.nodeId)).toBe(0);
  });
});

describe('in a mesh whose clocks are hours apart', () => {
  let mesh: Mesh;
  afterEach(async () => {
    await mesh.stop();
  });

  it('delays are those of the links, by gossip and by sync', async () => {
    mesh = new Mesh(['alice', 'bob', 'carol']);
    mesh.sim.get('bob').clock.jump(7 * hourMs);
    mesh.sim.get('carol').clock.jump(-7 * hourMs);
    for (const name of ['alice', 'bob', 'carol']) await mesh.startNode(name);
    await mesh.settle(60_000);
    const { metrics } = mesh.get('alice');
    const before = metrics.observations(delays, { via: 'gossip' });
    for (const name of ['bob', 'carol']) await mesh.put(name, `of ${name}`, 'text');
    await mesh.settle();
    const count = metrics.observations(delays, { via: 'gossip' }) - before;
    expect(count).toBe(2);
    expect(metrics.value(delays, { via: 'gossip' }) / count).toBeLessThan(1);
    expect(metrics.value(delays, { via: 'gossip' })).toBeGreaterThan(0);

    const early = { count: metrics.observations(delays, { via: 'sync' }), sum: metrics.value(delays, { via: 'sync' }) };
    mesh.partition(['alice'], ['bob', 'carol']);
    await mesh.settle();
    await mesh.put('bob', 'while apart', 'text');
    await mesh.settle(20_000);
    mesh.heal();
    await mesh.until(() => mesh.heads('alice', 'while apart').length === 1);
    await mesh.settle(100);
    expect(metrics.observations(delays, { via: 'sync' })).toBe(early.count + 1);
    const seconds = metrics.value(delays, { via: 'sync' }) - early.sum;
    expect(seconds).toBeGreaterThan(20);
    expect(seconds).toBeLessThan(30);
  });
});
