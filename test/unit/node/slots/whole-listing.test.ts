import { expect, it } from 'vitest';
import { type NodeId, ok, type PeerId } from '../../../../crdt/ids.ts';
import { SlotSet } from '../../../../crdt/slot-set.ts';
import { VirtualClock } from '../../../../src/adapters/memory/clock.ts';
import { MemoryLog } from '../../../../src/adapters/memory/log.ts';
import { WholeListing } from '../../../../src/node/slots/whole-listing.ts';

it('ends a listing that waits for another holder when its node stops', async () => {
  const clock = new VirtualClock();
  let asked = 0;
  const open = (): Promise<never> => {
    asked += 1;
    return new Promise(() => undefined);
  };
  const listing = new WholeListing({
    network: { connectedPeers: () => ['peer' as PeerId], open },
    clock,
    slots: { held: SlotSet.of(16, [1]), placement: { holdersOf: () => ['node' as NodeId] } },
    reader: { list: () => ok({ objects: [], prefixes: [], next: null }) },
    peerOf: () => 'peer' as PeerId,
    log: new MemoryLog(),
  } as never);
  const listed = listing.list({ ns: 'test' });
  const ended = expect(listed).rejects.toMatchObject({ code: 'shutting_down' });
  await clock.advance(10);
  listing.stop();
  // Without another look at the clock.
  await ended;
  await expect(listing.list({ ns: 'test' })).rejects.toMatchObject({ code: 'shutting_down' });
  expect(asked).toBe(1);
});
