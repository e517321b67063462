import { describe, expect, it } from 'vitest';
import { blobHashOf } from '../../../crdt/digest.ts';
import { type BlobPool, MemoryBlobStore } from '../../../src/adapters/memory/blob-store.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';

const blobs = Array.from({ length: 40 }, (_, index) => {
  const bytes = new Uint8Array(100 + index).fill(index);
  return { hash: blobHashOf(bytes), bytes };
});
const [alpha, beta] = blobs as [(typeof blobs)[0], (typeof blobs)[0]];

const held = async (store: MemoryBlobStore): Promise<string[]> => {
  const hashes: string[] = [];
  for await (const { hash } of store.list()) hashes.push(hash);
  return hashes.sort();
};

const unsettled = async (call: Promise<unknown>): Promise<boolean> =>
  Promise.race([call.then(() => false), new Promise<boolean>((resolve) => setImmediate(() => resolve(true)))]);

describe('the memory blob store', () => {
  it('loses some unflushed puts at a crash and keeps the others, as the seed has it', async () => {
    const crashed = async (seed: string): Promise<string[]> => {
      const store = new MemoryBlobStore();
      for (const { hash, bytes } of blobs) await store.put(hash, bytes);
      return held(store.crash(new SeededRandom(seed)));
    };
    const survivors = await crashed('one');
    expect(survivors.length).toBeGreaterThan(0);
    expect(survivors.length).toBeLessThan(blobs.length);
    expect(await crashed('one')).toEqual(survivors);
    expect(await crashed('two')).not.toEqual(survivors);
  });

  it('keeps what was flushed, and may bring an unflushed deletion back', async () => {
    const outcomes = new Set<number>();
    for (let seed = 0; seed < 20; seed++) {
      const store = new MemoryBlobStore();
      await store.put(alpha.hash, alpha.bytes);
      await store.put(beta.hash, beta.bytes);
      await store.flush();
      await store.delete(beta.hash);
      const restarted = store.crash(new SeededRandom(`deletion ${seed}`));
      expect(await restarted.get(alpha.hash)).toEqual(alpha.bytes);
      outcomes.add((await held(restarted)).length);
    }
    expect(outcomes).toEqual(new Set([1, 2]));
  });

  it('counts a blob as durable once a restart has found it', async () => {
    const store = new MemoryBlobStore();
    for (const { hash, bytes } of blobs) await store.put(hash, bytes);
    const found = store.crash(new SeededRandom('first'));
    await found.recover();
    const before = await held(found);
    expect(await held(found.crash(new SeededRandom('second')))).toEqual(before);
  });

  it('loses nothing when only the process ended', async () => {
    const store = new MemoryBlobStore();
    for (const { hash, bytes } of blobs) await store.put(hash, bytes);
    expect(await held(store.reopen())).toHaveLength(blobs.length);
  });

  it('answers no more after a crash, and changes nothing of what the restarted node has', async () => {
    const store = new MemoryBlobStore();
    const restarted = store.crash(new SeededRandom('dead'));
    expect(await unsettled(store.put(alpha.hash, alpha.bytes))).toBe(true);
    expect(await unsettled(store.flush())).toBe(true);
    expect(await held(restarted)).toEqual([]);
  });

  it('fails the next calls as it was told, without effect, and then works again', async () => {
    const store = new MemoryBlobStore();
    store.failNext('put', 'io_error', 2);
    for (const _ of [1, 2]) {
      await expect(store.put(alpha.hash, alpha.bytes)).rejects.toMatchObject({ name: 'MeshError', code: 'io_error' });
      expect(await store.sizeOf(alpha.hash)).toBeUndefined();
    }
    await store.put(alpha.hash, alpha.bytes);
    store.failNext('flush', 'disk_full');
    await expect(store.flush()).rejects.toMatchObject({ code: 'disk_full' });
    await store.flush();
    expect(await held(store.crash(new SeededRandom('flushed')))).toEqual([alpha.hash]);
  });

  it('fails on after a crash and a restart, and not on another disk', async () => {
    const store = new MemoryBlobStore();
    store.failNext('put', 'io_error', 3);
    const crashed = store.crash(new SeededRandom('failing'));
    await expect(crashed.put(alpha.hash, alpha.bytes)).rejects.toMatchObject({ code: 'io_error' });
    const reopened = crashed.reopen();
    await expect(reopened.put(alpha.hash, alpha.bytes)).rejects.toMatchObject({ code: 'io_error' });
    const exchanged = reopened.restore(reopened.snapshot());
    await exchanged.put(alpha.hash, alpha.bytes);
    expect(await held(exchanged)).toEqual([alpha.hash]);
  });

  it('leaves unflushed what a failed flush did not make durable', async () => {
    const outcomes = new Set<number>();
    for (let seed = 0; seed < 20; seed++) {
      const store = new MemoryBlobStore();
      await store.put(alpha.hash, alpha.bytes);
      store.failNext('flush', 'io_error');
      await expect(store.flush()).rejects.toMatchObject({ code: 'io_error' });
      outcomes.add((await held(store.crash(new SeededRandom(`failed flush ${seed}`)))).length);
    }
    expect(outcomes).toEqual(new Set([0, 1]));
  });

  it('is full after so many bytes, and has room again after a deletion or on a larger disk', async () => {
    const store = new MemoryBlobStore({ capacityBytes: 150 });
    await store.put(alpha.hash, alpha.bytes);
    expect(await store.space()).toEqual({ capacityBytes: 150, freeBytes: 50 });
    await expect(store.put(beta.hash, beta.bytes)).rejects.toMatchObject({ code: 'disk_full' });
    await store.put(alpha.hash, alpha.bytes);
    await store.delete(alpha.hash);
    await store.put(beta.hash, beta.bytes);
    store.setCapacity(50);
    expect(await store.space()).toEqual({ capacityBytes: 50, freeBytes: 0 });
    await expect(store.put(alpha.hash, alpha.bytes)).rejects.toMatchObject({ code: 'disk_full' });
    store.setCapacity(500);
    await store.put(alpha.hash, alpha.bytes);
  });

  it('flips one bit of a blob that rots, and says when there is none to flip', async () => {
    const store = new MemoryBlobStore();
    await store.put(beta.hash, beta.bytes);
    expect(store.corrupt(beta.hash, new SeededRandom('rot'))).toBe(true);
    const rotten = (await store.get(beta.hash)) ?? new Uint8Array();
    const flipped = rotten.reduce(
      (bits, byte, at) => bits + (byte ^ (beta.bytes[at] ?? 0)).toString(2).replaceAll('0', '').length,
      0,
    );
    expect(flipped).toBe(1);
    expect(store.corrupt(alpha.hash, new SeededRandom('rot'))).toBe(false);
  });

  it('rots alone, although it shares its bytes with other disks and backups, and rots for good', async () => {
    const pool: BlobPool = new Map();
    const [store, other] = [new MemoryBlobStore({ pool }), new MemoryBlobStore({ pool })];
    await store.put(beta.hash, beta.bytes);
    await other.put(beta.hash, beta.bytes);
    expect(store.peek(beta.hash)).toBe(other.peek(beta.hash));
    const backup = store.snapshot();
    await store.flush();
    store.corrupt(beta.hash, new SeededRandom('rot'));
    expect(await store.get(beta.hash)).not.toEqual(beta.bytes);
    expect(await other.get(beta.hash)).toEqual(beta.bytes);
    expect(await store.crash(new SeededRandom('crash')).get(beta.hash)).not.toEqual(beta.bytes);
    expect(await store.restore(backup).get(beta.hash)).toEqual(beta.bytes);
  });

  it('takes no other bytes of the same name for those it shares', async () => {
    const pool: BlobPool = new Map();
    const [store, other] = [new MemoryBlobStore({ pool }), new MemoryBlobStore({ pool })];
    await store.put(alpha.hash, alpha.bytes);
    await other.put(alpha.hash, beta.bytes);
    expect(await other.get(alpha.hash)).toEqual(beta.bytes);
    expect(await store.get(alpha.hash)).toEqual(alpha.bytes);
  });
});
