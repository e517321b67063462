import { randomBytes } from 'node:crypto';
import { anonymousBytes, type RunningProcess, withNodes } from '../../test/support/node-processes.ts';
import { type BenchCase, benchCase } from '../support/cases.ts';
import { mebibyte } from '../support/data.ts';
import { pause } from '../support/swarm.ts';

const nodeCount = 20;
const writesPerSecond = 5;
const objectBytes = 256;
/** Objects written again and again, so that histories grow as well as their number. */
const keys = 500;
const lookMs = 15_000;
/** Until then memory grows with caches that fill and code that is compiled. */
const warmUpShare = 0.25;
const convergeMsMax = 120_000;

interface Look {
  readonly minutes: number;
  /** Of all nodes together. */
  readonly anonymousBytes: number;
  /** The fewest peers any node was connected to. */
  readonly connectionsMin: number;
}

/** Twenty nodes under a light load for minutes: whether they stay connected, converge, and keep their memory. */
export async function benchSoak(
  say: (text: string) => void,
  options: { readonly minutes: number },
): Promise<BenchCase[]> {
  say(`starting ${nodeCount} nodes`);
  return withNodes(nodeCount, async (nodes) => {
    await untilConnected(nodes);
    const looks: Look[] = [];
    const startMs = performance.now();
    const endMs = startMs + options.minutes * 60_000;
    const writing = write(nodes, endMs);
    while (performance.now() < endMs) {
      const seen = await look(nodes, (performance.now() - startMs) / 60_000);
      looks.push(seen);
      const perNode = (seen.anonymousBytes / nodeCount / mebibyte).toFixed(0);
      say(`minute ${seen.minutes.toFixed(1)}: RssAnon ${perNode} MiB a node, ${seen.connectionsMin} peers at least`);
      await pause(Math.min(lookMs, Math.max(0, endMs - performance.now())));
    }
    const written = await writing;
    const convergedMs = await untilConverged(nodes, written);
    looks.push(await look(nodes, (performance.now() - startMs) / 60_000));
    return casesOf(looks, convergedMs, written);
  });
}

function casesOf(looks: readonly Look[], convergedMs: number, written: number): BenchCase[] {
  const settled = looks.slice(Math.floor(looks.length * warmUpShare));
  const [first, last] = [settled[0] as Look, settled.at(-1) as Look];
  const minutes = last.minutes - first.minutes;
  const perNode = (bytes: number): number => bytes / nodeCount / mebibyte;
  const bench = 'soak';
  const name = `${nodeCount} nodes, ${last.minutes.toFixed(1)} minutes, ${written} writes`;
  return [
    benchCase({
      bench,
      case: `${name}: RssAnon a node at the end`,
      value: perNode(last.anonymousBytes),
      unit: 'MiB',
      reference: { name: `at ${first.minutes.toFixed(1)} minutes`, value: perNode(first.anonymousBytes) },
    }),
    benchCase({
      bench,
      case: 'growth of RssAnon a node after the first quarter',
      value: slope(settled.map((seen) => [seen.minutes, perNode(seen.anonymousBytes)])),
      unit: `MiB/min over ${minutes.toFixed(1)} min`,
      target: { of: 'value', atMost: 1 },
    }),
    benchCase({
      bench,
      case: 'peers connected, the least of any node at any look',
      value: Math.min(...looks.map((seen) => seen.connectionsMin)),
      unit: 'peers',
      target: { of: 'value', atLeast: nodeCount - 1 },
    }),
    benchCase({ bench, case: 'from the last write until all nodes agree', value: convergedMs / 1_000, unit: 's' }),
  ];
}

/** The slope of the line through these points with the least squares of distance. */
function slope(points: readonly (readonly [number, number])[]): number {
  const meanOf = (index: 0 | 1): number => points.reduce((sum, point) => sum + point[index], 0) / points.length;
  const [meanX, meanY] = [meanOf(0), meanOf(1)];
  const covariance = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  const variance = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  return variance === 0 ? 0 : covariance / variance;
}

async function look(nodes: readonly RunningProcess[], minutes: number): Promise<Look> {
  let bytes = 0;
  let connectionsMin = nodes.length;
  for (const { client, process } of nodes) {
    bytes += process.pid === null ? 0 : await anonymousBytes(process.pid);
    connectionsMin = Math.min(connectionsMin, (await client.status()).peers.connected);
  }
  return { minutes, anonymousBytes: bytes, connectionsMin };
}

async function untilConnected(nodes: readonly RunningProcess[]): Promise<void> {
  const untilMs = performance.now() + convergeMsMax;
  while ((await look(nodes, 0)).connectionsMin < nodes.length - 1) {
    if (performance.now() > untilMs) throw new Error('the nodes did not all connect');
    await pause(500);
  }
}

/** Writes at an even pace, on one node after the other; resolves with how many there were. */
async function write(nodes: readonly RunningProcess[], endMs: number): Promise<number> {
  const writes: Promise<unknown>[] = [];
  const startMs = performance.now();
  for (let count = 0; performance.now() < endMs; count += 1) {
    const { client } = nodes[count % nodes.length] as RunningProcess;
    writes.push(client.put('bench', `key-${count % keys}`, randomBytes(objectBytes), { size: objectBytes }));
    await pause(Math.max(0, startMs + ((count + 1) * 1_000) / writesPerSecond - performance.now()));
  }
  await Promise.all(writes);
  return writes.length;
}

/** Until every node holds every version and all their contents. */
async function untilConverged(nodes: readonly RunningProcess[], versions: number): Promise<number> {
  const startMs = performance.now();
  for (;;) {
    const statuses = await Promise.all(nodes.map(({ client }) => client.status()));
    if (statuses.every((status) => status.versions === versions && status.pendingContent === 0)) {
      return performance.now() - startMs;
    }
    if (performance.now() - startMs > convergeMsMax) {
      const held = statuses.map((status) => `${status.versions}/${status.pendingContent}`).join(' ');
      throw new Error(`of ${versions} versions the nodes hold (and contents they lack): ${held}`);
    }
    await pause(500);
  }
}
