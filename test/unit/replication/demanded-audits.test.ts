import { beforeEach, expect, test } from 'vitest';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { DemandedAudits } from '../../../src/replication/demanded-audits.ts';

const hourMs = 3_600_000;

let clock: VirtualClock;
let auditMs: number;
let begunMs: number[];
let audits: DemandedAudits;
let fault: Error | undefined;
beforeEach(() => {
  clock = new VirtualClock();
  auditMs = 1_000;
  begunMs = [];
  fault = undefined;
  const audit = async () => {
    begunMs.push(clock.monotonicMs());
    await clock.sleep(auditMs);
    if (fault !== undefined) throw fault;
    return { tookMs: auditMs };
  };
  audits = new DemandedAudits({ audit, clock });
});

test('who asks while an audit on demand runs, or rests, is given that one', async () => {
  const startMs = clock.monotonicMs();
  const [first, second] = [audits.ask(), audits.ask()];
  await clock.run(Promise.all([first, second]), hourMs);
  expect(clock.monotonicMs() - startMs).toBe(auditMs);
  await audits.ask();
  expect(begunMs).toEqual([startMs]);
  await clock.advance(3 * auditMs);
  await clock.run(audits.ask(), hourMs);
  expect(begunMs).toEqual([startMs, startMs + 4 * auditMs]);
});

test('callers that never stop asking leave three quarters of the time to others', async () => {
  let isOver = false;
  const ask = async () => {
    while (!isOver) {
      await audits.ask();
      await clock.sleep(7);
    }
  };
  const callers = Promise.all([ask(), ask(), ask()]);
  await clock.advance(100 * auditMs);
  isOver = true;
  await clock.run(callers, hourMs);
  expect(begunMs.length).toBeGreaterThan(20);
  expect(begunMs.length).toBeLessThanOrEqual(26);
});

test('an audit that fails is told to all who asked for it, and the next of them gets another', async () => {
  fault = new Error('the disk fails');
  const asked = [audits.ask(), audits.ask()];
  const settled = Promise.allSettled(asked);
  await clock.advance(auditMs);
  expect((await settled).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  fault = undefined;
  await clock.run(audits.ask(), hourMs);
  expect(begunMs).toHaveLength(2);
});

test('an audit that took an hour is not rested after for hours', async () => {
  auditMs = hourMs;
  await clock.run(audits.ask(), 2 * hourMs);
  await clock.advance(60_000);
  auditMs = 1_000;
  await clock.run(audits.ask(), hourMs);
  expect(begunMs).toHaveLength(2);
});
