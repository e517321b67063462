import { randomBytes } from 'node:crypto';
import type { ReplicationStatus } from '../../src/node/api.ts';
import { type RunningProcess, withNodes } from '../../test/support/node-processes.ts';
import { tlsSeconds } from '../replicate/references.ts';
import { type BenchCase, benchCase, median } from '../support/cases.ts';
import { mebibyte } from '../support/data.ts';
import { metricsOf, pause } from '../support/swarm.ts';

const nodesCount = 5;
const objects = 2_000;
const objectBytes = mebibyte;
const writers = 8;
const referenceRounds = 3;
const healthMsMax = 600_000;
const lookEveryMs = 100;
const auditSeconds = 30;
const received = 'anabranch_blobs_received_bytes_total';
/** So that what is measured is the repair, and not the patience before it. */
const impatient = ['--heartbeat-every', '0.5s', '--repair-delay', '1s'];

/** How fast the copies of a node that is gone for good are made again on the others. */
export async function benchRepair(say: (text: string) => void): Promise<BenchCase[]> {
  const { bytes, seconds, secondsToHealth } = await withNodes(nodesCount, (nodes) => repair(nodes, say), {}, impatient);
  say('bare node:tls');
  const bare: number[] = [];
  for (let round = 0; round < referenceRounds; round += 1) bare.push(await tlsSeconds(bytes));
  const megabytes = bytes / 1e6;
  const rate = megabytes / seconds;
  return [
    benchCase({
      bench: 'repair',
      case: `${objects} objects of 1 MiB, 3 replicas, one of ${nodesCount} nodes gone: copied`,
      value: rate,
      unit: 'MB/s',
      reference: { name: 'bare node:tls', value: megabytes / median(bare) },
      target: { of: 'ratio', atLeast: 0.2 },
    }),
    benchCase({ bench: 'repair', case: 'the same', value: (rate * 3_600) / 1e3, unit: 'GB/hour' }),
    benchCase({ bench: 'repair', case: 'the same: bytes copied', value: megabytes / 1e3, unit: 'GB' }),
    benchCase({ bench: 'repair', case: 'from the kill until full health', value: secondsToHealth, unit: 's' }),
  ];
}

interface Repaired {
  readonly bytes: number;
  /** From the first byte that was copied until full health. */
  readonly seconds: number;
  readonly secondsToHealth: number;
}

async function repair(nodes: readonly RunningProcess[], say: (text: string) => void): Promise<Repaired> {
  say(`writing ${objects} objects`);
  await fill(nodes);
  say('waiting for every copy');
  await untilStanding(nodes, ({ healthy, totals }) => healthy && totals.subjects === objects);
  const victim = nodes.at(-1) as RunningProcess;
  const others = nodes.slice(0, -1);
  const status = (): Promise<ReplicationStatus> => (others[0] as RunningProcess).client.replication.status();
  say(`killing ${victim.node.name}`);
  const killedMs = performance.now();
  await victim.process.kill();
  // Until then all is healthy as far as anybody knows, and what is copied is none of the repair.
  await until(async () => !(await status()).healthy, 'the notice of its end');
  const before = await receivedBytes(others);
  await until(async () => (await receivedBytes(others)) > before, 'the first repair');
  const startMs = performance.now();
  await until(async () => {
    const { healthy, repairs, totals } = await status();
    return healthy && repairs.pulls === 0 && totals.pulls === 0;
  }, 'health');
  const endMs = performance.now();
  return {
    bytes: (await receivedBytes(others)) - before,
    seconds: (endMs - startMs) / 1_000,
    secondsToHealth: (endMs - killedMs) / 1_000,
  };
}

/** Each node takes its share in. */
async function fill(nodes: readonly RunningProcess[]): Promise<void> {
  let next = 0;
  const write = async (): Promise<void> => {
    for (let index = next++; index < objects; index = next++) {
      const { client } = nodes[index % nodes.length] as RunningProcess;
      await client.put('bench', `object-${index}`, randomBytes(objectBytes), { size: objectBytes });
    }
  };
  await Promise.all(Array.from({ length: writers }, write));
}

/** Has replication audited until it stands as it should. */
async function untilStanding(
  [first]: readonly RunningProcess[],
  holds: (status: ReplicationStatus) => boolean,
): Promise<void> {
  await until(async () => {
    const { status } = await (first as RunningProcess).client.replication.audit(auditSeconds);
    return status !== null && holds(status);
  }, 'full health');
}

async function until(probe: () => Promise<boolean>, what: string): Promise<void> {
  const endMs = performance.now() + healthMsMax;
  while (!(await probe())) {
    if (performance.now() > endMs) throw new Error(`${what} did not come within ${healthMsMax / 1_000} s`);
    await pause(lookEveryMs);
  }
}

async function receivedBytes(nodes: readonly RunningProcess[]): Promise<number> {
  const each = await Promise.all(nodes.map(async (node) => (await metricsOf(node)).get(received) ?? 0));
  return each.reduce((sum, bytes) => sum + bytes, 0);
}
