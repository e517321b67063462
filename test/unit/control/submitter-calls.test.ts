import { expect, test } from 'vitest';
import type { Outcome } from '../../../protocols/quorum/register-kind.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import { ControlStore } from '../../../src/control/control-store.ts';
import { type SubmitOutcome, Submitter } from '../../../src/control/submitter.ts';
import { operationId, TestLog } from '../../support/control-log.ts';

const patienceMs = 3_600_000;
/** Calls that may wait at a node. */
const waitingMax = 64;

/** A node's submitter, and the log as the coordinators have it: a proposal is entered there, and here once it is fetched. */
class Scene {
  readonly clock = new VirtualClock();
  readonly chosen = new TestLog();
  isReachable = true;
  proposed = 0;
  store!: ControlStore;
  submitter!: Submitter;
  readonly #drafts = new Map<string, Parameters<TestLog['certify']>[0]>();

  async start(): Promise<this> {
    const kv = new MemoryKv(this.clock, { flushDelayMs: 1 });
    this.store = await this.run(ControlStore.open(kv, this.chosen.genesisText));
    this.submitter = new Submitter({
      store: this.store,
      clock: this.clock,
      random: new SeededRandom('submitter'),
      log: new MemoryLog(),
      hold: async (draft) => void this.#drafts.set(draft.hash, draft),
      propose: (head) => this.#propose(head),
      canPropose: () => true,
      votes: () => false,
      catchUp: async () => {
        if (this.isReachable) await this.store.append(this.chosen.entries);
      },
      holdsBack: () => undefined,
      carryProgress: async () => undefined,
    });
    return this;
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.run(promise, patienceMs);
  }

  submit(replicas: number, id = `call ${replicas}`): Promise<SubmitOutcome> {
    const operations = [{ type: 'namespace', ns: 'docs', policy: { replicas } }] as const;
    return this.submitter.submit({ operations, actor: 'ada', reason: '', operationId: operationId(id) });
  }

  async #propose(head: string): Promise<Outcome> {
    this.proposed += 1;
    await this.clock.sleep(100);
    const draft = this.#drafts.get(head) ?? expect.fail('it was not held');
    const { certificate } = this.chosen.append(this.chosen.certify(draft));
    return { kind: 'confirmed', certificate };
  }
}

test('a change is here when its call ends as committed, also where others propose', async () => {
  const scene = await new Scene().start();
  expect(await scene.run(scene.submit(2))).toMatchObject({ kind: 'committed', seq: 1 });
  expect(scene.store.state().namespaces.get('docs')).toEqual({ replicas: 2 });
});

test('a change that was chosen and cannot be fetched is unknown, and the same call again tells', async () => {
  const scene = await new Scene().start();
  scene.isReachable = false;
  expect(await scene.run(scene.submit(2))).toEqual({ kind: 'unknown', operationId: operationId('call 2') });
  await scene.run(scene.store.append(scene.chosen.entries));
  expect(await scene.run(scene.submit(2))).toMatchObject({ kind: 'committed', seq: 1 });
  expect(scene.proposed).toBe(1);
});

test('calls go one after the other, 64 at a time; one more is refused at once and changes nothing', async () => {
  const scene = await new Scene().start();
  const calls = Array.from({ length: waitingMax }, (_, index) => scene.submit((index % 16) + 1, `call ${index}`));
  const refused = await scene.run(scene.submit(3, 'one too many'));
  expect(refused).toMatchObject({
    kind: 'refused',
    code: 'quorum_unavailable',
    message: '64 operations wait at this node already',
  });
  const outcomes = await scene.run(Promise.all(calls));
  expect(outcomes.map((outcome) => outcome.kind === 'committed' && outcome.seq)).toEqual(
    Array.from({ length: waitingMax }, (_, index) => index + 1),
  );
  expect(scene.proposed).toBe(waitingMax);
  expect(await scene.run(scene.submit(3, 'one too many'))).toMatchObject({ kind: 'committed', seq: waitingMax + 1 });
});
