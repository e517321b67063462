import { beforeEach, expect, it } from 'vitest';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import type { MeshEvent } from '../../../src/node/api.ts';
import { type EventBody, EventLog } from '../../../src/node/event-log.ts';
import { encodeRow } from '../../../src/node/rows.ts';
import { eventKey } from '../../../src/node/storage-keys.ts';

/** What the log keeps for readers that come back. */
const keptMax = 100_000;
/** How many more it may come to have before it lets go of them. */
const droppedEvery = 1_024;

const clock = new VirtualClock();
let kv: MemoryKv;
beforeEach(() => {
  kv = new MemoryKv(clock);
});

const bodyOf = (since: number): EventBody => ({
  type: 'node',
  data: { nodeId: 'n' as never, name: 'n1', state: 'online', since },
});

/** Writes so many events, and shows them once they are on disk. */
async function append(log: EventLog, count: number): Promise<void> {
  const bodies = Array.from({ length: count }, (_, at) => bodyOf(at));
  log.publish(
    await clock.run(
      kv.transact((transaction) => log.append(transaction, bodies)),
      60_000,
    ),
  );
}

/** The next so many events after a number. */
async function read(log: EventLog, after: number, count: number): Promise<MeshEvent[]> {
  const stopped = new AbortController();
  const events: MeshEvent[] = [];
  for await (const event of log.read(after, stopped.signal)) {
    events.push(event);
    if (events.length === count) stopped.abort();
  }
  return events;
}

it('lets go of the oldest past its bound, and who stayed away longer goes on with the oldest that is kept', async () => {
  await append(new EventLog(kv), 40);
  // As if there had been as many as are kept.
  await clock.run(
    kv.transact((transaction) => transaction.put(eventKey(keptMax), encodeRow([bodyOf(0)]))),
    60_000,
  );
  const log = new EventLog(kv);
  for (let written = 0; written < droppedEvery; written += 64) await append(log, 64);
  const last = keptMax + droppedEvery;
  expect(log.last()).toBe(last);
  // All that were more than are kept when a multiple of the bound was passed: 100,352 is one.
  expect((await read(log, 0, 2)).map(({ id }) => id)).toEqual([keptMax, keptMax + 1]);
  expect((await read(log, 3, 1)).map(({ id }) => id)).toEqual([keptMax]);
  expect((await read(log, last - 7, 7)).map(({ id }) => id)).toEqual(
    [-6, -5, -4, -3, -2, -1, 0].map((at) => last + at),
  );
});

it('keeps at least as many as it says', async () => {
  const log = new EventLog(kv);
  for (let written = 0; written < keptMax + 3 * droppedEvery; written += 999) await append(log, 999);
  const [first] = await read(log, 0, 1);
  const kept = log.last() - (first as MeshEvent).id + 1;
  expect(kept).toBeGreaterThanOrEqual(keptMax);
  expect(kept).toBeLessThan(keptMax + droppedEvery + 999 + 16);
});

it.each([1, 15, 16, 17, 100])(
  'gives each of %i events that were written at once, from any of them on',
  async (count) => {
    const log = new EventLog(kv);
    await append(log, 2);
    await append(log, count);
    const all = await read(log, 0, count + 2);
    expect(all.map(({ id }) => id)).toEqual(Array.from({ length: count + 2 }, (_, at) => at + 1));
    expect(all.map(({ data }) => (data as { since: number }).since)).toEqual([0, 1, ...Array(count).keys()]);
    for (let after = 0; after < count + 2; after += 1) {
      expect((await read(log, after, count + 2 - after)).map(({ id }) => id)).toEqual(
        all.slice(after).map(({ id }) => id),
      );
    }
  },
);

it('shows of a row only what it is told of, and reads rows of one event as they were written once', async () => {
  await clock.run(
    kv.transact((transaction) => transaction.put(eventKey(7), encodeRow(bodyOf(7)))),
    60_000,
  );
  const log = new EventLog(kv);
  await append(log, 5);
  expect((await read(log, 0, 6)).map(({ id }) => id)).toEqual([7, 8, 9, 10, 11, 12]);
  expect((await read(log, 9, 3)).map(({ id }) => id)).toEqual([10, 11, 12]);
});

it('numbers on after a restart, and shows nothing that is not published', async () => {
  const log = new EventLog(kv);
  await append(log, 3);
  const again = new EventLog(kv);
  expect(again.last()).toBe(3);
  const written = await clock.run(
    kv.transact((transaction) => again.append(transaction, [bodyOf(4)])),
    60_000,
  );
  expect([written, again.last()]).toEqual([4, 3]);
  const stopped = new AbortController();
  const seen: number[] = [];
  const reading = (async () => {
    for await (const { id } of again.read(1, stopped.signal)) seen.push(id);
  })();
  await clock.run(clock.sleep(1), 1_000);
  expect(seen).toEqual([2, 3]);
  again.publish(written);
  await clock.run(clock.sleep(1), 1_000);
  expect(seen).toEqual([2, 3, 4]);
  stopped.abort();
  await reading;
});

it('goes on past numbers of a transaction that failed, also where the next one tells of nothing', async () => {
  const log = new EventLog(kv);
  await append(log, 1);
  const stopped = new AbortController();
  const seen: number[] = [];
  const reading = (async () => {
    for await (const { id } of log.read(0, stopped.signal)) seen.push(id);
  })();
  await clock.run(clock.sleep(1), 1_000);
  const failed = kv.transact((transaction) => {
    log.append(transaction, [bodyOf(1)]);
    throw new Error('the disk is full');
  });
  await expect(clock.run(failed, 1_000)).rejects.toThrow('the disk is full');
  await append(log, 0);
  expect(log.last()).toBe(1);
  await clock.run(clock.sleep(1), 1_000);
  await append(log, 2);
  await clock.run(clock.sleep(1), 1_000);
  expect(seen).toEqual([1, 3, 4]);
  stopped.abort();
  await reading;
});

it('gives all there is to who names a number that was never given out, and then goes on', async () => {
  const log = new EventLog(kv);
  await append(log, 2);
  const stopped = new AbortController();
  const seen: number[] = [];
  const reading = (async () => {
    for await (const { id } of log.read(41, stopped.signal)) seen.push(id);
  })();
  await clock.run(clock.sleep(1), 1_000);
  expect(seen).toEqual([1, 2]);
  await append(log, 1);
  await clock.run(clock.sleep(1), 1_000);
  expect(seen).toEqual([1, 2, 3]);
  stopped.abort();
  await reading;
});
