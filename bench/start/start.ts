import { randomBytes } from 'node:crypto';
import { anonymousBytes, type RunningProcess, withNodes } from '../../test/support/node-processes.ts';
import { type BenchCase, benchCase, median } from '../support/cases.ts';
import { mebibyte } from '../support/data.ts';

/** How many objects there are, and in how many seconds a node is to be ready with them. */
const sizes = [
  { objects: 20_000, readySecondsMax: 2, idleMebibytesMax: undefined },
  { objects: 100_000, readySecondsMax: 3, idleMebibytesMax: 250 },
] as const;
const writers = 32;
const rounds = 3;

/** How long a node with many objects takes from its process's start until it is ready, and what memory it has then. */
export async function benchStart(say: (text: string) => void): Promise<BenchCase[]> {
  return withNodes(1, async ([node]) => {
    const cases: BenchCase[] = [];
    let written = 0;
    for (const { objects, readySecondsMax, idleMebibytesMax } of sizes) {
      say(`writing objects until there are ${objects}`);
      await write(node as RunningProcess, written, objects);
      written = objects;
      const { seconds, mebibytes } = await restart(node as RunningProcess, objects, say);
      cases.push(
        benchCase({
          bench: 'start',
          case: `${objects} objects, until ready`,
          value: seconds,
          unit: 's',
          target: { of: 'value', atMost: readySecondsMax },
        }),
        benchCase({
          bench: 'start',
          case: `${objects} objects, RssAnon when idle`,
          value: mebibytes,
          unit: 'MiB',
          ...(idleMebibytesMax === undefined ? {} : { target: { of: 'value', atMost: idleMebibytesMax } }),
        }),
      );
    }
    return cases;
  });
}

async function write({ client }: RunningProcess, from: number, to: number): Promise<void> {
  let next = from;
  const writeSome = async (): Promise<void> => {
    for (let index = next++; index < to; index = next++) {
      await client.put('bench', `key-${index}`, randomBytes(256), { size: 256 });
    }
  };
  await Promise.all(Array.from({ length: writers }, writeSome));
}

async function restart(
  { client, process }: RunningProcess,
  objects: number,
  say: (text: string) => void,
): Promise<{ readonly seconds: number; readonly mebibytes: number }> {
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
  const anonymous = process.pid === null ? 0 : await anonymousBytes(process.pid);
  return { seconds: median(readyMs) / 1_000, mebibytes: anonymous / mebibyte };
}
