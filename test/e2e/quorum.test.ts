import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { ApiError } from '../../src/client/api-error.ts';
import { type RunningProcess, withNodes } from '../support/node-processes.ts';

/** A connection that breaks is noticed by a missed heartbeat at the latest; a quorum is waited for 10 s. */
const answerMsMax = 20_000;
const confirmMsMax = 60_000;

it('refuses a quorum in bounded time when two of three coordinators are killed, and confirms once they are back', async () => {
  await withNodes(3, async (nodes) => {
    const [writer, ...others] = nodes as readonly [RunningProcess, ...RunningProcess[]];
    const { client } = writer;
    await until(async () => (await client.status()).quorum.reachable === 3);
    const before = await client.put('test', 'plan', Buffer.from('before'), { commit: 'quorum' });
    expect(before.state).toBe('confirmed');
    await Promise.all(others.map(({ process }) => process.kill()));

    const askedMs = performance.now();
    const refused = await client
      .put('test', 'plan', Buffer.from('after'), { commit: 'quorum' })
      .catch((error) => error);
    expect(performance.now() - askedMs).toBeLessThan(answerMsMax);
    expect(refused).toBeInstanceOf(ApiError);
    const { status, code, problem } = refused as ApiError;
    expect({ status, code }).toEqual({ status: 503, code: 'quorum_unavailable' });
    const version = String(problem?.version);
    const read = await client.get('test', 'plan', { mode: 'provisional_allowed' });
    for await (const _ of read.body);
    expect([read.version, read.state]).toEqual([version, 'provisional']);
    await until(async () => (await client.status()).quorum.available === false);
    expect((await client.status()).quorum).toMatchObject({ reachable: 1, coordinators: 3, pending: 1 });

    for (const { process } of others) await process.start(new AbortController().signal);
    for (const node of nodes) {
      await until(async () => (await node.client.graph('test', 'plan').catch(() => null))?.confirmedHead === version);
    }
  });
}, 180_000);

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + confirmMsMax;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('it did not come to be in time');
    await sleep(50);
  }
}
