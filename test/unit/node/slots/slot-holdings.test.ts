import { describe, expect, it } from 'vitest';
import type { NodeId } from '../../../../crdt/ids.ts';
import type { SlotMember } from '../../../../crdt/slot-placement.ts';
import { SlotSet } from '../../../../crdt/slot-set.ts';
import { VirtualClock } from '../../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../../src/adapters/memory/metrics.ts';
import { SlotHoldings } from '../../../../src/node/slots/slot-holdings.ts';

const slots = 16;
const none = SlotSet.none(slots);
const all = SlotSet.all(slots);
const self = 'self' as NodeId;

function member(name: string, roles: SlotMember['roles'] = ['storage']): SlotMember {
  return { nodeId: name as NodeId, roles };
}

/** Holdings over a store that outlives them. */
function scene(members: SlotMember[], { threshold = 0, replicas = 1 } = {}) {
  const kv = new MemoryKv(new VirtualClock());
  const start = async (hasObjects = false): Promise<SlotHoldings> => {
    const holdings = new SlotHoldings(
      { kv, members: () => members, log: new MemoryLog(), metrics: new MemoryMetrics() },
      { nodeId: self, slots, rules: { threshold, replicas } },
    );
    await holdings.start(hasObjects);
    return holdings;
  };
  return { members, start };
}

const peers = ['a', 'b', 'c', 'd'].map((name) => member(name));

describe('the slots a node holds', () => {
  it('are all of them at once where slots are not placed', async () => {
    const holdings = await scene([member('self'), ...peers], { threshold: 32 }).start();
    expect(holdings.isEverything).toBe(true);
    expect(holdings.held.isAll).toBe(true);
    expect(holdings.holds(7)).toBe(true);
    // It does not say so to others before it has compared them with most.
    expect(holdings.whole.size).toBe(0);
    holdings.compared('a' as NodeId, all, none);
    expect(holdings.whole.size).toBe(0);
    holdings.compared('b' as NodeId, all, none);
    expect(holdings.whole.isAll).toBe(true);
  });

  it('are answered for once they were compared with a holder that has them whole', async () => {
    const { start } = scene([member('self', ['coordinator']), ...peers]);
    const holdings = await start();
    expect(holdings.isEverything).toBe(false);
    expect(holdings.status()).toEqual({ count: 16, kept: 16, held: 0, leaving: 0 });
    holdings.compared('a' as NodeId, SlotSet.of(slots, [1, 2, 3]), SlotSet.of(slots, [2, 3, 4]));
    expect(holdings.held.list()).toEqual(expect.arrayContaining([2, 3]));
    expect(holdings.holds(4)).toBe(false);
    await holdings.idle();
    // Over a restart too.
    expect((await start()).held.equals(holdings.held)).toBe(true);
  });

  it('are answered for once they were compared with most of their holders, though none of these has them whole', async () => {
    const coordinators = ['x', 'y', 'z'].map((name) => member(name, ['coordinator']));
    const holdings = await scene([member('self', ['coordinator']), ...coordinators]).start();
    holdings.compared('x' as NodeId, all, none);
    expect(holdings.held.size).toBe(0);
    holdings.compared('x' as NodeId, all, none);
    expect(holdings.held.size).toBe(0);
    holdings.compared('y' as NodeId, all, none);
    expect(holdings.held.isAll).toBe(true);
  });

  it('are handed over when they are lost, and gained anew when they come back', async () => {
    const { members, start } = scene([member('self', ['coordinator']), ...peers]);
    const holdings = await start();
    holdings.compared('a' as NodeId, all, all);
    let changes = 0;
    holdings.onChange(() => {
      changes += 1;
    });
    members[0] = member('self', ['agent']);
    holdings.membersChanged();
    expect(changes).toBe(1);
    expect(holdings.status()).toEqual({ count: 16, kept: 0, held: 0, leaving: 16 });
    const [first = ''] = holdings.placement.holdersOf(3);
    expect(holdings.leavingTo(first as NodeId)).toContain(3);
    expect(holdings.leavingTo('stranger' as NodeId)).toEqual([]);
    holdings.handedOver(first as NodeId, [3]);
    expect(holdings.isLeaving(3)).toBe(false);
    await holdings.idle();
    const restarted = await start();
    expect(restarted.status().leaving).toBe(15);
    members[0] = member('self', ['coordinator']);
    restarted.membersChanged();
    expect(restarted.status()).toEqual({ count: 16, kept: 16, held: 0, leaving: 0 });
  });

  it('are all answered for at once after an upgrade of a node that had everything', async () => {
    const holdings = await scene([member('self', ['coordinator']), ...peers]).start(true);
    expect(holdings.held.isAll).toBe(true);
  });

  it('have to be whole when a mesh of placed slots becomes small, before everything counts as held', async () => {
    const { members, start } = scene([member('self'), ...peers], { threshold: 4 });
    const holdings = await start();
    expect(holdings.isEverything).toBe(false);
    members.pop();
    holdings.membersChanged();
    expect(holdings.kept.isAll).toBe(true);
    expect(holdings.isEverything).toBe(false);
    holdings.compared('a' as NodeId, all, all);
    expect(holdings.isEverything).toBe(true);
  });

  it('go on when the store does not take them down, and are taken down with the next change', async () => {
    const { members, start } = scene([member('self', ['coordinator']), ...peers]);
    const holdings = await start();
    holdings.compared('a' as NodeId, SlotSet.of(slots, [1]), all);
    members[0] = member('self', ['agent']);
    holdings.membersChanged();
    await holdings.idle();
    expect((await start()).status().kept).toBe(0);
  });
});
