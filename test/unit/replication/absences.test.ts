import { expect, test } from 'vitest';
import type { NodeId } from '../../../crdt/ids.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { absentOf, watchGone } from '../../../src/replication/absences.ts';

const delayMs = 30_000;
const members = ['b', 'c'] as NodeId[];

/** A watch over two members, who go and come. */
function watched() {
  const clock = new VirtualClock();
  const since = new Map<NodeId, number>();
  const listeners = new Set<() => void>();
  const liveness = {
    offlineForMs: (node: NodeId) => {
      const ms = since.get(node);
      return ms === undefined ? undefined : clock.monotonicMs() - ms;
    },
    onChange: (listener: () => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const tell = (): void => {
    for (const listener of listeners) listener();
  };
  const changes: number[] = [];
  const absent = () => absentOf(members, liveness, delayMs);
  const end = watchGone({ clock, liveness, absent }, () => changes.push(clock.monotonicMs()));
  const go = (node: string): void => {
    since.set(node as NodeId, clock.monotonicMs());
    tell();
  };
  const come = (node: string): void => {
    since.delete(node as NodeId);
    tell();
  };
  return { clock, changes, go, come, end };
}

test('who is gone changes when each delay is over and when one who was gone is back, and at no other time', async () => {
  const { clock, changes, go, come } = watched();
  go('b');
  await clock.advance(10_000);
  go('c');
  await clock.advance(50_000);
  expect(changes).toEqual([30_000, 40_000]);
  come('b');
  expect(changes).toEqual([30_000, 40_000, 60_000]);
});

test('who is back before the delay is over was never gone', async () => {
  const { clock, changes, go, come } = watched();
  go('b');
  await clock.advance(29_000);
  come('b');
  await clock.advance(60_000);
  expect(changes).toEqual([]);
});

test('nothing is left of a watch that has ended', async () => {
  const { clock, changes, go, end } = watched();
  go('b');
  end();
  go('c');
  await clock.advance(60_000);
  expect(changes).toEqual([]);
  expect(clock.pendingTimers).toBe(0);
});
