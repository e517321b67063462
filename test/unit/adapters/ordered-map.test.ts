import { describe, expect, it } from 'vitest';
import { OrderedMap } from '../../../src/adapters/memory/ordered-map.ts';
import { SeededRandom } from '../../../src/adapters/memory/random.ts';

const keyAt = (index: number): string => String(index).padStart(5, '0');

/** So many random puts and deletes, on the map and on a plain one. */
function mixed(count: number, seed: string): { map: OrderedMap<number>; plain: Map<string, number> } {
  const random = new SeededRandom(seed);
  const plain = new Map<string, number>();
  let map = OrderedMap.empty<number>();
  for (let step = 0; step < count; step++) {
    const key = keyAt(Math.floor(random.fraction() * 3_000));
    if (random.fraction() < 0.3) {
      plain.delete(key);
      map = map.without(key);
    } else {
      plain.set(key, step);
      map = map.with(key, step);
    }
  }
  return { map, plain };
}

const sorted = (plain: Map<string, number>): (readonly [string, number])[] =>
  [...plain].sort(([a], [b]) => (a < b ? -1 : 1));

describe('the ordered map', () => {
  it('holds what a plain map holds, in order, over many blocks', () => {
    const { map, plain } = mixed(10_000, 'ordered map');
    const entries = sorted(plain);
    expect(entries.length).toBeGreaterThan(1_000);
    expect([...map]).toEqual(entries);
    for (let index = 0; index < 3_000; index++) expect(map.get(keyAt(index))).toBe(plain.get(keyAt(index)));
  });

  it('ranges from any key to any other, both ways', () => {
    const { map, plain } = mixed(6_000, 'ranges');
    const entries = sorted(plain);
    const random = new SeededRandom('bounds');
    for (let round = 0; round < 200; round++) {
      const [start, end] = [keyAt(Math.floor(random.fraction() * 3_100)), keyAt(Math.floor(random.fraction() * 3_100))];
      const wanted = entries.filter(([key]) => key >= start && key < end);
      expect([...map.range(start, end)]).toEqual(wanted);
      expect([...map.rangeReverse(start, end)]).toEqual(wanted.toReversed());
    }
  });

  it('knows a range for the same only where no entry of it differs, and does know it far from a change', () => {
    const { map } = mixed(6_000, 'shared ranges');
    const random = new SeededRandom('changes');
    const draw = (): string => keyAt(Math.floor(random.fraction() * 3_100));
    let shared = 0;
    for (let round = 0; round < 300; round++) {
      const key = draw();
      const other = random.fraction() < 0.5 ? map.with(key, -1) : map.without(key);
      const [start, end] = [draw(), draw()].sort() as [string, string];
      if (!other.sharesRange(map, start, end)) continue;
      shared += 1;
      expect([...other.range(start, end)]).toEqual([...map.range(start, end)]);
    }
    expect(shared).toBeGreaterThan(100);
    expect(map.sharesRange(map, '', '~')).toBe(true);
    expect(map.with(keyAt(5), -1).sharesRange(map, keyAt(5), keyAt(6))).toBe(false);
    expect(OrderedMap.empty<number>().sharesRange(map, '', keyAt(3_000))).toBe(false);
  });

  it('leaves older versions as they were', () => {
    const { map } = mixed(3_000, 'versions');
    const before = [...map];
    let later = map;
    for (let index = 0; index < 3_000; index++) later = later.without(keyAt(index)).with(`${keyAt(index)}+`, index);
    expect([...map]).toEqual(before);
    expect([...later]).toHaveLength(3_000);
  });

  it('is itself when a key that is not there is taken away, and empty after the last one', () => {
    const map = OrderedMap.empty<number>().with('a', 1);
    expect(map.without('b')).toBe(map);
    expect([...map.without('a')]).toEqual([]);
    expect(map.without('a').get('a')).toBeUndefined();
    expect([...map.without('a').range('', 'z')]).toEqual([]);
    expect([...map.without('a').rangeReverse('', 'z')]).toEqual([]);
  });
});
