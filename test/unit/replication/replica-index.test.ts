import { expect, test } from 'vitest';
import { blobHashOf, rawHash } from '../../../crdt/digest.ts';
import type { ItemChange } from '../../../crdt/fingerprint-tree.ts';
import type { BlobHash, NodeId } from '../../../crdt/ids.ts';
import type { FeedPage, FollowedSet } from '../../../protocols/wire/set-following.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv, type MemoryKvSnapshot } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import { heldAfter } from '../../../src/node/content/held-contents.ts';
import { PullJobs } from '../../../src/node/content/pull-jobs.ts';
import { ContentInventory } from '../../../src/replication/inventory.ts';
import { valueOfSize } from '../../../src/replication/journaled-set.ts';
import { ReplicaIndex } from '../../../src/replication/replica-index.ts';
import { testNode } from '../../support/versions.ts';

const patienceMs = 600_000;
const manifestOf = (index: number): BlobHash => blobHashOf(Buffer.from(`content ${index}`));
const north: NodeId = testNode('north').nodeId;
const south: NodeId = testNode('south').nodeId;

/** A node's inventory, and what can happen to the node. */
class Holder {
  readonly #clock: VirtualClock;
  kv: MemoryKv;
  readonly #random = new SeededRandom('holder');
  inventory: ContentInventory;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
    this.kv = new MemoryKv(clock, { flushDelayMs: 1 });
    this.inventory = this.#open();
  }

  #open(): ContentInventory {
    return new ContentInventory({
      kv: this.kv,
      clock: this.#clock,
      log: new MemoryLog(),
      random: this.#random,
      heldAfter: () => [],
    });
  }

  async hold(...indices: number[]): Promise<void> {
    await this.#clock.run(
      this.kv.transact((transaction) => {
        for (const index of indices) this.inventory.completed(transaction, manifestOf(index), index);
      }),
      patienceMs,
    );
  }

  async lose(...indices: number[]): Promise<void> {
    await this.#clock.run(
      this.kv.transact((transaction) => {
        for (const index of indices) this.inventory.gone(transaction, manifestOf(index));
      }),
      patienceMs,
    );
  }

  wipe(): void {
    this.#restart(new MemoryKv(this.#clock, { flushDelayMs: 1 }));
  }

  rollBack(snapshot: MemoryKvSnapshot): void {
    this.#restart(this.kv.restore(snapshot, { unnoticed: true }));
  }

  #restart(kv: MemoryKv): void {
    this.kv = kv;
    this.inventory = this.#open();
  }
}

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at);

function setUp() {
  const clock = new VirtualClock();
  let kv = new MemoryKv(clock, { flushDelayMs: 1 });
  let index = new ReplicaIndex({ kv, clock, log: new MemoryLog() });
  const run = <T>(promise: Promise<T>): Promise<T> => clock.run(promise, patienceMs);
  return {
    clock,
    run,
    index: () => index,
    reopen: () => {
      kv = kv.reopen();
      index = new ReplicaIndex({ kv, clock, log: new MemoryLog() });
    },
    contents: async (node: NodeId): Promise<number> => {
      let count = 0;
      await run(
        (async () => {
          for await (const _ of index.contentsOf(node)) count += 1;
        })(),
      );
      return count;
    },
  };
}

test('follows what a node holds, change by change, over its own restarts too', async () => {
  const { clock, run, index, reopen, contents } = setUp();
  const holder = new Holder(clock);
  await holder.hold(...numbers(1, 2_001));
  expect(await run(index().follow(north, holder.inventory))).toBe(2_000);
  expect(index().accounts()).toEqual([{ nodeId: north, contents: 2_000, bytes: 2_001_000 }]);
  await holder.lose(1, 2);
  await holder.hold(3_000);
  reopen();
  expect(await run(index().follow(north, holder.inventory))).toBe(3);
  expect(await run(index().follow(north, holder.inventory))).toBe(0);
  expect(index().accounts()).toEqual([{ nodeId: north, contents: 1_999, bytes: 2_001_000 - 3 + 3_000 }]);
  expect(await contents(north)).toBe(1_999);
  expect(index().holders(manifestOf(3_000))).toEqual([
    { nodeId: north, sizeBytes: 3_000, provedMs: undefined, isSuspect: false },
  ]);
  expect(index().holds(north, manifestOf(1))).toBe(false);
});

test('misses nothing of a node whose disk was put back, though it goes on with the same numbers', async () => {
  const { clock, run, index, contents } = setUp();
  const holder = new Holder(clock);
  await holder.hold(...numbers(0, 10));
  const snapshot = holder.kv.snapshot();
  await holder.hold(...numbers(10, 20));
  await run(index().follow(north, holder.inventory));
  holder.rollBack(snapshot);
  await holder.hold(...numbers(100, 115));
  await run(index().follow(north, holder.inventory));
  expect(await contents(north)).toBe(25);
  for (const here of [9, 100, 114]) expect(index().holds(north, manifestOf(here))).toBe(true);
  expect(index().holds(north, manifestOf(10))).toBe(false);
});

test('starts over with a node that was wiped, and keeps to what it says now', async () => {
  const { clock, run, index, contents } = setUp();
  const holder = new Holder(clock);
  await holder.hold(...numbers(0, 500));
  await run(index().follow(north, holder.inventory));
  holder.wipe();
  await holder.hold(...numbers(490, 510));
  await run(index().follow(north, holder.inventory));
  expect(await contents(north)).toBe(20);
  expect(index().holds(north, manifestOf(0))).toBe(false);
  expect(index().holds(north, manifestOf(505))).toBe(true);
});

test('finds by comparing what a feed did not say', async () => {
  const { clock, run, index, contents } = setUp();
  const holder = new Holder(clock);
  await holder.hold(...numbers(0, 300));
  await run(index().follow(north, holder.inventory));
  // The feed goes on, and says nothing of what happened.
  const { inventory } = holder;
  await holder.lose(5);
  await holder.hold(400);
  const silent: FollowedSet = {
    feed: async (feed, after) => ({ ...(await inventory.feed(feed, after)), entries: [] }),
    ranges: (questions) => inventory.ranges(questions),
  };
  expect(await run(index().follow(north, silent))).toBe(0);
  expect(await run(index().follow(north, silent, true))).toBe(2);
  expect(await contents(north)).toBe(300);
});

test('keeps the nodes apart, and forgets those that are members no longer', async () => {
  const { clock, run, index, contents } = setUp();
  const [one, two] = [new Holder(clock), new Holder(clock)];
  await one.hold(...numbers(0, 700));
  await two.hold(...numbers(600, 900));
  await run(index().follow(north, one.inventory));
  await run(index().follow(south, two.inventory));
  expect(
    index()
      .holders(manifestOf(650))
      .map(({ nodeId }) => nodeId)
      .sort(),
  ).toEqual([north, south].sort());
  await run(index().keepOnly(new Set([south])));
  expect(
    index()
      .accounts()
      .map(({ nodeId }) => nodeId),
  ).toEqual([south]);
  expect(
    index()
      .holders(manifestOf(650))
      .map(({ nodeId }) => nodeId),
  ).toEqual([south]);
  expect(index().holders(manifestOf(3))).toEqual([]);
  expect(await contents(south)).toBe(300);
  expect(await contents(north)).toBe(0);
});

test('remembers proofs and suspicion, at once and after a restart, until the node lists the content afresh', async () => {
  const { clock, run, index, reopen } = setUp();
  const holder = new Holder(clock);
  await holder.hold(1, 2, 3);
  await run(index().follow(north, holder.inventory));
  index().note(north, manifestOf(1), 'proved');
  index().note(north, manifestOf(2), 'wrong');
  index().note(north, manifestOf(3), 'lacking');
  index().note(south, manifestOf(1), 'proved');
  const check = (): void => {
    const [proved] = index().holders(manifestOf(1));
    expect(proved?.isSuspect).toBe(false);
    expect(Math.abs((proved?.provedMs ?? 0) - clock.nowMs())).toBeLessThan(10_000);
    for (const suspect of [2, 3]) {
      expect(index().holders(manifestOf(suspect))[0]).toMatchObject({ isSuspect: true, provedMs: undefined });
      expect(index().holds(north, manifestOf(suspect))).toBe(false);
    }
    expect(index().holders(manifestOf(1))).toHaveLength(1);
  };
  check();
  await clock.advance(5_000);
  reopen();
  check();
  await holder.lose(2);
  await holder.hold(2);
  await run(index().follow(north, holder.inventory));
  expect(index().holders(manifestOf(2))[0]).toMatchObject({ isSuspect: false });
  index().note(north, manifestOf(3), 'proved');
  expect(index().holds(north, manifestOf(3))).toBe(true);
});

test('counts a proof that was had before the node listed the copy, once and not for long', async () => {
  const { clock, run, index, reopen } = setUp();
  const holder = new Holder(clock);
  const proved = (at: number): boolean => index().holders(manifestOf(at))[0]?.provedMs !== undefined;
  const listed = (): boolean[] => numbers(1, 5).map(proved);
  for (const at of [1, 2, 3]) index().note(north, manifestOf(at), 'proved');
  await clock.advance(5_000);
  index().note(north, manifestOf(2), 'lacking');
  await clock.advance(5_000);
  expect(index().holders(manifestOf(1))).toEqual([]);
  await holder.hold(1, 2, 4);
  await run(index().follow(north, holder.inventory));
  expect(listed()).toEqual([true, false, false, false]);
  reopen();
  expect(proved(1)).toBe(true);

  index().note(north, manifestOf(3), 'proved');
  await clock.advance(120_000);
  await holder.hold(3);
  await holder.lose(1);
  await run(index().follow(north, holder.inventory));
  await holder.hold(1);
  await run(index().follow(north, holder.inventory));
  expect(listed()).toEqual([false, false, false, false]);
});

test.each([
  {
    what: 'that was dropped before its proof was written, and listed afresh',
    before: [1],
    meanwhile: (holder: Holder) => holder.lose(1),
  },
  {
    what: 'of a node that came back with another disk',
    before: [2],
    meanwhile: async (holder: Holder) => holder.wipe(),
  },
])('does not call a copy proved $what', async ({ before, meanwhile }) => {
  const { clock, run, index } = setUp();
  const holder = new Holder(clock);
  await holder.hold(...before);
  await run(index().follow(north, holder.inventory));
  index().note(north, manifestOf(1), 'proved');
  await meanwhile(holder);
  await run(index().follow(north, holder.inventory));
  await clock.advance(5_000);
  await run(index().follow(north, holder.inventory));
  await holder.hold(1);
  await run(index().follow(north, holder.inventory));
  expect(index().holders(manifestOf(1))).toEqual([
    { nodeId: north, sizeBytes: 1, provedMs: undefined, isSuspect: false },
  ]);
});

test('does not call a copy proved of a node that was forgotten since', async () => {
  const { clock, run, index } = setUp();
  const holder = new Holder(clock);
  await holder.hold(2);
  await run(index().follow(north, holder.inventory));
  index().note(north, manifestOf(1), 'proved');
  await clock.advance(5_000);
  index().note(north, manifestOf(3), 'proved');
  await run(index().keepOnly(new Set([south])));
  await clock.advance(5_000);
  await holder.hold(1, 3);
  await run(index().follow(north, holder.inventory));
  for (const at of [1, 3]) expect(index().holders(manifestOf(at))[0]).toMatchObject({ provedMs: undefined });
});

test('refuses an inventory that is none, keeps what it had, and does not follow it for ever', async () => {
  const { clock, run, index, contents } = setUp();
  const holder = new Holder(clock);
  await holder.hold(...numbers(0, 50));
  await run(index().follow(north, holder.inventory));
  const page = (changes: Partial<FeedPage>): FollowedSet => ({
    feed: async () => ({ feed: 'life-1', last: 60, through: 60, entries: [], ...changes }),
    ranges: (questions) => holder.inventory.ranges(questions),
  });
  const entry = (value: Uint8Array): ItemChange[] => [{ key: rawHash(manifestOf(7)), value }];
  const hostile: FollowedSet[] = [
    page({ entries: entry(new Uint8Array(32).fill(1)) }),
    page({ entries: entry(valueOfSize(1)), through: 10 }),
    page({ entries: entry(valueOfSize(1)), through: 70 }),
    page({ feed: 'another', entries: entry(valueOfSize(1)) }),
    // Always more to come, and never further.
    page({ entries: entry(valueOfSize(7)), through: 50 }),
    {
      feed: async () => ({ feed: 'new', last: 1, through: 1, entries: null }),
      ranges: async (questions) => questions.map(() => ({ kind: 'later' })),
    },
    {
      feed: async () => ({ feed: 'new', last: 1, through: 1, entries: null }),
      ranges: async () => [],
    },
  ];
  for (const set of hostile)
    await expect(run(index().follow(north, set))).rejects.toMatchObject({ code: 'protocol_violation' });
  expect(await contents(north)).toBe(50);
});

test('is made of what is held already in a directory that had none', async () => {
  const clock = new VirtualClock();
  const kv = new MemoryKv(clock, { flushDelayMs: 1 });
  const jobs = new PullJobs({ kv, log: new MemoryLog() });
  await clock.run(
    kv.transact((transaction) => {
      for (const index of numbers(0, 1_200)) jobs.markComplete(transaction, manifestOf(index), index);
    }),
    patienceMs,
  );
  const open = () =>
    new ContentInventory({
      kv,
      clock,
      log: new MemoryLog(),
      random: new SeededRandom('inventory'),
      heldAfter: (reader, after, limit) => heldAfter(jobs, reader, after, limit),
    });
  const inventory = open();
  await clock.run(inventory.start(), patienceMs);
  const index = new ReplicaIndex({ kv: new MemoryKv(clock), clock, log: new MemoryLog() });
  expect(await clock.run(index.follow(north, inventory), patienceMs)).toBe(1_200);
  const { last } = await inventory.feed(null, 0);
  await clock.run(open().start(), patienceMs);
  expect((await open().feed(null, 0)).last).toBe(last);
});
