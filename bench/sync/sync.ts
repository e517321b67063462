import { randomInt } from 'node:crypto';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BenchCase, benchCase } from '../support/cases.ts';
import { type Exchange, exchange, feedPosition } from './exchange.ts';
import { addObjects, addTreeItems, changeObjects, openStore, type Store, slots } from './store.ts';

const objects = 100_000;
const largeItems = 1_000_000;
/** Objects with records beside the million: those that are changed. */
const largeObjects = 1_000;
const listedBytes = 64;
const allSlots = Array.from({ length: slots }, (_, slot) => slot);

/** What it costs two stores with many objects in common to find and fetch what differs. */
export async function benchSync(
  say: (text: string) => void,
  options: { readonly large: boolean },
): Promise<BenchCase[]> {
  const cases = await withTwins(
    async (store) => {
      say(`writing ${objects} objects`);
      await addObjects(store, 0, objects);
    },
    (near, far) => measure(near, far, say),
  );
  if (!options.large) return cases;
  const large = await withTwins(
    async (store) => {
      say(`writing ${largeItems} documents into the tree`);
      await addTreeItems(store, largeItems);
      await addObjects(store, 0, largeObjects);
    },
    (near, far) => measureLarge(near, far, say),
  );
  return [...cases, ...large];
}

/** Fills one store, copies its directory, and opens both. */
async function withTwins(
  fill: (store: Store) => Promise<void>,
  run: (near: Store, far: Store) => Promise<BenchCase[]>,
): Promise<BenchCase[]> {
  const dir = await mkdtemp(join(tmpdir(), 'anabranch-bench-sync-'));
  try {
    const first = await openStore(join(dir, 'near'));
    await fill(first);
    await first.kv.close();
    await cp(join(dir, 'near'), join(dir, 'far'), { recursive: true });
    const near = await openStore(join(dir, 'near'));
    const far = await openStore(join(dir, 'far'));
    try {
      return await run(near, far);
    } finally {
      await near.kv.close();
      await far.kv.close();
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function measure(near: Store, far: Store, say: (text: string) => void): Promise<BenchCase[]> {
  const position = await feedPosition(near, far);
  await changeObjects(far, draw(10, objects));
  const feed = await exchange(near, far, (client) => client.pullFeed(position));
  check(feed, 10, 'following the feed');
  await changeObjects(far, draw(10, objects));
  const ten = await exchange(near, far, (client) => client.pullSlots(allSlots));
  check(ten, 10, 'comparing ranges');
  await changeObjects(far, draw(100, objects));
  const hundred = await exchange(near, far, (client) => client.pullSlots(allSlots));
  check(hundred, 100, 'comparing ranges');
  const none = await exchange(near, far, (client) => client.pullSlots(allSlots));
  check(none, 0, 'comparing equal sets');
  for (const [name, { trips, rowsRead, ms }] of Object.entries({ feed, ten, hundred, none })) {
    say(`${name}: ${trips} trips, ${rowsRead} rows read on both sides, ${ms.toFixed(1)} ms`);
  }
  return [
    bytesCase(`${objects} objects, feed after 10 changes`, feed, 8, objects),
    bytesCase(`${objects} objects, 10 differences`, ten, 64, objects),
    tripsCase(`${objects} objects, 10 differences`, ten, 3),
    bytesCase(`${objects} objects, 100 differences`, hundred, 400, objects),
    tripsCase(`${objects} objects, 100 differences`, hundred),
    bytesCase(`${objects} objects, no difference`, none, undefined, objects),
  ];
}

async function measureLarge(near: Store, far: Store, say: (text: string) => void): Promise<BenchCase[]> {
  await changeObjects(far, draw(10, largeObjects));
  const ten = await exchange(near, far, (client) => client.pullSlots(allSlots));
  check(ten, 10, 'comparing ranges');
  const all = largeItems + largeObjects;
  say(`${ten.rowsRead} rows read on both sides, ${ten.ms.toFixed(1)} ms`);
  return [
    bytesCase(`${all} documents, 10 differences`, ten, 96, all),
    tripsCase(`${all} documents, 10 differences`, ten, 4),
    benchCase({
      bench: 'sync',
      case: `${all} documents, rows read on both sides, the tree being kept`,
      value: ten.rowsRead,
      unit: 'rows',
      reference: { name: 'documents on both sides', value: 2 * all },
      target: { of: 'ratio', atMost: 0.01 },
    }),
  ];
}

function bytesCase(
  name: string,
  { besideRecordsBytes }: Exchange<unknown>,
  kibMax: number | undefined,
  listed: number,
) {
  return benchCase({
    bench: 'sync',
    case: `${name}, traffic beside the records`,
    value: besideRecordsBytes / 1_024,
    unit: 'KiB',
    reference: { name: 'a whole listing', value: (listed * listedBytes) / 1_024 },
    ...(kibMax === undefined ? {} : { target: { of: 'value', atMost: kibMax } as const }),
  });
}

function tripsCase(name: string, { trips }: Exchange<unknown>, atMost?: number): BenchCase {
  const target = atMost === undefined ? {} : ({ target: { of: 'value', atMost } } as const);
  return benchCase({ bench: 'sync', case: `${name}, round trips`, value: trips, unit: 'trips', ...target });
}

function check({ records }: Exchange<unknown>, expected: number, what: string): void {
  if (records !== expected) throw new Error(`${what} brought ${records} records, not ${expected}`);
}

/** So many different numbers below `below`, drawn at random. */
function draw(count: number, below: number): number[] {
  const drawn = new Set<number>();
  while (drawn.size < count) drawn.add(randomInt(below));
  return [...drawn];
}
