import { afterEach, describe, expect, it } from 'vitest';
import { type Kv, type KvRange, type KvReader, type KvTransaction, kvKeyBytesMax } from '../../src/ports/kv.ts';

/** What the suite asks of an adapter: an empty store, and ways to end it. */
export interface KvHarness {
  readonly kv: Kv;
  /** The store as the next start finds it. The old one is not used again. */
  restart(): Promise<Kv>;
  close(): Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined): string | undefined => value && new TextDecoder().decode(value);
const everything: KvRange = { start: Uint8Array.of(0), end: new Uint8Array(8).fill(0xff) };

const put = (transaction: KvTransaction, entries: Readonly<Record<string, string>>): void => {
  for (const [key, value] of Object.entries(entries)) transaction.put(bytes(key), bytes(value));
};

const listed = (reader: KvReader, range: KvRange = everything): string[] =>
  [...reader.range(range)].map(([key, value]) => `${text(key)}=${text(value)}`);

/** The promises of `src/ports/kv.ts`, for every adapter. */
export function kvContract(name: string, create: () => Promise<KvHarness>): void {
  let harness: KvHarness | undefined;

  const open = async (entries: Readonly<Record<string, string>> = {}): Promise<KvHarness> => {
    harness = await create();
    if (Object.keys(entries).length > 0) await harness.kv.transact((transaction) => put(transaction, entries));
    return harness;
  };

  describe(`Kv: ${name}`, () => {
    afterEach(async () => {
      await harness?.close();
      harness = undefined;
    });

    describe('reading', () => readingClaims(open));
    describe('ranges', () => rangeClaims(open));
    describe('transactions', () => transactionClaims(open));
    describe('failing transactions', () => failureClaims(open));
    describe('ending', () => endingClaims(open));
  });
}

type Open = (entries?: Readonly<Record<string, string>>) => Promise<KvHarness>;

function readingClaims(open: Open): void {
  it('knows nothing of a key that was never put', async () => {
    const { kv } = await open({ b: '1' });
    expect(kv.get(bytes('a'))).toBeUndefined();
    expect(kv.get(bytes('bb'))).toBeUndefined();
  });

  it.each([0, 1, 63, 300, 4_096, 40_000, 3_000_000])('gives back a value of %i bytes', async (length) => {
    const { kv } = await open();
    const value = Uint8Array.from({ length }, (_, index) => (index * 7 + (index >>> 9)) & 0xff);
    await kv.transact((transaction) => transaction.put(bytes('key'), value));
    const read = kv.get(bytes('key'));
    expect(read?.constructor).toBe(Uint8Array);
    expect(Buffer.compare(read ?? bytes('absent'), value)).toBe(0);
    const [entry] = [...kv.range(everything)];
    expect(entry?.[1].constructor).toBe(Uint8Array);
    expect(Buffer.compare(entry?.[1] ?? bytes('absent'), value)).toBe(0);
  });

  it('takes keys of one byte and of the greatest length, and no others', async () => {
    const { kv } = await open();
    const longest = new Uint8Array(kvKeyBytesMax).fill(0xab);
    await kv.transact((transaction) => {
      transaction.put(Uint8Array.of(0), bytes('least'));
      transaction.put(longest, bytes('longest'));
    });
    expect(text(kv.get(Uint8Array.of(0)))).toBe('least');
    expect(text(kv.get(longest))).toBe('longest');
    expect([...kv.range(everything)].map(([key]) => key.length)).toEqual([1, kvKeyBytesMax]);
    for (const key of [new Uint8Array(0), new Uint8Array(kvKeyBytesMax + 1)]) {
      expect(() => kv.get(key)).toThrow(/1 to 1978/);
      await expect(kv.transact((transaction) => transaction.put(key, bytes('x')))).rejects.toThrow(/1 to 1978/);
      await expect(kv.transact((transaction) => transaction.delete(key))).rejects.toThrow(/1 to 1978/);
    }
  });

  it('hands out bytes that later reads and writes leave alone', async () => {
    const { kv } = await open({ a: 'aaaa', b: 'bbbb' });
    const [a, b] = [kv.get(bytes('a')), kv.get(bytes('b'))];
    const entries = [...kv.range(everything)];
    await kv.transact((transaction) => put(transaction, { a: 'AAAA', b: 'BBBB' }));
    for (let round = 0; round < 10; round++) kv.get(bytes('b'));
    expect([text(a), text(b)]).toEqual(['aaaa', 'bbbb']);
    expect(entries.map(([key, value]) => `${text(key)}=${text(value)}`)).toEqual(['a=aaaa', 'b=bbbb']);
  });

  it('keeps what was put although the caller uses its buffers again', async () => {
    const { kv } = await open();
    const key = bytes('key');
    const value = bytes('value');
    const written = kv.transact((transaction) => {
      transaction.put(key, value);
      key.fill(0x78);
      value.fill(0x78);
    });
    await written;
    expect(listed(kv)).toEqual(['key=value']);
  });

  it('takes views into a larger buffer for the bytes they show', async () => {
    const { kv } = await open();
    const pool = bytes('..key..value..');
    await kv.transact((transaction) => transaction.put(pool.subarray(2, 5), pool.subarray(7, 12)));
    expect(listed(kv)).toEqual(['key=value']);
    expect(text(kv.get(pool.subarray(2, 5)))).toBe('value');
  });
}

function rangeClaims(open: Open): void {
  const letters = { a: '1', b: '2', ba: '3', c: '4', d: '5' };
  const range = (start: string, end: string, rest: Omit<KvRange, 'start' | 'end'> = {}): KvRange => ({
    start: bytes(start),
    end: bytes(end),
    ...rest,
  });

  it.each([
    ['from the start to before the end', range('b', 'd'), ['b=2', 'ba=3', 'c=4']],
    ['between keys that are not there', range('aa', 'bb'), ['b=2', 'ba=3']],
    ['of everything', range('\0', 'z'), ['a=1', 'b=2', 'ba=3', 'c=4', 'd=5']],
    ['from an empty start', range('', 'b'), ['a=1']],
    ['that is empty', range('c', 'c'), []],
    ['whose end lies before its start', range('c', 'a'), []],
    ['beyond the last key', range('e', 'z'), []],
    ['before the first key', range('\0', 'a'), []],
    ['with a limit', range('a', 'z', { limit: 2 }), ['a=1', 'b=2']],
    ['with a limit of zero', range('a', 'z', { limit: 0 }), []],
    ['with a limit it does not reach', range('c', 'z', { limit: 9 }), ['c=4', 'd=5']],
    ['in reverse', range('b', 'd', { reverse: true }), ['c=4', 'ba=3', 'b=2']],
    ['in reverse from beyond the last key', range('c', 'zz', { reverse: true }), ['d=5', 'c=4']],
    ['in reverse between keys that are not there', range('aa', 'bb', { reverse: true }), ['ba=3', 'b=2']],
    ['in reverse with a limit', range('a', 'z', { reverse: true, limit: 2 }), ['d=5', 'c=4']],
    ['in reverse before the first key', range('\0', 'a', { reverse: true }), []],
    ['in reverse that is empty', range('d', 'b', { reverse: true }), []],
  ])('lists a range %s', async (_, wanted, entries) => {
    const { kv } = await open(letters);
    expect(listed(kv, wanted)).toEqual(entries);
    // The same within a transaction, be the entries stored already or written by it.
    expect(await kv.transact((transaction) => listed(transaction, wanted))).toEqual(entries);
    await kv.transact((transaction) => {
      for (const key of Object.keys(letters)) transaction.delete(bytes(key));
    });
    const written = await kv.transact((transaction) => {
      put(transaction, letters);
      return listed(transaction, wanted);
    });
    expect(written).toEqual(entries);
  });

  it('orders keys as unsigned bytes, a prefix before what goes on', async () => {
    const { kv } = await open();
    const keys = [[0], [0, 0], [1], [0x7f], [0x7f, 0xff], [0x80], [0xc3, 0xa9], [0xff], [0xff, 0x00], [0xff, 0xff]];
    await kv.transact((transaction) => {
      for (const key of keys.toReversed()) transaction.put(Uint8Array.from(key), bytes('x'));
    });
    expect([...kv.range(everything)].map(([key]) => [...key])).toEqual(keys);
    expect([...kv.range({ ...everything, reverse: true })].map(([key]) => [...key])).toEqual(keys.toReversed());
  });

  it('shows in an iteration only what was there when it began', async () => {
    const { kv } = await open({ a: '1', b: '2', c: '3' });
    await kv.transact((transaction) => {
      const seen: string[] = [];
      for (const [key] of transaction.range(everything)) {
        seen.push(text(key) ?? '');
        transaction.delete(key);
        put(transaction, { [`${text(key)}+`]: 'later', z: 'later' });
      }
      expect(seen).toEqual(['a', 'b', 'c']);
      expect(listed(transaction)).toEqual(['a+=later', 'b+=later', 'c+=later', 'z=later']);
    });
    expect(listed(kv)).toEqual(['a+=later', 'b+=later', 'c+=later', 'z=later']);
  });

  it('can be left early, any number of times', async () => {
    const { kv } = await open(letters);
    for (let round = 0; round < 1_000; round++) {
      for (const [key] of kv.range(everything)) {
        expect(text(key)).toBe('a');
        break;
      }
    }
    await kv.transact((transaction) => transaction.delete(bytes('a')));
    expect(listed(kv)).toEqual(['b=2', 'ba=3', 'c=4', 'd=5']);
  });

  it('may be nested in another', async () => {
    const { kv } = await open({ a1: '1', a2: '2', b1: '3' });
    const pairs: string[] = [];
    for (const [outer] of kv.range(everything)) {
      const prefix = outer.slice(0, 1);
      const inner = [...kv.range({ start: prefix, end: Uint8Array.of((prefix[0] ?? 0) + 1) })];
      pairs.push(`${text(outer)}:${inner.length}`);
    }
    expect(pairs).toEqual(['a1:2', 'a2:2', 'b1:1']);
  });
}

function transactionClaims(open: Open): void {
  it('resolves with what the change returned', async () => {
    const { kv } = await open();
    expect(await kv.transact(() => 42)).toBe(42);
    expect(await kv.transact((transaction) => transaction.put(bytes('a'), bytes('1')))).toBeUndefined();
  });

  it('runs the change later, and only once', async () => {
    const { kv } = await open();
    let runs = 0;
    const written = kv.transact(() => {
      runs++;
    });
    expect(runs).toBe(0);
    await written;
    expect(runs).toBe(1);
  });

  it('lets a transaction read its own writes', async () => {
    const { kv } = await open({ a: 'old', b: 'old', c: 'old' });
    await kv.transact((transaction) => {
      put(transaction, { a: 'new', d: 'new' });
      transaction.delete(bytes('b'));
      expect(text(transaction.get(bytes('a')))).toBe('new');
      expect(transaction.get(bytes('b'))).toBeUndefined();
      expect(text(transaction.get(bytes('c')))).toBe('old');
      expect(listed(transaction)).toEqual(['a=new', 'c=old', 'd=new']);
      transaction.delete(bytes('d'));
      put(transaction, { b: 'again' });
      expect(listed(transaction)).toEqual(['a=new', 'b=again', 'c=old']);
    });
    expect(listed(kv)).toEqual(['a=new', 'b=again', 'c=old']);
  });

  it('deletes a key that is not there without complaint', async () => {
    const { kv } = await open({ a: '1' });
    await kv.transact((transaction) => transaction.delete(bytes('b')));
    await kv.transact((transaction) => {
      put(transaction, { c: '1' });
      transaction.delete(bytes('c'));
      transaction.delete(bytes('c'));
    });
    expect(listed(kv)).toEqual(['a=1']);
  });

  it('runs transactions one at a time, in the order they were asked for', async () => {
    const { kv } = await open();
    const increment = (): Promise<number> =>
      kv.transact((transaction) => {
        const next = Number(text(transaction.get(bytes('counter'))) ?? '0') + 1;
        put(transaction, { counter: String(next) });
        return next;
      });
    const counted = await Promise.all(Array.from({ length: 500 }, increment));
    expect(counted).toEqual(Array.from({ length: 500 }, (_, index) => index + 1));
    expect(text(kv.get(bytes('counter')))).toBe('500');
  });

  it('shows what was committed to every read after it', async () => {
    const { kv } = await open();
    for (let round = 0; round < 50; round++) {
      await kv.transact((transaction) => put(transaction, { round: String(round) }));
      expect(text(kv.get(bytes('round')))).toBe(String(round));
      expect(listed(kv)).toEqual([`round=${round}`]);
    }
  });

  it('shows nothing of a transaction to others while it runs', async () => {
    const { kv } = await open({ a: 'old' });
    await kv.transact((transaction) => {
      put(transaction, { a: 'new', b: 'new' });
      expect(listed(kv)).toEqual(['a=old']);
    });
    expect(listed(kv)).toEqual(['a=new', 'b=new']);
  });

  it('holds tens of thousands of keys in order', async () => {
    const { kv } = await open();
    const key = (index: number): Uint8Array => bytes(String((index * 7_919) % 20_000).padStart(5, '0'));
    for (let start = 0; start < 20_000; start += 5_000) {
      await kv.transact((transaction) => {
        for (let index = start; index < start + 5_000; index++) transaction.put(key(index), bytes(String(index)));
      });
    }
    const keys = [...kv.range(everything)].map(([stored]) => text(stored));
    expect(keys).toEqual(Array.from({ length: 20_000 }, (_, index) => String(index).padStart(5, '0')));
    expect(text(kv.get(key(12_345)))).toBe('12345');
  });
}

function failureClaims(open: Open): void {
  const boom = new Error('the change threw');

  it('writes nothing of a change that throws, and rejects with what it threw', async () => {
    const { kv } = await open({ a: 'old', b: 'old' });
    const failed = kv.transact((transaction) => {
      put(transaction, { a: 'new', c: 'new' });
      transaction.delete(bytes('b'));
      throw boom;
    });
    await expect(failed).rejects.toBe(boom);
    expect(listed(kv)).toEqual(['a=old', 'b=old']);
  });

  it('lets the transactions beside one that throws through unharmed', async () => {
    const { kv } = await open({ shared: 'start' });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 60 }, (_, index) =>
        kv.transact((transaction) => {
          const before = text(transaction.get(bytes('shared')));
          const seen = listed(transaction).length;
          put(transaction, { shared: `by ${index}`, [`own ${String(index).padStart(2, '0')}`]: 'x' });
          transaction.delete(bytes(`own ${String(index - 2).padStart(2, '0')}`));
          if (index % 3 === 0) throw boom;
          return { before, seen };
        }),
      ),
    );
    for (const [index, outcome] of outcomes.entries()) {
      if (index % 3 === 0) expect(outcome).toEqual({ status: 'rejected', reason: boom });
      else expect(outcome.status).toBe('fulfilled');
    }
    // A transaction reads what the last one that stood wrote, never what a failed one did.
    expect(outcomes[31]).toMatchObject({ value: { before: 'by 29' } });
    // The deletions of those that threw (of every key 3n + 1) did not happen either.
    const left = Array.from({ length: 60 }, (_, index) => index).filter((index) => index % 3 === 1 || index === 59);
    expect(listed(kv)).toEqual([...left.map((index) => `own ${String(index).padStart(2, '0')}=x`), 'shared=by 59']);
  });

  it('works on after a change that throws', async () => {
    const { kv } = await open();
    await expect(
      kv.transact(() => {
        throw boom;
      }),
    ).rejects.toBe(boom);
    await kv.transact((transaction) => put(transaction, { a: '1' }));
    expect(listed(kv)).toEqual(['a=1']);
  });

  it('refuses a change that is not synchronous', async () => {
    const { kv } = await open();
    const late = kv.transact(async (transaction) => {
      put(transaction, { a: '1' });
    });
    await expect(late).rejects.toThrow(/synchronous/);
    expect(listed(kv)).toEqual([]);
  });

  it('refuses the use of a transaction that has ended', async () => {
    const { kv } = await open();
    let kept: KvTransaction | undefined;
    await kv.transact((transaction) => {
      kept = transaction;
    });
    expect(() => kept?.put(bytes('a'), bytes('1'))).toThrow(/after it ended/);
    expect(() => kept?.delete(bytes('a'))).toThrow(/after it ended/);
    expect(() => kept?.get(bytes('a'))).toThrow(/after it ended/);
    expect(() => kept?.range(everything)).toThrow(/after it ended/);
    await kv.flush();
    expect(listed(kv)).toEqual([]);
  });
}

function endingClaims(open: Open): void {
  it('finds everything again after a restart, under the same identity', async () => {
    const { kv, restart } = await open({ a: '1', b: '2' });
    await kv.transact((transaction) => transaction.delete(bytes('a')));
    const identity = kv.identity();
    expect(identity).not.toBe('');
    const restarted = await restart();
    expect(listed(restarted)).toEqual(['b=2']);
    expect(restarted.identity()).toBe(identity);
    await restarted.transact((transaction) => put(transaction, { c: '3' }));
    expect(listed(restarted)).toEqual(['b=2', 'c=3']);
  });

  it('flushes what was asked for before', async () => {
    const { kv } = await open();
    const written = kv.transact((transaction) => put(transaction, { a: '1' }));
    await kv.flush();
    expect(listed(kv)).toEqual(['a=1']);
    await written;
    await kv.flush();
  });

  it('completes what was asked for before it was closed', async () => {
    const { kv, restart } = await open();
    const written = Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        kv.transact((transaction) => put(transaction, { [`key ${String(index).padStart(2, '0')}`]: 'x' })),
      ),
    );
    await kv.close();
    await written;
    expect(listed(await restart())).toHaveLength(50);
  });

  it('answers nothing once closed, and closes once', async () => {
    const { kv } = await open({ a: '1' });
    await Promise.all([kv.close(), kv.close()]);
    await kv.close();
    expect(() => kv.get(bytes('a'))).toThrow(expect.objectContaining({ code: 'shutting_down' }));
    expect(() => [...kv.range(everything)]).toThrow(expect.objectContaining({ code: 'shutting_down' }));
    await expect(kv.transact(() => 1)).rejects.toMatchObject({ code: 'shutting_down' });
    await kv.flush();
  });
}
