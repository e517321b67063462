import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import type { AnabranchClient } from '../../src/client/http-client.ts';
import type { WrittenVersion } from '../../src/node/api.ts';
import { cut, type RunningProcess, withNodes } from '../support/node-processes.ts';

const rounds = 9;
const writers = 4;
const convergeMsMax = 30_000;
/** What a write may take where everything else on the machine is slow too. */
const acknowledgeMsMax = 20_000;

type Acknowledged = Pick<WrittenVersion, 'key' | 'version' | 'kind' | 'b3'>;

it('reads back every acknowledged write after SIGKILL at any moment, and converges with the other node', async () => {
  await withNodes(2, async (nodes) => {
    const [first, second] = nodes as readonly [RunningProcess, RunningProcess];
    const random = new SeededRandom('sigkill');
    const acknowledged: Acknowledged[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const [victim, witness] = round % 3 === 2 ? [second, first] : [first, second];
      const before = acknowledged.length;
      // Every second time nobody else has what it writes, so that it reads back its own or nothing.
      const isAlone = round % 2 === 1;
      if (isAlone) await cut(witness, [victim]);
      const writing = write(victim.client, round, acknowledged);
      await sleep(100 + 700 * random.fraction());
      await untilAcknowledged(acknowledged, before);
      await victim.process.kill();
      await writing;
      if (round % 3 !== 1) await killWhileItStarts(victim, 500 * random.fraction());
      await victim.process.start(new AbortController().signal);
      expect(acknowledged.length, `writes acknowledged in round ${round}`).toBeGreaterThan(before);
      await readBack(victim.client, acknowledged.slice(before));
      if (isAlone) await cut(witness, []);
    }
    expect(new Set(acknowledged.map(({ kind }) => kind))).toEqual(new Set(['put', 'delete', 'merge']));
    const keys = [...new Set(acknowledged.map(({ key }) => key))];
    await converge(first.client, second.client, keys);
    await readBack(first.client, acknowledged);
    await readBack(second.client, acknowledged);
  });
}, 180_000);

/** Not before the first write of a round: a kill during the start of the client alone shows nothing. */
async function untilAcknowledged(acknowledged: readonly Acknowledged[], before: number): Promise<void> {
  const deadline = performance.now() + acknowledgeMsMax;
  while (acknowledged.length === before && performance.now() < deadline) await sleep(5);
}

/** What a crash left is gone through at the next start, and that may crash as well. */
async function killWhileItStarts({ process }: RunningProcess, afterMs: number): Promise<void> {
  // On a fast machine it may be up by then, which is as good a moment.
  const starting = process.start(new AbortController().signal).catch(() => undefined);
  await sleep(afterMs);
  await process.kill();
  await starting;
}

/** Writes small and large objects, some keys again and again, deletes some, and branches and merges others, until the node is gone. */
async function write(client: AnabranchClient, round: number, acknowledged: Acknowledged[]): Promise<void> {
  const acknowledge = async (writing: Promise<WrittenVersion>): Promise<WrittenVersion> => {
    const written = await writing;
    acknowledged.push(written);
    return written;
  };
  const loop = async (writer: number): Promise<void> => {
    for (let index = 0; ; index += 1) {
      const key = index % 3 === 0 ? `shared-${writer}` : `round-${round}/${writer}/${index}`;
      const body = randomBytes(index % 4 === 0 ? 300_000 : 500);
      try {
        const { version, parents } = await acknowledge(client.put('test', key, body, { size: body.length }));
        if (index % 3 === 1) await acknowledge(client.delete('test', key, { parents: [version] }));
        if (index % 2 === 1 && parents.length > 0) {
          const branch = await acknowledge(client.put('test', key, body, { size: body.length, parents }));
          await acknowledge(client.merge('test', key, { parents: [version, branch.version], pick: version }));
        }
      } catch {
        return;
      }
    }
  };
  await Promise.all(Array.from({ length: writers }, (_, writer) => loop(writer)));
}

/** The client checks the content against the hash that the node names; the test checks it against the acknowledgement's. */
async function readBack(client: AnabranchClient, acknowledged: readonly Acknowledged[]): Promise<void> {
  for (const { key, version, kind, b3 } of acknowledged) {
    if (kind === 'delete') {
      await expect(client.get('test', key, { version })).rejects.toMatchObject({
        code: 'deleted',
        problem: { version },
      });
      continue;
    }
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
