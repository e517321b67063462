import { beforeEach, describe, expect, it } from 'vitest';
import { GroupCommit } from '../../../src/adapters/lmdb/group-commit.ts';
import { laidOver, PendingRows } from '../../../src/adapters/lmdb/pending-rows.ts';
import type { KvReader, KvTransaction } from '../../../src/ports/kv.ts';

const key = (text: string): Uint8Array => new TextEncoder().encode(text);
const everything = { start: key(' '), end: key('~') };
const keysOf = (reader: Pick<KvReader, 'range'>): string[] =>
  [...reader.range(everything)].map(([each]) => new TextDecoder().decode(each));

/** What was written so far, and how many rows each batch had. */
let committed: PendingRows;
let batches: number[];
let failures: number;
/** Resolves when the first batch is on its way. */
let begun: PromiseWithResolvers<void>;
let commits: GroupCommit;

beforeEach(() => {
  [committed, batches, failures] = [new PendingRows(), [], 0];
  begun = Promise.withResolvers();
  const nothing = { range: () => [] };
  commits = new GroupCommit({
    base: {
      lookup: (text) => committed.get(text) ?? undefined,
      range: (range) => laidOver(nothing, committed.rowsIn(range), range),
    },
    write: async (rows) => {
      batches.push(rows.size);
      begun.resolve();
      await new Promise((resolve) => setImmediate(resolve));
      if (failures-- > 0) throw new Error('the disk fails');
      for (const [text, value] of rows) committed.set(text, value);
    },
  });
});

const put = (name: string, length = 10): Promise<void> =>
  commits.transact((transaction) => transaction.put(key(name), new Uint8Array(length).fill(7)));

describe('commits in groups', () => {
  it('share one write among the transactions that wait for it', async () => {
    const first = put('first');
    // The first batch is on its way when the others ask.
    await begun.promise;
    await Promise.all([first, ...Array.from({ length: 100 }, (_, index) => put(`key ${index}`))]);
    expect(batches).toEqual([1, 100]);
  });

  it('share the write of what they follow from in the same turn', async () => {
    const ran = Promise.withResolvers<void>();
    const record = commits.transact((transaction) => {
      transaction.put(key('record'), key('record'));
      ran.resolve();
    });
    await ran.promise;
    for (let step = 0; step < 20; step += 1) await null;
    const seen = commits.transact((transaction) => {
      transaction.put(key('vote'), key('vote'));
      return keysOf(transaction);
    });
    expect(await seen).toEqual(['record', 'vote']);
    await record;
    expect(batches).toEqual([2]);
  });

  it('hold at most so many transactions', async () => {
    await Promise.all(Array.from({ length: 2_500 }, (_, index) => put(`key ${index}`)));
    expect(batches).toEqual([8, 1_000, 1_000, 492]);
  });

  it('are closed once they hold many bytes', async () => {
    await Promise.all(Array.from({ length: 40 }, (_, index) => put(`key ${index}`, 1_000_000)));
    expect(batches).toEqual([8, 17, 15]);
  });

  it('write a key once that several of their transactions write', async () => {
    await Promise.all(Array.from({ length: 100 }, () => put('the same')));
    expect(batches).toEqual([1, 1]);
  });

  it('have no rows of transactions that only read, or that throw', async () => {
    await commits.transact((transaction) => transaction.get(key('a')));
    const thrown = commits.transact((transaction) => {
      transaction.put(key('a'), key('a'));
      throw new Error('no');
    });
    await expect(thrown).rejects.toThrow('no');
    await commits.idle();
    expect(batches).toEqual([0, 0]);
  });

  it('run while the one before is being written, on top of what it writes', async () => {
    const first = put('first');
    await begun.promise;
    const seen = commits.transact((transaction) => transaction.get(key('first'))?.length);
    const listed = commits.transact((transaction) => keysOf(transaction));
    const second = commits.transact((transaction) => transaction.delete(key('first')));
    await Promise.all([first, second]);
    expect(await seen).toBe(10);
    expect(await listed).toEqual(['first']);
    expect(batches).toEqual([1, 1]);
    expect(await commits.transact((transaction) => keysOf(transaction))).toEqual([]);
  });

  it('fail with the one before that they ran on top of, and the next begins anew', async () => {
    failures = 1;
    const first = put('first');
    await begun.promise;
    const copy = (transaction: KvTransaction) =>
      transaction.put(key('copy'), transaction.get(key('first')) as Uint8Array);
    const onTop = commits.transact(copy);
    await expect(first).rejects.toThrow('the disk fails');
    await expect(onTop).rejects.toThrow('the disk fails');
    await put('next');
    expect(await commits.transact((transaction) => keysOf(transaction))).toEqual(['next']);
  });

  it('do not queue without bound', async () => {
    const asked = Array.from({ length: 100_001 }, () => commits.transact(() => 1));
    await expect(asked.pop()).rejects.toMatchObject({ code: 'io_error', message: expect.stringContaining('100000') });
    await Promise.all(asked);
    await commits.idle();
  });
});
