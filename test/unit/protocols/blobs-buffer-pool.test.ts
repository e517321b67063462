import { describe, expect, it } from 'vitest';
import { blobBytesMax } from '../../../crdt/chunking.ts';
import { BufferPool } from '../../../protocols/blobs/buffer-pool.ts';

describe('BufferPool', () => {
  it.each([0, 1, 65_535, 65_536, 600_000, blobBytesMax])('makes buffers of exactly %i bytes', (length) => {
    expect(new BufferPool().take(length).length).toBe(length);
  });

  it('uses a buffer again that was given back, for any length it has room for', () => {
    const pool = new BufferPool();
    const first = pool.take(600_000);
    pool.give(first);
    const second = pool.take(900_000);
    expect(second.buffer).toBe(first.buffer);
    expect(second.length).toBe(900_000);
  });

  it('hands no buffer out twice', () => {
    const pool = new BufferPool();
    pool.give(pool.take(600_000));
    const taken = Array.from({ length: 20 }, () => pool.take(600_000).buffer);
    expect(new Set(taken).size).toBe(20);
  });

  it('takes a buffer back once, and only its own', () => {
    const pool = new BufferPool();
    const buffer = pool.take(600_000);
    pool.give(buffer);
    expect(() => pool.give(buffer)).toThrow('given back once');
    expect(() => pool.give(new BufferPool().take(600_000))).toThrow('given back once');
  });

  it('keeps a bounded number of buffers', () => {
    const pool = new BufferPool();
    const taken = Array.from({ length: 8 }, () => pool.take(blobBytesMax));
    for (const buffer of taken) pool.give(buffer);
    const before = new Set(taken.map(({ buffer }) => buffer));
    const again = Array.from({ length: 8 }, () => pool.take(blobBytesMax).buffer);
    expect(again.filter((buffer) => before.has(buffer)).length).toBe(4);
  });

  it('lets go of sizes that nobody asks for any more', () => {
    const pool = new BufferPool();
    const burst = Array.from({ length: 80 }, () => pool.take(200_000));
    for (const buffer of burst) pool.give(buffer);
    const used = new Set<ArrayBuffer>();
    for (let round = 0; round < 20; round += 1) {
      const buffer = pool.take(600_000);
      used.add(buffer.buffer);
      pool.give(buffer);
    }
    expect(used.size).toBe(1);
  });
});
