import { expect, it } from 'vitest';
import type { DocId, NodeId } from '../../../../crdt/ids.ts';
import { SlotSet } from '../../../../crdt/slot-set.ts';
import type { SyncClient } from '../../../../protocols/sync/client.ts';
import { VirtualClock } from '../../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../../src/adapters/memory/kv.ts';
import { MemoryMetrics } from '../../../../src/adapters/memory/metrics.ts';
import { SlotDuties } from '../../../../src/node/slots/slot-duties.ts';
import type { SlotHoldings } from '../../../../src/node/slots/slot-holdings.ts';

const flushDelayMs = 5;
const [self, holder] = ['self', 'holder'] as [NodeId, NodeId];
const leaving = [3, 7];

it('compares what is here of a slot that leaves only when all that was written before can be read', async () => {
  const clock = new VirtualClock();
  const kv = new MemoryKv(clock, { flushDelayMs });
  const told: unknown[] = [];
  const slots = {
    leavingTo: () => leaving,
    handedOver: (...handed: unknown[]) => told.push(['handed over', ...handed]),
  } as unknown as SlotHoldings;
  const client = {
    offerSlots: async (offered: readonly number[]) => {
      told.push(['offered', offered]);
      return { offered: 1, lacking: 0 };
    },
  } as unknown as SyncClient;
  const dependencies = { kv, slotOf: (_doc: DocId) => 3, slots, owed: () => undefined, metrics: new MemoryMetrics() };
  const duties = new SlotDuties(dependencies, { nodeId: self });
  // A store may show a transaction that has run to nobody until it is written, as LMDB does.
  void kv.transact((transaction) => transaction.put(Uint8Array.of(1), Uint8Array.of(1)));
  await clock.advance(1);
  const done = duties.carryOut(client, holder, SlotSet.of(16, leaving));
  await clock.advance(flushDelayMs - 2);
  expect(told).toEqual([]);
  await clock.advance(1);
  expect(await done).toBe(false);
  expect(told).toEqual([
    ['offered', leaving],
    ['handed over', holder, leaving],
  ]);
});
