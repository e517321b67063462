import { beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import { Incarnation } from '../../../src/node/incarnation.ts';
import { testNode } from '../../support/versions.ts';

const { nodeId } = testNode('alice');
const random = new SeededRandom('incarnations');

let kv: MemoryKv;

beforeEach(() => {
  kv = new MemoryKv(new VirtualClock());
});

async function started(store = kv) {
  const incarnation = new Incarnation({ kv: store, random }, nodeId);
  return { incarnation, how: await incarnation.start() };
}

describe('an incarnation', () => {
  it('is kept after a clean stop, and once only', async () => {
    const { incarnation, how } = await started();
    expect(how).toBe('drawn');
    await incarnation.markCleanStop();
    const second = await started();
    expect([second.how, second.incarnation.actor]).toEqual(['kept', incarnation.actor]);
    const third = await started();
    expect(third.how).toBe('drawn');
    expect(third.incarnation.actor).not.toBe(incarnation.actor);
  });

  it('is another one in a copy of the directory, though that was stopped well', async () => {
    const { incarnation } = await started();
    await incarnation.markCleanStop();
    const copy = await started(kv.clone());
    expect(copy.how).toBe('drawn');
    expect(copy.incarnation.actor).not.toBe(incarnation.actor);
  });

  it('that was drawn anew is what a clean stop keeps', async () => {
    const { incarnation } = await started();
    const before = incarnation.actor;
    await kv.transact((transaction) => incarnation.redraw(transaction));
    expect(incarnation.actor).not.toBe(before);
    await incarnation.markCleanStop();
    expect((await started()).incarnation.actor).toBe(incarnation.actor);
  });

  it('that was drawn anew while the node stopped is not undone by the marker', async () => {
    const { incarnation } = await started();
    const before = incarnation.actor;
    await incarnation.markCleanStop();
    await kv.transact((transaction) => incarnation.redraw(transaction));
    const next = await started();
    expect(next.how).toBe('drawn');
    expect(next.incarnation.actor).not.toBe(before);
  });
});
