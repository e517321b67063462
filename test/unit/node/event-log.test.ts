import { beforeEach, expect, it } from 'vitest';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import type { MeshEvent } from '../../../src/node/api.ts';
import { type EventBody, EventLog } from '../../../src/node/event-log.ts';
import { encodeRow } from '../../../src/node/rows.ts';
import { eventKey } from '../../../src/node/storage-keys.ts';

/** What the log keeps for readers that come back. */
const keptMax = 100_000;

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
  await append(new EventLog(kv), 10);
  // As if there had been as many as are kept.
  const last = encodeRow(bodyOf(0));
  await clock.run(
    kv.transact((transaction) => transaction.put(eventKey(keptMax), last)),
    60_000,
  );
  const log = new EventLog(kv);
  await append(log, 7);
  expect((await read(log, 0, 4)).map(({ id }) => id)).toEqual([8, 9, 10, keptMax]);
  expect((await read(log, 3, 1)).map(({ id }) => id)).toEqual([8]);
  expect((await read(log, keptMax, 7)).map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6, 7].map((at) => keptMax + at));
  expect([...kv.range({ start: new Uint8Array(0), end: Uint8Array.of(0xff) })]).toHaveLength(3 + 1 + 7);
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
