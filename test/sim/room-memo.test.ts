import { expect, test } from 'vitest';
import { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../src/adapters/memory/kv.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { RoomMemo, roomsOf } from './room-memo.ts';

const row = (room: number, name: number): Uint8Array => Uint8Array.of(room, name);

/** A store with so many rows in each of nine rooms that they fill blocks of their own. */
async function filled(): Promise<MemoryKv> {
  const kv = new MemoryKv(new VirtualClock());
  await kv.transact((transaction) => {
    for (let room = 1; room <= 9; room += 1)
      for (let name = 0; name < 200; name += 1) transaction.put(row(room, name), Uint8Array.of(name));
  });
  return kv;
}

test('what was noted holds until a row of its rooms is put, deleted or rots, whatever happens in others', async () => {
  const kv = await filled();
  const memo = new RoomMemo<object, string>(roomsOf(2, 8));
  const owner = {};
  expect(memo.get(owner, kv)).toBeUndefined();
  memo.note(owner, kv, 'sound');
  await kv.transact((transaction) => transaction.put(row(5, 100), Uint8Array.of(0)));
  expect(memo.get(owner, kv)).toBe('sound');
  expect(memo.get({}, kv)).toBeUndefined();
  await kv.transact((transaction) => transaction.put(row(8, 7), Uint8Array.of(0)));
  expect(memo.get(owner, kv)).toBeUndefined();
  memo.note(owner, kv, 'changed');
  await kv.transact((transaction) => transaction.delete(row(2, 7)));
  expect(memo.get(owner, kv)).toBeUndefined();
  memo.note(owner, kv, 'deleted');
  kv.rot(row(2, 100), new SeededRandom('rot'));
  expect(memo.get(owner, kv)).toBeUndefined();
});
