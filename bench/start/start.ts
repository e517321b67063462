import { randomBytes } from 'node:crypto';
import { anonymousBytes, type RunningProcess, withNodes } from '../../test/support/node-processes.ts';
import { type BenchCase, benchCase, median } from '../support/cases.ts';
import { mebibyte } from '../support/data.ts';

const objects = 20_000;
const writers = 32;
const rounds = 3;

/** How long a node with 20,000 objects takes from its process's start until it is ready. */
export async function benchStart(say: (text: string) => void): Promise<BenchCase[]> {
  return withNodes(1, async (nodes) => {
    const [{ client, process }] = nodes as readonly [RunningProcess];
    say(`writing ${objects} objects`);
    let next = 0;
    const write = async (): Promise<void> => {
      for (let index = next++; index < objects; index = next++) {
        await client.put('bench', `key-${index}`, randomBytes(256), { size: 256 });
      }
    };
    await Promise.all(Array.from({ length: writers }, write));
    const readyMs: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      await process.stop();
      const startMs = performance.now();
      await process.start(new AbortController().signal);
      readyMs.push(performance.now() - startMs);
      say(`ready after ${Math.round(readyMs.at(-1) ?? 0)} ms`);
    }
    const { objects: held } = await client.status();
    if (held !== objects) throw new Error(`the node has ${held} objects after the restart, not ${objects}`);
    const idle = process.pid === null ? 0 : (await anonymousBytes(process.pid)) / mebibyte;
    const target = { of: 'value', atMost: 2 } as const;
    const value = median(readyMs) / 1_000;
    return [
      benchCase({ bench: 'start', case: `${objects} objects, until ready`, value, unit: 's', target }),
      benchCase({ bench: 'start', case: `${objects} objects, RssAnon when idle`, value: idle, unit: 'MiB' }),
    ];
  });
}
