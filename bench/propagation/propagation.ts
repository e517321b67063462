import { randomBytes } from 'node:crypto';
import { type RunningProcess, withNodes } from '../../test/support/node-processes.ts';
import { type BenchCase, benchCase } from '../support/cases.ts';
import { metricsOf, pause } from '../support/swarm.ts';
import { startPings } from './ping.ts';

const nodeCount = 10;
const writesPerSecond = 50;
/** Ten processes on a few cores take about so long until most of what runs is compiled: five seconds triple the median. */
const warmUpMs = 40_000;
const forMs = 30_000;
/** Past it a version is counted as late as this; sync brings it meanwhile. */
const patienceMs = 60_000;
const objectBytes = 256;
const connectMsMax = 60_000;

/** Acknowledged versions, and when each was seen on the other nodes, by this process's clock. */
class Sightings {
  readonly #acknowledgedMs = new Map<string, number>();
  /** By version, the milliseconds of the clock at which each other node told of it. */
  readonly #seenMs = new Map<string, number[]>();

  acknowledged(version: string, atMs: number): void {
    this.#acknowledgedMs.set(version, atMs);
  }

  seen(version: string, atMs: number): void {
    const seen = this.#seenMs.get(version);
    if (seen === undefined) this.#seenMs.set(version, [atMs]);
    else seen.push(atMs);
  }

  /** Versions that some node has not told of. */
  missing(): number {
    let missing = 0;
    for (const version of this.#acknowledgedMs.keys()) {
      if ((this.#seenMs.get(version)?.length ?? 0) < nodeCount) missing += 1;
    }
    return missing;
  }

  /** From the acknowledgement to each sighting elsewhere, sorted; one that never came counts as `patienceMs`. */
  delaysMs(): number[] {
    const delays: number[] = [];
    for (const [version, atMs] of this.#acknowledgedMs) {
      // The writer tells of its own version as well, before it acknowledges it: that one is the first.
      const [, ...elsewhere] = (this.#seenMs.get(version) ?? []).sort((left, right) => left - right);
      for (const seenMs of elsewhere) delays.push(Math.max(0, seenMs - atMs));
      for (let lost = elsewhere.length; lost < nodeCount - 1; lost += 1) delays.push(patienceMs);
    }
    return delays.sort((left, right) => left - right);
  }
}

/** How soon what is acknowledged by one of ten node processes is visible on the nine others. */
export async function benchPropagation(say: (text: string) => void): Promise<BenchCase[]> {
  say(`starting ${nodeCount} nodes`);
  return withNodes(nodeCount, async (nodes) => {
    await untilConnected(nodes);
    const stopped = new AbortController();
    const sightings = new Sightings();
    const watching = await Promise.all(nodes.map((node) => watch(node, sightings, stopped.signal)));
    say(`warming up for ${warmUpMs / 1_000} s`);
    await write(nodes, warmUpMs, () => undefined);
    say(`writing ${writesPerSecond} objects a second for ${forMs / 1_000} s`);
    const pings = await startPings(1_000 / writesPerSecond);
    await write(nodes, forMs, (version) => sightings.acknowledged(version, performance.now()));
    const pingMs = (await pings.stop()).sort((left, right) => left - right);
    const untilMs = performance.now() + patienceMs;
    while (sightings.missing() > 0 && performance.now() < untilMs) await pause(100);
    if (sightings.missing() > 0) say(`${sightings.missing()} versions did not reach every node`);
    await tellOwnFigures(nodes, say);
    stopped.abort();
    await Promise.all(watching.map(({ ended }) => ended));
    const delaysMs = sightings.delaysMs();
    return [50, 99].map((share) =>
      benchCase({
        bench: 'propagation',
        case: `${nodeCount} nodes, ${writesPerSecond} writes/s, p${share}`,
        value: percentile(delaysMs, share),
        unit: 'ms',
        reference: { name: `p${share} of a ping between two processes meanwhile`, value: percentile(pingMs, share) },
        target: { of: 'value', atMost: share === 50 ? 100 : 500 },
      }),
    );
  });
}

async function untilConnected(nodes: readonly RunningProcess[]): Promise<void> {
  const untilMs = performance.now() + connectMsMax;
  for (const { client } of nodes) {
    while ((await client.status()).peers.connected < nodes.length - 1) {
      if (performance.now() > untilMs) throw new Error(`not all nodes are connected after ${connectMsMax / 1_000} s`);
      await pause(100);
    }
  }
}

async function watch(
  { client }: RunningProcess,
  sightings: Sightings,
  signal: AbortSignal,
): Promise<{ readonly ended: Promise<void> }> {
  const events = await client.events({ signal });
  const follow = async (): Promise<void> => {
    try {
      for await (const event of events) {
        if (event.type === 'version') sightings.seen(event.data.version, performance.now());
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  };
  return { ended: follow() };
}

/** Writes at an even pace, on one node after the other, whether the write before has ended or not. */
async function write(
  nodes: readonly RunningProcess[],
  lastsMs: number,
  acknowledged: (version: string) => void,
): Promise<void> {
  const startMs = performance.now();
  const writes: Promise<void>[] = [];
  for (let count = 0; (count * 1_000) / writesPerSecond < lastsMs; count += 1) {
    const dueMs = startMs + (count * 1_000) / writesPerSecond;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await pause(waitMs);
    const { client } = nodes[count % nodes.length] as RunningProcess;
    const key = `${Math.round(startMs)}/${count}`;
    const written = client.put('bench', key, randomBytes(objectBytes), { size: objectBytes });
    writes.push(written.then(({ version }) => acknowledged(version)));
  }
  await Promise.all(writes);
}

/** What the nodes' own metrics make of it, which leaves out the way to this process. */
async function tellOwnFigures(nodes: readonly RunningProcess[], say: (text: string) => void): Promise<void> {
  let observed = 0;
  let seconds = 0;
  for (const node of nodes) {
    const series = await metricsOf(node);
    observed += series.get('anabranch_propagation_seconds_count{via="gossip"}') ?? 0;
    seconds += series.get('anabranch_propagation_seconds_sum{via="gossip"}') ?? 0;
  }
  if (observed > 0)
    say(
      `by the nodes' own histogram: ${observed} arrivals by gossip, mean ${Math.round((seconds / observed) * 1_000)} ms`,
    );
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * share) / 100))] ?? Number.NaN;
}
