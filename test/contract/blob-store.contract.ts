import { afterEach, describe, expect, it } from 'vitest';
import { blobBytesMax } from '../../crdt/chunking.ts';
import { blobHashOf } from '../../crdt/digest.ts';
import type { BlobHash } from '../../crdt/ids.ts';
import type { BlobStore } from '../../src/ports/blob-store.ts';

/** What the suite asks of an adapter: an empty, recovered store, and a way to end it. */
export interface BlobStoreHarness {
  readonly store: BlobStore;
  /** The store as the next start finds it after a power loss, recovered. The old one is not used again. */
  restart(): Promise<BlobStore>;
  close(): Promise<void>;
}

const blobOf = (length: number, seed: number): { hash: BlobHash; bytes: Uint8Array } => {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index++) bytes[index] = (index * 31 + seed * 17 + (index >>> 8)) & 0xff;
  return { hash: blobHashOf(bytes), bytes };
};

const listed = async (store: BlobStore): Promise<Map<BlobHash, number>> => {
  const sizes = new Map<BlobHash, number>();
  for await (const { hash, sizeBytes } of store.list()) {
    expect(sizes.has(hash)).toBe(false);
    sizes.set(hash, sizeBytes);
  }
  return sizes;
};

/** The promises of `src/ports/blob-store.ts`, for every adapter. */
export function blobStoreContract(name: string, create: () => Promise<BlobStoreHarness>): void {
  describe(`BlobStore: ${name}`, () => {
    let harness: BlobStoreHarness | undefined;
    afterEach(async () => {
      await harness?.close();
      harness = undefined;
    });

    const open = async (): Promise<BlobStoreHarness> => {
      harness = await create();
      return harness;
    };

    it('knows nothing of a blob that was never put', async () => {
      const { store } = await open();
      const { hash } = blobOf(10, 1);
      expect(await store.sizeOf(hash)).toBeUndefined();
      expect(await store.get(hash)).toBeUndefined();
      expect(await listed(store)).toEqual(new Map());
    });

    it.each([0, 1, 4_096, 600_000, blobBytesMax])('gives back a blob of %i bytes', async (length) => {
      const { store } = await open();
      const { hash, bytes } = blobOf(length, 2);
      await store.put(hash, bytes);
      expect(await store.sizeOf(hash)).toBe(length);
      const read = await store.get(hash);
      expect(read?.constructor).toBe(Uint8Array);
      expect(Buffer.compare(read ?? Buffer.from('absent'), bytes)).toBe(0);
    });

    it.each([0, 65_535, 65_536, 65_537, 600_000, 2 * 1_048_576, 2 * 1_048_576 + 1, blobBytesMax])(
      'gives back a blob of %i bytes that was put as one nobody will read soon',
      async (length) => {
        const { store } = await open();
        const { hash, bytes } = blobOf(length, 9);
        const other = blobOf(length, 10);
        await Promise.all([
          store.put(hash, bytes, { isCold: true }),
          store.put(other.hash, other.bytes, { isCold: true }),
        ]);
        expect(await store.sizeOf(hash)).toBe(length);
        expect(Buffer.compare((await store.get(hash)) ?? Buffer.from('absent'), bytes)).toBe(0);
        expect(Buffer.compare((await store.get(other.hash)) ?? Buffer.from('absent'), other.bytes)).toBe(0);
      },
    );

    it.each([0, 1, 4_096, 600_000])('reads a blob of %i bytes into the memory it is given', async (length) => {
      const { store } = await open();
      const { hash, bytes } = blobOf(length, 11);
      await store.put(hash, bytes);
      const memory = new Uint8Array(blobBytesMax).fill(0xff);
      const asked: number[] = [];
      const into = (size: number): Uint8Array<ArrayBuffer> => {
        asked.push(size);
        return memory.subarray(0, size);
      };
      const read = await store.get(hash, { into });
      expect(Buffer.compare(read ?? Buffer.from('absent'), bytes)).toBe(0);
      expect(read?.buffer).toBe(memory.buffer);
      expect(memory[length]).toBe(0xff);
      expect(await store.get(blobOf(10, 12).hash, { into })).toBeUndefined();
      expect(asked).toEqual([length]);
    });

    it('refuses a blob past the bound and stores nothing of it', async () => {
      const { store } = await open();
      const { hash, bytes } = blobOf(blobBytesMax + 1, 3);
      await expect(store.put(hash, bytes)).rejects.toMatchObject({ name: 'MeshError', code: 'too_large' });
      expect(await store.sizeOf(hash)).toBeUndefined();
    });

    it('takes the same blob many times, at once and again, as one', async () => {
      const { store } = await open();
      const { hash, bytes } = blobOf(50_000, 4);
      await Promise.all(Array.from({ length: 20 }, () => store.put(hash, bytes)));
      await store.put(hash, bytes);
      expect(await listed(store)).toEqual(new Map([[hash, 50_000]]));
      expect(await store.get(hash)).toEqual(bytes);
    });

    it('takes many blobs at once', async () => {
      const { store } = await open();
      const blobs = Array.from({ length: 100 }, (_, index) => blobOf(2_000 + index, index));
      await Promise.all(blobs.map(({ hash, bytes }) => store.put(hash, bytes)));
      const read = await Promise.all(blobs.map(({ hash }) => store.get(hash)));
      expect(read).toEqual(blobs.map(({ bytes }) => bytes));
      expect(await listed(store)).toEqual(new Map(blobs.map(({ hash, bytes }) => [hash, bytes.length])));
    });

    it('keeps its bytes whatever callers do to theirs afterwards', async () => {
      const { store } = await open();
      const { hash, bytes } = blobOf(1_000, 5);
      const original = bytes.slice();
      await store.put(hash, bytes);
      bytes.fill(0);
      (await store.get(hash))?.fill(1);
      expect(await store.get(hash)).toEqual(original);
    });

    it('stores a view of a larger buffer, and only that', async () => {
      const { store } = await open();
      const { hash, bytes } = blobOf(300, 6);
      const around = new Uint8Array(1_000);
      around.set(bytes, 350);
      await store.put(hash, around.subarray(350, 650));
      expect(await store.get(hash)).toEqual(bytes);
    });

    it('gives bytes back unverified: the caller compares them with the name', async () => {
      const { store } = await open();
      const { hash } = blobOf(10, 7);
      await store.put(hash, Uint8Array.of(1, 2, 3));
      expect(await store.get(hash)).toEqual(Uint8Array.of(1, 2, 3));
    });

    it('forgets a deleted blob, takes it again, and minds no deletion of what is absent', async () => {
      const { store } = await open();
      const { hash, bytes } = blobOf(100, 8);
      await store.put(hash, bytes);
      await store.delete(hash);
      await store.delete(hash);
      expect(await store.sizeOf(hash)).toBeUndefined();
      expect(await listed(store)).toEqual(new Map());
      await store.put(hash, bytes);
      expect(await store.get(hash)).toEqual(bytes);
    });

    it('shows a quarantined blob as absent, takes it again, and minds no quarantine of what is absent', async () => {
      const { store } = await open();
      const { hash, bytes } = blobOf(100, 9);
      await store.put(hash, Uint8Array.of(9));
      await store.quarantine(hash);
      await store.quarantine(hash);
      expect(await store.sizeOf(hash)).toBeUndefined();
      expect(await store.get(hash)).toBeUndefined();
      expect(await listed(store)).toEqual(new Map());
      await store.put(hash, bytes);
      expect(await store.get(hash)).toEqual(bytes);
      await store.quarantine(hash);
      expect(await store.sizeOf(hash)).toBeUndefined();
    });

    it('lists blobs in the order of their names, from any of them on', async () => {
      const { store } = await open();
      const blobs = Array.from({ length: 60 }, (_, index) => blobOf(100, index));
      for (const { hash, bytes } of blobs) await store.put(hash, bytes);
      const names = blobs.map(({ hash }) => hash).sort();
      expect([...(await listed(store)).keys()]).toEqual(names);
      for (const index of [0, 30, 58, 59]) {
        const rest: BlobHash[] = [];
        for await (const { hash } of store.list(names[index])) rest.push(hash);
        expect(rest).toEqual(names.slice(index + 1));
      }
    });

    it('says how much room there is', async () => {
      const { store } = await open();
      const { capacityBytes, freeBytes } = await store.space();
      expect(freeBytes).toBeGreaterThan(0);
      expect(capacityBytes).toBeGreaterThanOrEqual(freeBytes);
    });

    it('keeps every flushed put and delete over a restart', async () => {
      const { store, restart } = await open();
      const blobs = Array.from({ length: 40 }, (_, index) => blobOf(500, index));
      await Promise.all(blobs.map(({ hash, bytes }) => store.put(hash, bytes)));
      const [first, ...others] = blobs as [(typeof blobs)[0], ...typeof blobs];
      await store.delete(first.hash);
      await store.flush();
      const restarted = await restart();
      expect(await listed(restarted)).toEqual(new Map(others.map(({ hash }) => [hash, 500])));
      for (const { hash, bytes } of others) expect(await restarted.get(hash)).toEqual(bytes);
    });

    it('keeps what was put before any of several flushes that ran at once', async () => {
      const { store, restart } = await open();
      const blobs = Array.from({ length: 30 }, (_, index) => blobOf(700, index));
      await Promise.all(
        blobs.map(async ({ hash, bytes }) => {
          await store.put(hash, bytes);
          await store.flush();
        }),
      );
      const restarted = await restart();
      expect((await listed(restarted)).size).toBe(30);
    });

    it('shows a blob whole or not at all after a restart without a flush', async () => {
      const { store, restart } = await open();
      const blobs = Array.from({ length: 30 }, (_, index) => blobOf(900, index));
      await Promise.all(blobs.map(({ hash, bytes }) => store.put(hash, bytes)));
      const restarted = await restart();
      for (const { hash, bytes } of blobs) {
        if ((await restarted.sizeOf(hash)) !== undefined) expect(await restarted.get(hash)).toEqual(bytes);
        else expect(await restarted.get(hash)).toBeUndefined();
      }
    });
  });
}
