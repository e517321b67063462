import { randomBytes } from 'node:crypto';
import type { AnabranchClient } from '../../src/client/http-client.ts';
import type { CommitMode } from '../../src/node/api.ts';
import { type RunningProcess, withNodes } from '../../test/support/node-processes.ts';
import { withBareLmdb } from '../support/bare-lmdb.ts';
import { type BenchCase, benchCase, median } from '../support/cases.ts';
import { perSecond } from '../support/rates.ts';
import { pause } from '../support/swarm.ts';
import { benchCarryOver } from './carry-over.ts';
import { verificationsPerSecond } from './verification.ts';

const writers = 32;
const objectBytes = 1_024;
const roundMs = 4_000;
const rounds = 3;
/** Writes of a round of which the middle one's time is taken, one after the other. */
const idleWrites = 200;
const settleMs = 2_000;

/** What a confirmation costs: many at once, one alone, beside local writes and bare flushed puts. */
export async function benchConfirm(say: (text: string) => void): Promise<BenchCase[]> {
  const cases: BenchCase[] = [];
  say('three coordinators, three processes');
  await withNodes(3, async (nodes) => {
    const client = (nodes[0] as RunningProcess).client;
    const others = nodes.slice(1).map((node) => node.client);
    await ready(client);
    const confirmed: number[] = [];
    const bare: number[] = [];
    await quorumWrites([client, ...others], 'warm', 1_000);
    for (let round = 0; round < rounds; round += 1) {
      bare.push(await flushedPuts());
      confirmed.push(await quorumWrites([client, ...others], `r${round}`, roundMs));
    }
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
    say('one writer, idle: local, by a quorum, and by a quorum again');
    await pause(settleMs);
    cases.push(...(await idleCases(client)));
  });
  say('one node that is its own only coordinator');
  await withNodes(1, async ([node]) => {
    const { client } = node as RunningProcess;
    await ready(client);
    const value = await quorumWrites([client], 'single', roundMs);
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

function quorumWrites(clients: readonly AnabranchClient[], prefix: string, forMs: number): Promise<number> {
  return perSecond(writers, forMs, (writer, index) =>
    put(clients[writer % clients.length] as AnabranchClient, `${prefix}/${writer}/${index}`, 'quorum'),
  );
}

async function idleCases(client: AnabranchClient): Promise<BenchCase[]> {
  const local: number[] = [];
  const fresh: number[] = [];
  const again: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const p50 = async (prefix: string, commit: CommitMode): Promise<number> => {
      const writes: number[] = [];
      for (let index = 0; index < idleWrites; index += 1) {
        writes.push(await timed(() => put(client, `${prefix}/${round}/${index}`, commit)));
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
  const idle = (name: string, figures: readonly number[], atMost: number): BenchCase =>
    benchCase({
      bench: 'confirm',
      case: `p50 of ?commit=quorum, idle, ${name}`,
      value: median(figures),
      unit: 'ms',
      reference,
      target: { of: 'ratio', atMost },
    });
  return [idle('new objects', fresh, 4), idle('objects with a cached promise', again, 3)];
}

async function put(client: AnabranchClient, key: string, commit: CommitMode): Promise<void> {
  await client.put('bench', key, randomBytes(objectBytes), { size: objectBytes, commit });
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
