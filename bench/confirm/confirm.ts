import { randomBytes } from 'node:crypto';
import type { AnabranchClient } from '../../src/client/http-client.ts';
import type { CommitMode } from '../../src/node/api.ts';
import { type RunningProcess, withNodes } from '../../test/support/node-processes.ts';
import { withBareLmdb } from '../support/bare-lmdb.ts';
import { type BenchCase, benchCase, median } from '../support/cases.ts';
import { contentSource, LoadGenerator } from '../support/load-generator.ts';
import { perSecond } from '../support/rates.ts';
import { pause } from '../support/swarm.ts';
import { benchCarryOver } from './carry-over.ts';
import { verificationsPerSecond } from './verification.ts';

const writers = 32;
const objectBytes = 1_024;
const roundMs = 4_000;
/** Until their code is compiled, the nodes confirm half as many; and while much of it is being compiled, a twentieth less. */
const warmMs = 30_000;
const rounds = 3;
/** Writes of a round of which the middle one's time is taken. */
const singleWrites = 200;
/** How single writes come: at once after the last, while the nodes have work left over from it, or when that is done. */
const paces = [
  { name: 'one after the other', gapMs: 0 },
  { name: 'idle, one every 30 ms', gapMs: 30 },
] as const;
const settleMs = 2_000;

const content = contentSource(objectBytes);

/** What a confirmation costs: many at once, one alone, beside local writes and bare flushed puts. */
export async function benchConfirm(say: (text: string) => void): Promise<BenchCase[]> {
  const cases: BenchCase[] = [];
  say('three coordinators, three processes');
  await withNodes(3, async (nodes) => {
    const client = (nodes[0] as RunningProcess).client;
    await ready(client);
    const bare: number[] = [];
    const confirmed = await writing(nodes, async (write) => {
      const rates: number[] = [];
      for (let round = 0; round < rounds; round += 1) {
        bare.push(await flushedPuts());
        rates.push(await write(`r${round}`, roundMs));
      }
      return rates;
    });
    cases.push(
      benchCase({
        bench: 'confirm',
        case: `new objects, ${writers} writers, three coordinators`,
        value: median(confirmed),
        unit: '/s',
        reference: { name: 'LMDB puts, flushed, as many at once', value: median(bare) },
        target: { of: 'value', atLeast: 600 },
      }),
    );
    for (const pace of paces) {
      say(`one writer, ${pace.name}: local, by a quorum, and by a quorum again`);
      await pause(settleMs);
      cases.push(...(await singleCases(client, pace)));
    }
  });
  say('one node that is its own only coordinator');
  await withNodes(1, async ([node]) => {
    const single = node as RunningProcess;
    await ready(single.client);
    const value = await writing([single], (write) => write('single', roundMs));
    cases.push(benchCase({ bench: 'confirm', case: `new objects, ${writers} writers, one node`, value, unit: '/s' }));
  });
  cases.push(await benchCarryOver(say));
  cases.push(
    benchCase({
      bench: 'confirm',
      case: 'certificates of three coordinators verified offline',
      value: verificationsPerSecond(),
      unit: '/s',
      target: { of: 'value', atLeast: 2_000 },
    }),
  );
  return cases;
}

/** The first confirmation waits until the coordinators have found each other. */
async function ready(client: AnabranchClient): Promise<void> {
  for (;;) {
    const { quorum } = await client.status();
    if (quorum.available && quorum.reachable === quorum.coordinators) return;
    await pause(50);
  }
}

/**
 * Gives `measure` a function that writes to all nodes for so long and tells how many writes a second were confirmed; the nodes
 * have written for a while before.
 */
async function writing<T>(
  nodes: readonly RunningProcess[],
  measure: (write: (prefix: string, forMs: number) => Promise<number>) => Promise<T>,
): Promise<T> {
  const generators = await Promise.all(nodes.map(({ node }) => LoadGenerator.connect(node, writers)));
  const write = (prefix: string, forMs: number): Promise<number> =>
    perSecond(writers, forMs, (writer, index) => {
      const generator = generators[writer % generators.length] as LoadGenerator;
      return generator.put(writer, 'bench', `${prefix}-${writer}-${index}`, content(), 'quorum');
    });
  try {
    await write('warm', warmMs);
    return await measure(write);
  } finally {
    for (const generator of generators) generator.close();
  }
}

async function singleCases(
  client: AnabranchClient,
  { name: pace, gapMs }: (typeof paces)[number],
): Promise<BenchCase[]> {
  const local: number[] = [];
  const fresh: number[] = [];
  const again: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const p50 = async (prefix: string, commit: CommitMode): Promise<number> => {
      const writes: number[] = [];
      for (let index = 0; index < singleWrites; index += 1) {
        writes.push(await timed(() => put(client, `${prefix}-${gapMs}/${round}/${index}`, commit)));
        if (gapMs > 0) await pause(gapMs);
      }
      return median(writes);
    };
    local.push(await p50('local', 'local'));
    // Background confirmations of the local writes are kept out of the other times.
    await pause(settleMs);
    fresh.push(await p50('fresh', 'quorum'));
    again.push(await p50('fresh', 'quorum'));
  }
  const reference = { name: 'the same with ?commit=local', value: median(local) };
  const single = (name: string, figures: readonly number[], atMost: number): BenchCase =>
    benchCase({
      bench: 'confirm',
      case: `p50 of ?commit=quorum, ${pace}, ${name}`,
      value: median(figures),
      unit: 'ms',
      reference,
      target: { of: 'ratio', atMost },
    });
  return [single('new objects', fresh, 4), single('objects with a cached promise', again, 3)];
}

async function put(client: AnabranchClient, key: string, commit: CommitMode): Promise<void> {
  await client.put('bench', key, content(), { size: objectBytes, commit });
}

async function timed(run: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await run();
  return performance.now() - startMs;
}

function flushedPuts(): Promise<number> {
  return withBareLmdb((commit) =>
    perSecond(writers, roundMs / 2, (writer, index) =>
      commit(() => [[Buffer.from(`${writer}/${index}`), randomBytes(700)]]),
    ),
  );
}
