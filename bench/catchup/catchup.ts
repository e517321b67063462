import { cut, type RunningProcess, withNodes } from '../../test/support/node-processes.ts';
import { type BenchCase, benchCase, median } from '../support/cases.ts';
import { fillNode, longestStallMs, pause } from '../support/swarm.ts';
import { flushedRowsPerSecond, stallOfBusyProcessMs } from './reference.ts';

const documents = 20_000;
const objectBytes = 1_000;
const rounds = 3;
const pollMs = 100;
const patienceMs = 120_000;

interface CatchUp {
  readonly perSecond: number;
  readonly recordsPerSecond: number;
  readonly serverStallMs: number;
  readonly clientStallMs: number;
}

/** How fast an empty node takes in everything another one holds, and for how long that holds either's event loop. */
export async function benchCatchup(say: (text: string) => void): Promise<BenchCase[]> {
  const catchUps: CatchUp[] = [];
  const bare: number[] = [];
  const busy: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    say(`round ${round + 1} of ${rounds}: LMDB alone`);
    bare.push(await flushedRowsPerSecond(documents));
    busy.push(await stallOfBusyProcessMs());
    say(`writing ${documents} objects on one node`);
    const caughtUp = await withNodes(2, (nodes) => catchUp(nodes as [RunningProcess, RunningProcess]));
    catchUps.push(caughtUp);
    const { perSecond, recordsPerSecond, serverStallMs, clientStallMs } = caughtUp;
    say(
      `${Math.round(perSecond)} documents a second (records alone ${Math.round(recordsPerSecond)}), stalls ${serverStallMs.toFixed(1)} and ${clientStallMs.toFixed(1)} ms`,
    );
  }
  const of = (figure: keyof CatchUp): number => median(catchUps.map((each) => each[figure]));
  const bench = 'catchup';
  const reference = { name: 'the same rows put into LMDB, flushed', value: median(bare) };
  const busyReference = { name: 'a process that works in turns of 10 ms', value: median(busy) };
  const stall = { bench, unit: 'ms', reference: busyReference, target: { of: 'value', atMost: 50 } } as const;
  return [
    benchCase({
      bench,
      case: `${documents} documents with contents`,
      value: of('perSecond'),
      unit: '/s',
      reference,
      target: { of: 'value', atLeast: 3_000 },
    }),
    benchCase({ bench, case: 'until all records are there', value: of('recordsPerSecond'), unit: '/s', reference }),
    benchCase({ ...stall, case: 'longest stall, full node', value: of('serverStallMs') }),
    benchCase({ ...stall, case: 'longest stall, empty node', value: of('clientStallMs') }),
  ];
}

/** What is being written still would be caught up with as well. */
async function untilConfirmed({ client }: RunningProcess): Promise<void> {
  const untilMs = performance.now() + patienceMs;
  while ((await client.status()).provisional > 0 && performance.now() < untilMs) await pause(pollMs);
}

async function catchUp([full, empty]: [RunningProcess, RunningProcess]): Promise<CatchUp> {
  await cut(empty, [full]);
  // By itself nothing is confirmed while there is one copy of it.
  await fillNode(full, documents, objectBytes, 'quorum');
  await untilConfirmed(full);
  await pause(1_000);
  await Promise.all([full, empty].map(longestStallMs));
  await cut(empty, []);
  let startMs: number | undefined;
  let recordsMs: number | undefined;
  const beganMs = performance.now();
  for (;;) {
    const { peers, versions, pendingContent } = await empty.client.status();
    const nowMs = performance.now();
    if (peers.connected > 0) startMs ??= nowMs;
    if (versions >= documents) recordsMs ??= nowMs;
    if (startMs !== undefined && recordsMs !== undefined && pendingContent === 0) {
      const [serverStallMs = 0, clientStallMs = 0] = await Promise.all([full, empty].map(longestStallMs));
      const rate = (endMs: number): number => documents / ((endMs - (startMs ?? 0)) / 1_000);
      return { perSecond: rate(nowMs), recordsPerSecond: rate(recordsMs), serverStallMs, clientStallMs };
    }
    if (nowMs - beganMs > patienceMs) throw new Error(`${versions} versions and ${pendingContent} contents to come`);
    await pause(pollMs);
  }
}
