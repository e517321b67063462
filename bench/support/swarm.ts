import { randomBytes } from 'node:crypto';
import type { CommitMode } from '../../src/node/api.ts';
import type { RunningProcess } from '../../test/support/node-processes.ts';

/** Writers side by side when a node is filled. */
const writers = 32;
const metricsMsMax = 10_000;
/** `monitorEventLoopDelay` measures from timer to timer, so its rest value is the timer's period. */
const loopTimerSeconds = 0.01;

/** Writes so many objects of random content on one node, confirmed if that is asked for. */
export async function fillNode(
  { client }: RunningProcess,
  count: number,
  objectBytes: number,
  commit: CommitMode = 'local',
): Promise<void> {
  let next = 0;
  const write = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      await client.put('bench', `key-${index}`, randomBytes(objectBytes), { size: objectBytes, commit });
    }
  };
  await Promise.all(Array.from({ length: writers }, write));
}

/** A node's metrics by series, as in `anabranch_sync_rounds_total{outcome="complete"}`. */
export async function metricsOf({ node }: RunningProcess): Promise<ReadonlyMap<string, number>> {
  const answer = await fetch(new URL('/metrics', node.url), { signal: AbortSignal.timeout(metricsMsMax) });
  const series = new Map<string, number>();
  for (const line of (await answer.text()).split('\n')) {
    const cut = line.lastIndexOf(' ');
    if (cut > 0 && !line.startsWith('#')) series.set(line.slice(0, cut), Number(line.slice(cut + 1)));
  }
  return series;
}

/** The longest time for which a node's event loop was held since its metrics were read last, in milliseconds. */
export async function longestStallMs(node: RunningProcess): Promise<number> {
  const longest = (await metricsOf(node)).get('nodejs_eventloop_lag_max_seconds') ?? 0;
  return Math.max(0, longest - loopTimerSeconds) * 1_000;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
