import { type RunningProcess, withNodes } from '../../test/support/node-processes.ts';
import { type BenchCase, benchCase, median } from '../support/cases.ts';
import { contentSource, LoadGenerator } from '../support/load-generator.ts';
import { metricsOf, pause } from '../support/swarm.ts';

const files = 10_000;
const fileBytes = 4_096;
const writers = 64;
const rounds = 3;
const lookEveryMs = 10;
const provedMsMax = 120_000;
const waiting = 'anabranch_write_intents';
const proved = 'anabranch_replica_proofs_total{result="proved"}';

const content = contentSource(fileBytes);

/** How fast many small files go in at one node until another holds and has proved every one of them. */
export async function benchSmall(say: (text: string) => void): Promise<BenchCase[]> {
  return withNodes(2, async (nodes) => {
    const [source] = nodes as [RunningProcess, RunningProcess];
    const written: number[] = [];
    const held: number[] = [];
    await putFiles(source, 'warm', writers);
    await untilProved(source, 0);
    for (let round = 1; round <= rounds; round += 1) {
      say(`round ${round} of ${rounds}`);
      const before = (await metricsOf(source)).get(proved) ?? 0;
      const startMs = performance.now();
      await putFiles(source, `r${round}`, files);
      written.push(files / secondsSince(startMs));
      await untilProved(source, before + files);
      held.push(files / secondsSince(startMs));
    }
    const put = { bench: 'small', unit: '/s' };
    return [
      benchCase({
        ...put,
        case: `${files} files of 4 KiB, ${writers} writers: until another node has proved them all`,
        value: median(held),
        target: { of: 'value', atLeast: 1_200 },
      }),
      benchCase({ ...put, case: 'the same: until acknowledged', value: median(written) }),
    ];
  });
}

async function putFiles({ node }: RunningProcess, prefix: string, count: number): Promise<void> {
  const load = await LoadGenerator.connect(node, writers);
  let next = 0;
  const write = async (writer: number): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      await load.put(writer, 'bench', `${prefix}/${index}`, content());
    }
  };
  try {
    await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)));
  } finally {
    load.close();
  }
}

/** Waits until no write of a node lacks a proof of another's copy, and so many proofs were given. */
async function untilProved(node: RunningProcess, proofs: number): Promise<void> {
  const endMs = performance.now() + provedMsMax;
  for (;;) {
    const metrics = await metricsOf(node);
    if (metrics.get(waiting) === 0 && (metrics.get(proved) ?? 0) >= proofs) return;
    if (performance.now() > endMs) throw new Error(`not every file was proved within ${provedMsMax / 1_000} s`);
    await pause(lookEveryMs);
  }
}

function secondsSince(startMs: number): number {
  return (performance.now() - startMs) / 1_000;
}
