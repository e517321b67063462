import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import type { KvReader } from '../../../src/ports/kv.ts';

const flushDelayMs = 5;
const key = (text: string): Uint8Array => new TextEncoder().encode(text);
const random = (seed = 'memory kv'): SeededRandom => new SeededRandom(seed);

const keysOf = (kv: KvReader): string =>
  [...kv.range({ start: key(' '), end: key('~') })].map(([each]) => new TextDecoder().decode(each)).join('');

const slowStore = (): { clock: VirtualClock; kv: MemoryKv; put: (name: string) => Promise<void> } => {
  const clock = new VirtualClock();
  const kv = new MemoryKv(clock, { flushDelayMs });
  return { clock, kv, put: (name) => kv.transact((transaction) => transaction.put(key(name), key(name))) };
};

const outcomeOf = (call: Promise<unknown>): { state: string } => {
  const outcome = { state: 'pending' };
  call.then(
    () => {
      outcome.state = 'resolved';
    },
    (error) => {
      outcome.state = error.code ?? 'rejected';
    },
  );
  return outcome;
};

describe('the memory store’s disk', () => {
  it('shows a transaction at once and acknowledges it after its flush', async () => {
    const { clock, kv, put } = slowStore();
    const written = outcomeOf(put('a'));
    await clock.advance(flushDelayMs - 1);
    expect(keysOf(kv)).toBe('a');
    expect(written.state).toBe('pending');
    await clock.advance(1);
    expect(written.state).toBe('resolved');
  });

  it('acknowledges a read only when what it saw cannot be lost any more', async () => {
    const { clock, kv, put } = slowStore();
    void put('a');
    const read = outcomeOf(kv.transact((transaction) => keysOf(transaction)));
    const flushed = outcomeOf(kv.flush());
    await clock.advance(flushDelayMs - 1);
    expect([read.state, flushed.state]).toEqual(['pending', 'pending']);
    await clock.advance(1);
    expect([read.state, flushed.state]).toEqual(['resolved', 'resolved']);
  });

  it('needs no time when it has no delay', async () => {
    const clock = new VirtualClock();
    const kv = new MemoryKv(clock);
    await kv.transact((transaction) => transaction.put(key('a'), key('a')));
    await kv.flush();
    expect(clock.pendingTimers).toBe(0);
    expect(keysOf(kv.crash(random()))).toBe('a');
  });

  it('loses at a crash all, some or none of the unflushed transactions, and never one before a later one', async () => {
    const found = new Map<string, number>();
    for (let seed = 0; seed < 200; seed++) {
      const { clock, kv, put } = slowStore();
      void put('a');
      await clock.advance(flushDelayMs);
      void Promise.all([put('b'), put('c'), put('d')]);
      await clock.advance(1);
      const keys = keysOf(kv.crash(random(`crash ${seed}`)));
      found.set(keys, (found.get(keys) ?? 0) + 1);
    }
    expect([...found.keys()].sort()).toEqual(['a', 'ab', 'abc', 'abcd']);
    for (const times of found.values()) expect(times).toBeGreaterThan(25);
  });

  it('finds the same after a crash with the same seed', async () => {
    const crash = async (): Promise<string> => {
      const { clock, kv, put } = slowStore();
      for (const name of 'abcdefghij') void put(name);
      await clock.advance(1);
      return keysOf(kv.crash(random('same')));
    };
    expect(await crash()).toBe(await crash());
  });

  it('has what survived a crash on disk, so that a second one takes none of it', async () => {
    const { clock, kv, put } = slowStore();
    for (const name of 'abcdef') void put(name);
    await clock.advance(1);
    const restarted = kv.crash(random('first'));
    const survivors = keysOf(restarted);
    expect(keysOf(restarted.crash(random('second')))).toBe(survivors);
  });

  it('leaves a dead handle that touches nothing and settles nothing', async () => {
    const { clock, kv, put } = slowStore();
    const before = outcomeOf(put('a'));
    await clock.advance(1);
    const restarted = kv.reopen();
    const after = [put('b'), kv.flush()].map(outcomeOf);
    await clock.advance(1_000);
    expect([before, ...after].map(({ state }) => state)).toEqual(['pending', 'pending', 'pending']);
    expect(() => kv.get(key('a'))).toThrow(expect.objectContaining({ code: 'io_error' }));
    expect(keysOf(restarted)).toBe('a');
  });

  it('keeps at the end of the process what was committed, flushed or not', async () => {
    const { clock, kv, put } = slowStore();
    for (const name of 'abc') void put(name);
    await clock.advance(1);
    expect(keysOf(kv.reopen())).toBe('abc');
  });
});

describe('the memory store’s backups', () => {
  it('tell whether anything in a range is other than when they were taken, rot and crashes included', async () => {
    const { clock, kv, put } = slowStore();
    await clock.run(put('a'), 1_000);
    const before = kv.snapshot();
    const range = { start: key('a'), end: key('b') };
    expect(kv.isSince(before, range)).toBe(true);
    expect(kv.reopen().isSince(before, range)).toBe(true);
    const rotten = kv.restore(before);
    rotten.rot(key('a'), random());
    expect(rotten.isSince(before, range)).toBe(false);
    const changed = rotten.restore(before);
    await clock.run(
      changed.transact((transaction) => transaction.delete(key('a'))),
      1_000,
    );
    expect(changed.isSince(before, range)).toBe(false);
  });

  it('compare by their entries', async () => {
    const { clock, kv, put } = slowStore();
    await clock.run(put('a'), 100);
    const before = kv.snapshot();
    expect(kv.snapshot()).toEqual(before);
    await clock.run(put('b'), 100);
    expect(kv.snapshot()).not.toEqual(before);
  });

  it('bring an older state back, in a directory that is known for a copy unless nobody could tell', async () => {
    const { clock, kv, put } = slowStore();
    await clock.run(put('a'), 100);
    const backup = kv.snapshot();
    await clock.run(put('b'), 100);
    const copied = kv.restore(backup);
    expect(keysOf(copied)).toBe('a');
    expect(copied.identity()).not.toBe(kv.identity());
    const rolledBack = copied.restore(backup, { unnoticed: true });
    expect(keysOf(rolledBack)).toBe('a');
    expect(rolledBack.identity()).toBe(copied.identity());
  });

  it('are known for what they are, however often a directory and its copies were copied', () => {
    const first = new MemoryKv(new VirtualClock());
    const clone = first.clone();
    const restored = first.restore(first.snapshot());
    const stores = [first, clone, restored, clone.clone(), restored.clone()];
    expect(new Set(stores.map((kv) => kv.identity())).size).toBe(stores.length);
  });

  it('tell two stores apart by name', () => {
    const clock = new VirtualClock();
    const [one, other] = ['n1', 'n2'].map((name) => new MemoryKv(clock, { name }).identity());
    expect(one).not.toBe(other);
  });
});

describe('the memory store’s faults', () => {
  it.each(['disk_full', 'io_error'] as const)('fails so many transactions with %s and then works on', async (code) => {
    const { clock, kv, put } = slowStore();
    await clock.run(put('a'), 100);
    kv.failTransactions(code, 2);
    await expect(put('b')).rejects.toMatchObject({ name: 'MeshError', code });
    expect(
      await clock.run(
        kv.transact((transaction) => keysOf(transaction)),
        100,
      ),
    ).toBe('a');
    await expect(put('c')).rejects.toMatchObject({ code });
    await clock.run(put('d'), 100);
    expect(keysOf(kv)).toBe('ad');
  });

  it('fails until there is room again', async () => {
    const { clock, kv, put } = slowStore();
    kv.failTransactions('disk_full', Number.POSITIVE_INFINITY);
    for (const name of 'abc') await expect(put(name)).rejects.toMatchObject({ code: 'disk_full' });
    kv.clearFault();
    await clock.run(put('d'), 100);
    expect(keysOf(kv)).toBe('d');
  });

  it('fails on after a crash and a restart, and not on another disk', async () => {
    const { kv } = slowStore();
    kv.failTransactions('io_error', 3);
    const writes = (store: MemoryKv) => store.transact((transaction) => transaction.put(key('a'), key('a')));
    const crashed = kv.crash(random());
    await expect(writes(crashed)).rejects.toMatchObject({ code: 'io_error' });
    const reopened = crashed.reopen();
    await expect(writes(reopened)).rejects.toMatchObject({ code: 'io_error' });
    const exchanged = reopened.restore(reopened.snapshot());
    void writes(exchanged);
    await null;
    expect(keysOf(exchanged)).toBe('a');
  });

  it('rots one bit of a value, and leaves it rotten after a crash', async () => {
    const { clock, kv, put } = slowStore();
    const value = (store: KvReader): number[] => [...(store.get(key('abcdefgh')) ?? [])];
    await clock.run(put('abcdefgh'), 100);
    const sound = value(kv);
    expect(kv.rot(key('abcdefgh'), random())).toBe(true);
    const differences = value(kv)
      .map((byte, index) => byte ^ (sound[index] ?? 0))
      .filter((bits) => bits !== 0);
    expect(differences).toHaveLength(1);
    expect(Math.log2(differences[0] ?? 0) % 1).toBe(0);
    const rotten = value(kv);
    expect(value(kv.crash(random()))).toEqual(rotten);
    expect(kv.rot(key('nothing'), random())).toBe(false);
  });

  it('rots a value that is in several of its states once in each, and a backup of it not at all', async () => {
    const { kv, put } = slowStore();
    // A Buffer's own slice shares its memory: the value is in the flushed, the unflushed and the present state.
    const first = kv.transact((transaction) => transaction.put(key('abc'), Buffer.from('value')));
    void first;
    void put('x');
    await null;
    await null;
    const backup = kv.snapshot();
    expect(kv.rot(key('abc'), random())).toBe(true);
    const text = (store: KvReader): string => Buffer.from(store.get(key('abc')) ?? []).toString();
    expect(text(kv)).not.toBe('value');
    const rotten = text(kv);
    const after = kv.reopen();
    expect(text(after)).toBe(rotten);
    after.mend(key('abc'), Buffer.from('value'));
    expect(text(after)).toBe('value');
    expect(text(after.durable())).toBe('value');
    expect(text(after.restore(backup))).toBe('value');
  });
});
