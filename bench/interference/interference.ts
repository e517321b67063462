import { cut, type RunningProcess, withNodes } from '../../test/support/node-processes.ts';
import { type BenchCase, benchCase, median } from '../support/cases.ts';
import { generatedBytes, mebibyte } from '../support/data.ts';
import { watchEvents } from '../support/replication.ts';
import { pause } from '../support/swarm.ts';

const largeBytes = 1_024 * mebibyte;
const smallBytes = 4_096;
const smallObjects = 64;
const idleMs = 4_000;
const rounds = 3;
/** Between two reads: what is measured is how long one takes, not how many a node can do. */
const gapMs = 2;

/** How long a small read takes while a large content moves out of the node, and into it. */
export async function benchInterference(say: (text: string) => void): Promise<BenchCase[]> {
  return withNodes(2, async (nodes) => {
    const [source, target] = nodes as [RunningProcess, RunningProcess];
    const idle: number[] = [];
    const out: number[] = [];
    const into: number[] = [];
    await putSmall(source, target);
    for (let round = 0; round < rounds; round += 1) {
      say(`round ${round + 1} of ${rounds}: idle`);
      idle.push(p99(await readsUntil([source], pause(idleMs))));
      idle.push(p99(await readsUntil([target], pause(idleMs))));
      say(`round ${round + 1} of ${rounds}: reads at the source, then at the target`);
      out.push(p99(await readsDuring(source, [source, target], 2 * round + 1)));
      into.push(p99(await readsDuring(target, [source, target], 2 * round + 2)));
    }
    const reference = { name: 'p99 on an idle node', value: median(idle.slice(1)) };
    const measured = { bench: 'interference', unit: 'ms', reference, target: { of: 'ratio', atMost: 10 } } as const;
    return [
      benchCase({ ...measured, case: 'p99 of a 4 KiB GET while 1 GiB is sent to a peer', value: median(out) }),
      benchCase({ ...measured, case: 'p99 of a 4 KiB GET while 1 GiB is taken from a peer', value: median(into) }),
    ];
  });
}

async function putSmall(source: RunningProcess, target: RunningProcess): Promise<void> {
  const events = await watchEvents(target);
  for (let index = 0; index < smallObjects; index += 1) {
    const seen = events.timeOf('version', `small-${index}`);
    await source.client.put('bench', `small-${index}`, generatedBytes(smallBytes, index + 1), { size: smallBytes });
    await seen;
  }
  events.close();
}

/** Milliseconds of each small read at a node while 1 GiB moves from the source to the target. */
async function readsDuring(
  reader: RunningProcess,
  [source, target]: readonly [RunningProcess, RunningProcess],
  seed: number,
): Promise<number[]> {
  const key = `large-${seed}`;
  await cut(target, [source]);
  await source.client.put('bench', key, generatedBytes(largeBytes, seed), { size: largeBytes });
  const events = await watchEvents(target);
  const heard = events.timeOf('version', key);
  await cut(target, []);
  await heard;
  const stored = events.timeOf('replication', key);
  const reads = await readsUntil([reader], stored);
  await stored;
  events.close();
  return reads;
}

async function readsUntil([node]: readonly RunningProcess[], end: Promise<unknown>): Promise<number[]> {
  let isOver = false;
  const over = (): void => {
    isOver = true;
  };
  end.then(over, over);
  const reads: number[] = [];
  for (let index = 0; !isOver; index += 1) {
    const startMs = performance.now();
    const { body } = await (node as RunningProcess).client.get('bench', `small-${index % smallObjects}`);
    for await (const _ of body);
    reads.push(performance.now() - startMs);
    await pause(gapMs);
  }
  return reads;
}

function p99(figures: readonly number[]): number {
  const sorted = [...figures].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] ?? Number.NaN;
}
