import { describe, expect, it } from 'vitest';
import { blobHashOf } from '../../../crdt/digest.ts';
import { MemoryBlobStore } from '../../../src/adapters/memory/blob-store.ts';
import { VirtualClock } from '../../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../../src/adapters/memory/metrics.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';
import { blobKey } from '../../../src/node/content/content-keys.ts';
import { ContentStore } from '../../../src/node/content/content-store.ts';
import { KvBatcher } from '../../../src/node/content/kv-batcher.ts';

const large = new Uint8Array(20_000).fill(7);
const largeHash = blobHashOf(large);
const small = new Uint8Array(500).fill(8);
const smallHash = blobHashOf(small);

/** A store on disks of which each operation takes so many milliseconds. */
function storeWith(delaysMs: Partial<Record<'get' | 'put' | 'delete' | 'quarantine', number>> = {}) {
  const clock = new VirtualClock();
  const kv = new MemoryKv(clock, { flushDelayMs: 5 });
  const disk = new MemoryBlobStore();
  const wait = (operation: keyof typeof delaysMs): Promise<void> => clock.sleep(delaysMs[operation] ?? 0);
  const blobs = Object.assign(Object.create(disk) as MemoryBlobStore, {
    // What a reader gets is what was there when it began.
    get: async (...[hash, options]: Parameters<MemoryBlobStore['get']>) => {
      const bytes = await disk.get(hash, options);
      await wait('get');
      return bytes;
    },
    put: async (...[hash, bytes]: Parameters<MemoryBlobStore['put']>) => {
      await wait('put');
      await disk.put(hash, bytes);
    },
    delete: async (...[hash]: Parameters<MemoryBlobStore['delete']>) => {
      await wait('delete');
      await disk.delete(hash);
    },
    quarantine: async (...[hash]: Parameters<MemoryBlobStore['quarantine']>) => {
      await wait('quarantine');
      await disk.quarantine(hash);
    },
    sizeOf: (...[hash]: Parameters<MemoryBlobStore['sizeOf']>) => disk.sizeOf(hash),
  });
  const metrics = new MemoryMetrics();
  const store = new ContentStore({ kv, batcher: new KvBatcher(kv), blobs, log: new MemoryLog(), metrics });
  const damaged: string[] = [];
  store.onDamaged((hash) => damaged.push(hash));
  const run = <T>(promise: Promise<T>): Promise<T> => clock.run(promise, 60_000);
  return { clock, kv, disk, blobs, store, metrics, damaged, run, random: new SeededRandom('store') };
}

describe('a file that is being removed', () => {
  it('is absent to whoever reads it or looks for it from then on', async () => {
    const { store, run } = storeWith({ delete: 50 });
    await run(store.put(largeHash, large));
    const removal = store.removeFile(largeHash);
    const found = [Promise.resolve(store.read(largeHash)), store.verify(largeHash, large.length)] as const;
    expect(await run(Promise.all(found))).toEqual([undefined, false]);
    await run(removal);
  });

  it('stays when it is stored again meanwhile, however many remove it', async () => {
    const { store, disk, clock, run } = storeWith({ delete: 50 });
    await run(store.put(largeHash, large));
    const first = store.removeFile(largeHash);
    await clock.advance(30);
    const second = store.removeFile(largeHash);
    await run(first);
    await run(Promise.all([second, store.put(largeHash, large)]));
    expect(disk.hashes()).toEqual([largeHash]);
  });

  it('may fail to go without holding anybody up', async () => {
    const { store, disk, run } = storeWith();
    await run(store.put(largeHash, large));
    disk.failNext('delete', 'io_error');
    await expect(run(store.removeFile(largeHash))).rejects.toMatchObject({ code: 'io_error' });
    expect(await run(store.verify(largeHash, large.length))).toBe(true);
  });
});

describe('a damaged file', () => {
  it('is left alone by a slow reader when it has been stored afresh since it was read', async () => {
    const { store, disk, clock, damaged, metrics, random, run } = storeWith({ get: 20 });
    await run(store.put(largeHash, large));
    disk.corrupt(largeHash, random);
    const slow = Promise.resolve(store.read(largeHash));
    await clock.advance(10);
    // An upload looks at it, puts it aside, and stores it afresh before the reader has judged what it read.
    await disk.quarantine(largeHash);
    await disk.put(largeHash, large);
    expect(await run(slow)).toEqual(large);
    expect(disk.hashes()).toEqual([largeHash]);
    expect([damaged, metrics.value('anabranch_content_corrupt_blobs_total')]).toEqual([[], 0]);
  });

  it.each([1, 5, 15, 25, 45, 65])(
    'is not put aside together with a copy stored %i ms after it was read',
    async (afterMs) => {
      const { store, disk, clock, damaged, random, run } = storeWith({ get: 20, put: 10, quarantine: 20 });
      await run(store.put(largeHash, large));
      disk.corrupt(largeHash, random);
      const reads = [Promise.resolve(store.read(largeHash)), Promise.resolve(store.read(largeHash))];
      await clock.advance(afterMs);
      await run(store.putChecked(largeHash, large));
      await run(Promise.all(reads));
      expect(disk.hashes()).toEqual([largeHash]);
      expect(await run(store.verify(largeHash, large.length))).toBe(true);
      expect(damaged).toEqual([largeHash]);
    },
  );

  it('is told of also when a writer came upon it, who may fail to store it afresh', async () => {
    const { store, disk, kv, damaged, random, run } = storeWith();
    await run(store.put(largeHash, large));
    await run(store.put(smallHash, small));
    disk.corrupt(largeHash, random);
    kv.rot(blobKey(smallHash), random);
    disk.failNext('put', 'disk_full');
    await expect(run(store.putChecked(largeHash, large))).rejects.toMatchObject({ code: 'disk_full' });
    await run(store.putChecked(smallHash, small));
    expect(damaged).toEqual([largeHash, smallHash]);
  });
});

describe('a file that is lent', () => {
  const lentBytes = 100_000;
  const lentOf = (seed: number) => {
    const bytes = new Uint8Array(lentBytes).fill(seed);
    return { hash: blobHashOf(bytes), bytes };
  };

  it('is read into memory that was given back, and into other memory until then', async () => {
    const { store, run } = storeWith();
    const [first, second, third] = [lentOf(1), lentOf(2), lentOf(3)];
    for (const { hash, bytes } of [first, second, third]) await run(store.put(hash, bytes));
    const one = await run(Promise.resolve(store.lend(first.hash)));
    const two = await run(Promise.resolve(store.lend(second.hash)));
    expect([one, two]).toEqual([first.bytes, second.bytes]);
    const memory = one?.buffer;
    store.giveBack(one as Uint8Array);
    const three = await run(Promise.resolve(store.lend(third.hash)));
    expect(three?.buffer).toBe(memory);
    expect([two, three]).toEqual([second.bytes, third.bytes]);
  });

  it('shares no memory with what is read for good, looked at or verified', async () => {
    const { store, run } = storeWith();
    const [first, second] = [lentOf(4), lentOf(5)];
    for (const { hash, bytes } of [first, second]) await run(store.put(hash, bytes));
    const kept = await run(Promise.resolve(store.read(first.hash)));
    const lent = await run(Promise.resolve(store.lend(first.hash)));
    for (let round = 0; round < 3; round += 1) {
      expect(await run(store.inspect(second.hash))).toBe('intact');
      expect(await run(store.verify(second.hash, lentBytes))).toBe(true);
      expect(await run(Promise.resolve(store.lend(second.hash)))).toEqual(second.bytes);
    }
    expect([kept, lent]).toEqual([first.bytes, first.bytes]);
  });

  it('may have been read into other memory than was meant for it', async () => {
    const { store, blobs, run } = storeWith();
    const { hash, bytes } = lentOf(6);
    await run(store.put(hash, bytes));
    blobs.get = async () => bytes.slice();
    const lent = (await run(Promise.resolve(store.lend(hash)))) as Uint8Array;
    store.giveBack(lent);
    store.giveBack(lent);
    expect(await run(Promise.resolve(store.lend(hash)))).toEqual(bytes);
    expect(lent).toEqual(bytes);
  });

  it('may be one of the small ones, whose memory is not used again', async () => {
    const { store, run } = storeWith();
    await run(store.put(smallHash, small));
    const lent = (await run(Promise.resolve(store.lend(smallHash)))) as Uint8Array;
    store.giveBack(lent);
    expect(await run(Promise.resolve(store.lend(smallHash)))).toEqual(small);
  });
});

describe('a small blob whose transaction is under way', () => {
  it('is read at once, and counted on only when that was flushed', async () => {
    const { store, kv, run } = storeWith();
    for (const fails of [true, false]) {
      if (fails) kv.failTransactions('disk_full');
      const putting = store.put(smallHash, small);
      expect(store.read(smallHash)).toEqual(small);
      const verifying = store.verify(smallHash, small.length);
      expect(await run(putting.catch((error: { code: string }) => error.code))).toBe(fails ? 'disk_full' : undefined);
      expect(await run(verifying)).toBe(!fails);
    }
  });
});
