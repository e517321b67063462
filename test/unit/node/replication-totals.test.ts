import { describe, expect, test } from 'vitest';
import type { NodeId } from '../../../crdt/ids.ts';
import type { StandingView } from '../../../protocols/replicas/views.ts';
import { meshStatusOf } from '../../../src/node/replication-totals.ts';
import { noTotals, type PlanTotals } from '../../../src/replication/plan.ts';

const here: StandingView = { intents: 0, late: 0, auditor: null };
const node = (letter: string) => letter.repeat(26) as NodeId;

/** A coordinator that has audited beside these, and found this. */
function told(letter: string, found: Partial<PlanTotals>, among = 'ab') {
  const totals = { ...noTotals, subjects: 2, ...found };
  const checks = { proved: 0, lacking: 0, wrong: 0, unreachable: 0 };
  return {
    nodeId: node(letter),
    name: letter,
    auditor: {
      running: null,
      last: {
        reason: 'timer' as const,
        time: 1,
        took: 1,
        among: [...among].map(node),
        totals,
        cut: false,
        suspects: 0,
        checks,
      },
      repairs: { pulls: 0, bytes: 0, rate: 0, eta: 0 },
    },
  };
}

describe('a mesh', () => {
  const healthyWith = (found: Partial<PlanTotals>) =>
    meshStatusOf([told('a', { healthy: 2 }), told('b', found)], here, []).healthy;

  test('is healthy while nothing is to be mended, with copies to spare or without', () => {
    expect(healthyWith({ healthy: 2 })).toBe(true);
    expect(healthyWith({ healthy: 1, over: 1, surplusCopies: 1 })).toBe(true);
  });

  test('is not healthy while one version lacks a copy, has it elsewhere or nowhere, or a policy asks for too much', () => {
    for (const state of ['under', 'mis', 'unreachable'] as const) {
      expect(healthyWith({ healthy: 1, [state]: 1 }), state).toBe(false);
    }
    // Every node that could hold it does: the copies are there, and are fewer than somebody asked for.
    expect(healthyWith({ healthy: 2, degraded: 1 })).toBe(false);
  });

  test('is not called healthy by half of those who know', () => {
    const silent = { nodeId: node('b'), name: 'b', presence: 'online' as const };
    const fine = told('a', { healthy: 2 }, 'a');
    expect(meshStatusOf([fine], here, [silent])).toMatchObject({ complete: false, healthy: false });
    expect(meshStatusOf([fine], here, [{ ...silent, presence: 'gone' }])).toMatchObject({ healthy: true });
    const fresh = { ...fine, auditor: { ...fine.auditor, last: null } };
    expect(meshStatusOf([fine, fresh], here, [])).toMatchObject({ complete: false, healthy: false });
  });

  test('is not called healthy while the slots of a coordinator that is silent, or has come, are not shared anew', () => {
    const [first, second] = [told('a', { healthy: 2 }, 'abc'), told('b', { healthy: 2 }, 'abc')];
    const silent = { nodeId: node('c'), name: 'c', presence: 'away' as const };
    const unknown = { complete: false, healthy: false };
    expect(meshStatusOf([first, second], here, [silent])).toMatchObject(unknown);
    // One of them has audited in its place; half of its slots are nobody's still.
    expect(meshStatusOf([told('a', { healthy: 3 }), second], here, [silent])).toMatchObject(unknown);
    expect(meshStatusOf([told('a', { healthy: 3 }), told('b', { healthy: 3 })], here, [silent])).toMatchObject({
      complete: true,
      healthy: true,
    });
    expect(meshStatusOf([told('a', {}), told('b', {}), told('c', {}, 'abc')], here, [])).toMatchObject(unknown);
  });

  test('is as large as its coordinators say together', () => {
    const found = { healthy: 2, pulls: 1, pullBytes: 5, surplusBytes: 7 };
    expect(meshStatusOf([told('a', found), told('b', found)], here, []).totals).toEqual({
      ...noTotals,
      subjects: 4,
      healthy: 4,
      pulls: 2,
      pullBytes: 10,
      surplusBytes: 14,
    });
  });
});
