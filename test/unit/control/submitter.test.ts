import { expect, test } from 'vitest';
import type { Outcome } from '../../../protocols/quorum/register-kind.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import type { ControlStore } from '../../../src/control/control-store.ts';
import { type SubmitOutcome, Submitter } from '../../../src/control/submitter.ts';
import { memberOf, TestLog } from '../../support/control-log.ts';

const unavailable = (reason: Extract<Outcome, { kind: 'unavailable' }>['reason']): Outcome => ({
  kind: 'unavailable',
  reason,
});

/** A coordinator whose proposals end like this, one after the other; the last one for ever. */
function submitterOf(clock: VirtualClock, answers: readonly [Outcome, ...Outcome[]]): Submitter {
  const { state } = new TestLog([memberOf('a')]);
  let asked = 0;
  return new Submitter({
    store: { state: () => state, entry: () => undefined } as unknown as ControlStore,
    clock,
    random: new SeededRandom('submitter'),
    log: new MemoryLog(),
    hold: async () => undefined,
    propose: async () => answers[Math.min(asked++, answers.length - 1)] as Outcome,
    canPropose: () => true,
    votes: () => true,
    catchUp: async () => undefined,
    holdsBack: () => undefined,
    carryProgress: async () => undefined,
  });
}

const policy = { type: 'namespace', ns: 'docs', policy: { replicas: 2 } } as const;
const input = { operations: [policy], actor: 'ada', reason: '' };

/** What it is told. */
async function submitted(...answers: readonly [Outcome, ...Outcome[]]): Promise<SubmitOutcome> {
  const clock = new VirtualClock();
  return clock.run(submitterOf(clock, answers).submit(input), 3_600_000);
}

test('a change that nobody was ever asked to vote for is refused, and not called unknown', async () => {
  expect(await submitted(unavailable('no_majority'))).toMatchObject({ kind: 'refused', code: 'quorum_unavailable' });
});

test('a change that somebody may have voted for is unknown, whatever comes of the attempts after that', async () => {
  const refusal = { code: 'name_taken', message: 'there is one' };
  expect(await submitted(unavailable('lost'), unavailable('no_majority'))).toMatchObject({ kind: 'unknown' });
  const refused: Outcome = { kind: 'refused', refusal, certificate: null };
  expect(await submitted(unavailable('lost'), refused)).toMatchObject({ kind: 'unknown' });
  expect(await submitted({ ...refused, open: true })).toMatchObject({ kind: 'unknown' });
  expect(await submitted(unavailable('no_majority'), refused)).toMatchObject({ kind: 'refused', code: 'name_taken' });
});

test.each(['its node stops', 'its caller gives up'])(
  'a change that waits for its next attempt ends when %s, and leaves no timer',
  async (who) => {
    const clock = new VirtualClock();
    const caller = new AbortController();
    const submitter = submitterOf(clock, [unavailable('lost')]);
    const first = submitter.submit({ ...input, signal: caller.signal });
    await clock.advance(1);
    expect(clock.pendingTimers).toBe(1);
    if (who === 'its node stops') submitter.stop();
    else caller.abort();
    await expect(first).resolves.toMatchObject({ kind: 'unknown' });
    expect(clock.pendingTimers).toBe(0);
  },
);

test('a change that has waited for another one is not attempted any more when its node stops', async () => {
  const clock = new VirtualClock();
  const submitter = submitterOf(clock, [unavailable('lost')]);
  const calls = [submitter.submit(input), submitter.submit(input)];
  await clock.advance(1);
  submitter.stop();
  expect(await Promise.all(calls)).toMatchObject([
    { kind: 'unknown' },
    { kind: 'refused', code: 'quorum_unavailable' },
  ]);
});
