import { type RunningProcess, withNodes } from '../../test/support/node-processes.ts';
import { type BenchCase, benchCase, median } from '../support/cases.ts';
import { generatedBytes, mebibyte } from '../support/data.ts';
import { watchEvents } from '../support/replication.ts';
import { metricsOf } from '../support/swarm.ts';

const objectBytes = 1_024 * mebibyte;
const insertedBytes = 100;
const rounds = 3;
const key = 'edited';
const receivedSeries = 'anabranch_blobs_received_bytes_total';

/** What a holder of the old version fetches, and how long it takes, when a large object is edited in two places. */
export async function benchEdit(say: (text: string) => void): Promise<BenchCase[]> {
  return withNodes(2, async (nodes) => {
    const [source, holder] = nodes as [RunningProcess, RunningProcess];
    const seconds: number[] = [];
    const megabytes: number[] = [];
    say('the first version');
    await replicate(source, holder, generatedBytes(objectBytes, 1), objectBytes);
    for (let round = 1; round <= rounds; round += 1) {
      say(`round ${round} of ${rounds}`);
      const before = await receivedBytes(holder);
      const size = objectBytes + round * insertedBytes;
      seconds.push(await replicate(source, holder, editedBytes(round), size));
      megabytes.push(((await receivedBytes(holder)) - before) / mebibyte);
    }
    return [
      benchCase({
        bench: 'edit',
        case: '1 MiB changed and 100 bytes inserted in 1 GiB: moved',
        value: median(megabytes),
        unit: 'MiB',
        target: { of: 'value', atMost: 8 },
      }),
      benchCase({
        bench: 'edit',
        case: 'the same: held whole after the acknowledgement',
        value: median(seconds),
        unit: 's',
        target: { of: 'value', atMost: 3 },
      }),
    ];
  });
}

/** Writes a version, and says how many seconds after its acknowledgement the other node holds it whole. */
async function replicate(
  source: RunningProcess,
  holder: RunningProcess,
  body: Iterable<Uint8Array>,
  size: number,
): Promise<number> {
  const events = await watchEvents(holder);
  const stored = events.timeOf('replication', key);
  await source.client.put('bench', key, body, { size });
  const acknowledgedMs = performance.now();
  const storedMs = await stored;
  events.close();
  return Math.max(0, storedMs - acknowledgedMs) / 1_000;
}

/** The object after so many edits: each put 100 bytes in near the start, and changed another MiB around the middle. */
function* editedBytes(edits: number): Generator<Uint8Array> {
  const middle = objectBytes / mebibyte / 2;
  let index = 0;
  for (const piece of generatedBytes(objectBytes, 1)) {
    const edit = index - middle;
    if (index === 1) {
      for (let inserted = 1; inserted <= edits; inserted += 1) yield* generatedBytes(insertedBytes, 100 + inserted);
    }
    yield edit >= 0 && edit < edits ? (generatedBytes(mebibyte, 200 + edit).next().value as Uint8Array) : piece;
    index += 1;
  }
}

async function receivedBytes(node: RunningProcess): Promise<number> {
  return (await metricsOf(node)).get(receivedSeries) ?? 0;
}
