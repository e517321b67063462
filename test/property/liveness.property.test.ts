import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { NodeId } from '../../crdt/ids.ts';
import { LivenessTable, type LivenessTimes, type Transition } from '../../src/node/membership/liveness.ts';

const times: LivenessTimes = {
  suspectAfterMs: 15_000,
  offlineAfterMs: 60_000,
  returnBeats: 2,
  returnConnectedMs: 5_000,
};
const node = 'a'.repeat(26) as NodeId;
const lookEveryMs = 1_000;

type Step = { readonly afterMs: number; readonly sign: 'beat' | 'connected' | 'disconnected' | 'farewell' | 'drain' };

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.record({
    afterMs: fc.integer({ min: 1, max: 40_000 }),
    sign: fc.constantFrom('beat' as const, 'beat', 'beat', 'connected', 'disconnected', 'farewell', 'drain'),
  }),
  { maxLength: 60 },
);

/** A watcher that looks every second, and what it noticed and saw. */
function watch(script: readonly Step[]) {
  const table = new LivenessTable(() => times, 0);
  table.setMembers([{ nodeId: node, draining: false }], 0);
  const transitions: Transition[] = [];
  const signs: { readonly atMs: number; readonly sign: Step['sign'] }[] = [];
  let nowMs = 0;
  let draining = false;
  const look = (untilMs: number): void => {
    for (; nowMs + lookEveryMs <= untilMs; ) {
      nowMs += lookEveryMs;
      transitions.push(...table.look(nowMs));
    }
    nowMs = untilMs;
  };
  for (const { afterMs, sign } of script) {
    look(nowMs + afterMs);
    signs.push({ atMs: nowMs, sign });
    if (sign === 'drain') {
      draining = !draining;
      transitions.push(...table.setMembers([{ nodeId: node, draining }], nowMs));
    } else transitions.push(...table.notice(node, sign, nowMs));
  }
  look(nowMs + 120_000);
  return { table, transitions, signs };
}

const alive = ['online', 'draining'];

describe('a watched node', () => {
  test('goes from state to state without a gap, and never offline without having been suspect or unseen', () => {
    fc.assert(
      fc.property(steps, (script) => {
        const { table, transitions } = watch(script);
        let state = 'unknown';
        let atMs = 0;
        for (const transition of transitions) {
          expect(transition.from).toBe(state);
          expect(transition.to).not.toBe(state);
          expect(transition.atMs).toBeGreaterThanOrEqual(atMs);
          if (transition.to === 'offline') expect(['suspect', 'unknown']).toContain(state);
          state = transition.to;
          atMs = transition.atMs;
        }
        expect(table.stateOf(node)).toBe(state);
        // Nothing was heard of it for two minutes.
        expect(state).toBe('offline');
      }),
    );
  });

  test('is not suspect before its time, nor offline', () => {
    fc.assert(
      fc.property(steps, (script) => {
        const { transitions, signs } = watch(script);
        for (const { to, atMs } of transitions) {
          if (to !== 'suspect' && to !== 'offline') continue;
          const heard = signs.filter((each) => each.atMs <= atMs && ['beat', 'farewell'].includes(each.sign));
          const last = heard.at(-1);
          if (last === undefined) continue;
          if (to === 'offline') expect(atMs - last.atMs).toBeGreaterThanOrEqual(times.offlineAfterMs);
          else if (last.sign === 'beat') expect(atMs - last.atMs).toBeGreaterThanOrEqual(times.suspectAfterMs);
        }
      }),
    );
  });

  test('comes back only with two heartbeats near to each other, or a connection that has held', () => {
    fc.assert(
      fc.property(steps, (script) => {
        const { transitions, signs } = watch(script);
        for (const [at, { from, to, atMs }] of transitions.entries()) {
          if (!alive.includes(to) || from === 'unknown' || alive.includes(from)) continue;
          const lostMs = transitions[at - 1]?.atMs ?? 0;
          const beats = signs.filter((each) => each.sign === 'beat' && each.atMs >= lostMs && each.atMs <= atMs);
          const near = beats.slice(1).some((beat, index) => {
            return beat.atMs - (beats[index]?.atMs ?? 0) <= times.suspectAfterMs && beat.atMs === atMs;
          });
          const connections = signs.filter(({ sign }) => sign === 'connected' || sign === 'disconnected');
          const held = connections.filter((each) => each.atMs <= atMs - times.returnConnectedMs).at(-1);
          expect(near || held?.sign === 'connected').toBe(true);
        }
      }),
    );
  });

  test('that beats in time stays online, whatever its connections do', () => {
    const beating = fc.array(fc.record({ afterMs: fc.integer({ min: 1, max: 14_000 }), connects: fc.boolean() }), {
      minLength: 1,
      maxLength: 60,
    });
    fc.assert(
      fc.property(beating, (script) => {
        const all = script.flatMap(({ afterMs, connects }): Step[] => [
          { afterMs, sign: 'beat' },
          { afterMs: 1, sign: connects ? 'connected' : 'disconnected' },
        ]);
        const lastBeatMs = all.reduce((sum, step) => sum + step.afterMs, 0);
        const { transitions } = watch(all);
        expect(transitions.filter(({ atMs }) => atMs <= lastBeatMs).map(({ to }) => to)).toEqual(['online']);
      }),
    );
  });
});

describe('a watcher that stood still', () => {
  test('holds its own silence against nobody', () => {
    fc.assert(
      fc.property(fc.integer({ min: 6_000, max: 3_600_000 }), fc.boolean(), (pauseMs, hearsFirst) => {
        const table = new LivenessTable(() => times, 0);
        table.setMembers([{ nodeId: node, draining: false }], 0);
        table.notice(node, 'beat', 1_000);
        const wakesMs = 2_000 + pauseMs;
        table.look(2_000);
        if (hearsFirst) table.notice(node, 'beat', wakesMs);
        expect(table.look(wakesMs)).toEqual([]);
        expect(table.stateOf(node)).toBe('online');
        // And it doubts the node no later than it would have.
        for (let nowMs = wakesMs; nowMs <= wakesMs + 15_000; nowMs += 1_000) table.look(nowMs);
        expect(table.stateOf(node)).toBe('suspect');
      }),
    );
  });
});
