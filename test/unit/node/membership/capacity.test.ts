import { describe, expect, it } from 'vitest';
import type { ControlMember } from '../../../../crdt/control/member.ts';
import { blobHashOf } from '../../../../crdt/digest.ts';
import { peerIdOf } from '../../../../crdt/signature.ts';
import { MemoryBlobStore } from '../../../../src/adapters/memory/blob-store.ts';
import { VirtualClock } from '../../../../src/adapters/memory/clock.ts';
import { MemoryLog } from '../../../../src/adapters/memory/log.ts';
import { SeededRandom } from '../../../../src/adapters/memory/random.ts';
import type { SubmitInput, SubmitOutcome } from '../../../../src/control/submitter.ts';
import { CapacityReporter } from '../../../../src/node/membership/capacity-reporter.ts';
import { NodeSpace } from '../../../../src/node/membership/node-space.ts';
import { testNode } from '../../../support/versions.ts';

const { nodeId, signer } = testNode('north');
const member: ControlMember = {
  name: 'north',
  nodeId,
  peerId: peerIdOf(signer.publicKey),
  addresses: [],
  roles: ['storage'],
  labels: {},
};
const tebibyte = 2 ** 40;
const hourMs = 3_600_000;
/** Longer than the first look takes to come. */
const soonMs = 60_000;

class World {
  readonly clock = new VirtualClock();
  readonly asked: SubmitInput[] = [];
  self: ControlMember | undefined = member;
  capacityBytes: number | undefined = tebibyte;
  outcome: (input: SubmitInput) => SubmitOutcome = () => {
    return { kind: 'committed', seq: 1, hash: '', operationId: 'x'.repeat(26) };
  };
  readonly reporter = new CapacityReporter(
    {
      clock: this.clock,
      random: new SeededRandom('capacity'),
      log: new MemoryLog(),
      self: () => this.self,
      capacityBytes: () => this.capacityBytes,
      submit: async (input) => {
        this.asked.push(input);
        return this.outcome(input);
      },
    },
    { nodeId },
  );

  constructor() {
    this.reporter.start();
  }

  steps(): unknown[] {
    return this.asked.map(({ operations: [operation] }) => operation?.type === 'capacity' && operation.capacity);
  }
}

describe('the capacity of a node', () => {
  it('is entered when nothing is said of it, and let be while it is near', async () => {
    const world = new World();
    await world.clock.advance(soonMs);
    expect(world.steps()).toEqual([20]);
    for (const said of [19, 20, 21]) {
      world.self = { ...member, capacity: said };
      await world.clock.advance(3 * hourMs);
    }
    expect(world.steps()).toEqual([20]);
    world.capacityBytes = 2 * tebibyte;
    world.self = { ...member, capacity: 20 };
    await world.clock.advance(2 * hourMs);
    expect(world.steps()[1]).toBe(22);
    world.reporter.stop();
  });

  it('is entered once an hour at the most', async () => {
    const world = new World();
    let entered = 0;
    for (let hours = 0; hours < 10; hours += 1) {
      await world.clock.advance(hourMs);
      expect(world.asked.length - entered).toBeLessThanOrEqual(1);
      entered = world.asked.length;
    }
    expect(entered).toBeGreaterThan(5);
    world.reporter.stop();
  });

  it('is asked for ever more seldom while it is refused', async () => {
    const world = new World();
    world.outcome = () => ({ kind: 'refused', code: 'quorum_unavailable', message: '', operationId: 'x'.repeat(26) });
    await world.clock.advance(12 * hourMs);
    expect(world.asked.length).toBeGreaterThan(10);
    expect(world.asked.length).toBeLessThan(24);
    world.reporter.stop();
  });

  it('is asked for again as the same operation when nobody knows whether it was entered', async () => {
    const world = new World();
    world.outcome = ({ operationId = 'y'.repeat(26) }) => ({ kind: 'unknown', operationId });
    await world.clock.advance(soonMs);
    world.capacityBytes = 64 * tebibyte;
    await world.clock.advance(2 * soonMs);
    expect(world.asked.length).toBeGreaterThan(1);
    expect(world.asked.slice(1).every(({ operationId }) => operationId === 'y'.repeat(26))).toBe(true);
    expect(new Set(world.steps())).toEqual(new Set([20]));
    world.reporter.stop();
  });

  it('is not entered by who is no member, holds no content, or has not measured', async () => {
    const world = new World();
    for (const self of [undefined, { ...member, roles: ['coordinator' as const] }]) {
      world.self = self;
      await world.clock.advance(2 * soonMs);
    }
    world.self = member;
    world.capacityBytes = undefined;
    await world.clock.advance(2 * soonMs);
    expect(world.asked).toEqual([]);
    world.reporter.stop();
  });

  it('is no longer looked at once the node stops', async () => {
    const world = new World();
    world.reporter.stop();
    await world.clock.advance(hourMs);
    expect(world.asked).toEqual([]);
    expect(world.clock.pendingTimers).toBe(0);
  });
});

describe('the space of a node', () => {
  const blob = new Uint8Array(300).fill(1);

  it('is that of its disk, or what it may hold less what it holds', async () => {
    const clock = new VirtualClock();
    const blobs = new MemoryBlobStore();
    blobs.setCapacity(10_000);
    await clock.run(blobs.put(blobHashOf(blob), blob), 1_000);
    const measured = (capacityBytes?: number) => {
      const space = new NodeSpace({ blobs, clock }, capacityBytes === undefined ? {} : { capacityBytes });
      return clock.run(space.measure(), 1_000);
    };
    expect(await measured()).toEqual({ capacityBytes: 10_000, freeBytes: 9_700 });
    expect(await measured(1_000)).toEqual({ capacityBytes: 1_000, freeBytes: 700 });
    expect(await measured(200)).toEqual({ capacityBytes: 200, freeBytes: 0 });
    expect(await measured(1e9)).toEqual({ capacityBytes: 10_000, freeBytes: 9_700 });
  });
});
