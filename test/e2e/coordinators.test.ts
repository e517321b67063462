import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { ApiError } from '../../src/client/api-error.ts';
import type { CarryStatus } from '../../src/node/api.ts';
import { type RunningProcess, withNodes } from '../support/node-processes.ts';

const objects = 1_000;
const writers = 32;
const waitMsMax = 60_000;

it('replaces a dead coordinator: the next change is refused until all is carried over, and the new one counts', async () => {
  await withNodes(4, async (nodes) => {
    const [first, second, dead, newcomer] = nodes as [RunningProcess, RunningProcess, RunningProcess, RunningProcess];
    const { client } = newcomer;
    await until(async () => (await client.status()).quorum.reachable === 3);
    expect((await client.status()).control).toMatchObject({ epoch: 1, coordinator: false, carryOver: null });
    await writeAll(nodes);
    await dead.process.kill();
    await until(async () => (await client.status()).quorum.reachable === 2);

    await client.cluster.remove(dead.node.nodeId, { reason: 'its disk is gone' });
    const promote = { operationId: 'a'.repeat(26) };
    const roles = ['coordinator', 'storage'];
    const refused = await client.cluster.setRoles(newcomer.node.nodeId, roles, promote).catch((error) => error);
    expect(refused).toBeInstanceOf(ApiError);
    const { status, code, problem } = refused as ApiError;
    expect({ status, code }).toEqual({ status: 409, code: 'carry_over_running' });
    const progress = problem?.progress as CarryStatus;
    expect(progress.epoch).toBe(2);
    expect(progress.done).toBeLessThan(progress.total);
    // A majority votes on each, so a coordinator knows of many before it is named the others.
    expect(progress.total).toBeGreaterThan(objects / 3);

    const shown = await carryOver(newcomer);
    expect(shown.map(({ done }) => done)).toEqual(shown.map(({ done }) => done).toSorted((a, b) => a - b));
    expect(shown.at(-1)).toMatchObject({ epoch: 2, complete: true });
    expect(shown.at(-1)?.done).toBe(shown.at(-1)?.total);
    expect(shown.at(-1)?.total).toBeGreaterThanOrEqual(objects);
    expect(await client.cluster.setRoles(newcomer.node.nodeId, roles, promote)).toMatchObject({ seq: 2 });
    expect((await carryOver(newcomer)).at(-1)).toMatchObject({ epoch: 3, complete: true });

    // Of the three who vote now, the new one is half of any majority without the first.
    await first.process.kill();
    await until(async () => (await client.status()).quorum.reachable === 2);
    const { version, state } = await client.put('test', 'plan', Buffer.from('with the new one'), { commit: 'quorum' });
    expect(state).toBe('confirmed');
    // The certificate comes to the others a moment after the answer.
    await until(async () => (await second.client.graph('test', 'plan').catch(() => null))?.confirmedHead === version);

    await Promise.all([first, dead].map(({ process }) => process.start(new AbortController().signal)));
    await until(async () => (await first.client.graph('test', 'plan').catch(() => null))?.confirmedHead === version);
    // Nobody may tell it what it missed: it is refused, and says so.
    await until(async () => (await dead.client.status()).membership.state === 'turned_away');
    expect((await dead.client.status()).peers.connected).toBe(0);
    expect((await client.nodes()).nodes.map(({ name }) => name)).not.toContain(dead.node.name);
  });
}, 180_000);

/** Has so many objects confirmed, spread over all nodes. */
async function writeAll(nodes: readonly RunningProcess[]): Promise<void> {
  const keys = Array.from({ length: objects }, (_, index) => `object-${index}`);
  const write = async (at: number): Promise<void> => {
    for (let key = keys.pop(); key !== undefined; key = keys.pop()) {
      const { client } = nodes[at % nodes.length] as RunningProcess;
      await client.put('test', key, Buffer.from(key), { commit: 'quorum' });
    }
  };
  await Promise.all(Array.from({ length: writers }, (_, at) => write(at)));
}

/** What a node tells of the carry-over, again and again until it is complete. */
async function carryOver({ client }: RunningProcess): Promise<CarryStatus[]> {
  const shown: CarryStatus[] = [];
  await until(async () => {
    shown.push(await client.cluster.carryOver());
    return shown.at(-1)?.complete === true;
  });
  return shown;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + waitMsMax;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('it did not come to be in time');
    await sleep(20);
  }
}
