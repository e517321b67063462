import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import type { AnabranchClient } from '../../src/client/http-client.ts';
import { cut, type RunningProcess, withNodes } from '../support/node-processes.ts';

const rounds = 10;
const writers = 4;
const convergeMsMax = 30_000;
/** What a write may take where everything else on the machine is slow too. */
const acknowledgeMsMax = 20_000;

interface Acknowledged {
  readonly key: string;
  readonly version: string;
  readonly b3: string | null;
}

it('reads back every acknowledged write after SIGKILL at any moment, and converges with the other node', async () => {
  await withNodes(2, async (nodes) => {
    const [victim, witness] = nodes as readonly [RunningProcess, RunningProcess];
    const random = new SeededRandom('sigkill');
    const acknowledged: Acknowledged[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const before = acknowledged.length;
      // Every second time nobody else has what it writes, so that it reads back its own or nothing.
      const isAlone = round % 2 === 1;
      if (isAlone) await cut(witness, [victim]);
      const writing = write(victim.client, round, acknowledged);
      await sleep(100 + 700 * random.fraction());
      await untilAcknowledged(acknowledged, before);
      await victim.process.kill();
      await writing;
      await victim.process.start(new AbortController().signal);
      expect(acknowledged.length, `writes acknowledged in round ${round}`).toBeGreaterThan(before);
      await readBack(victim.client, acknowledged.slice(before));
      if (isAlone) await cut(witness, []);
    }
    await readBack(victim.client, acknowledged);
    const keys = [...new Set(acknowledged.map(({ key }) => key))];
    await converge(victim.client, witness.client, keys);
    await readBack(witness.client, acknowledged);
  });
}, 180_000);

/** Not before the first write of a round: a kill during the start of the client alone shows nothing. */
async function untilAcknowledged(acknowledged: readonly Acknowledged[], before: number): Promise<void> {
  const deadline = performance.now() + acknowledgeMsMax;
  while (acknowledged.length === before && performance.now() < deadline) await sleep(5);
}

/** Writes small and large objects, some keys again and again, until the node is gone. */
async function write(client: AnabranchClient, round: number, acknowledged: Acknowledged[]): Promise<void> {
  const loop = async (writer: number): Promise<void> => {
    for (let index = 0; ; index += 1) {
      const key = index % 3 === 0 ? `shared-${writer}` : `round-${round}/${writer}/${index}`;
      const body = randomBytes(index % 4 === 0 ? 300_000 : 500);
      try {
        const { version, b3 } = await client.put('test', key, body, { size: body.length });
        acknowledged.push({ key, version, b3 });
      } catch {
        return;
      }
    }
  };
  await Promise.all(Array.from({ length: writers }, (_, writer) => loop(writer)));
}

/** The client checks the content against the hash that the node names; the test checks it against the acknowledgement's. */
async function readBack(client: AnabranchClient, acknowledged: readonly Acknowledged[]): Promise<void> {
  for (const { key, version, b3 } of acknowledged) {
    const found = await client.get('test', key, { version });
    for await (const _ of found.body);
    expect(found.b3).toBe(b3);
  }
}

async function converge(left: AnabranchClient, right: AnabranchClient, keys: readonly string[]): Promise<void> {
  const deadline = performance.now() + convergeMsMax;
  for (const key of keys) {
    for (;;) {
      const ours = await left.graph('test', key);
      const theirs = await right.graph('test', key).catch(() => undefined);
      if (theirs !== undefined && JSON.stringify(theirs) === JSON.stringify(ours)) break;
      if (performance.now() > deadline) throw new Error(`${key} differs between the nodes after ${convergeMsMax} ms`);
      await sleep(100);
    }
  }
}
