import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blake3, toHex } from '../../crdt/digest.ts';
import {
  itemsOf,
  itemValue,
  type Prefix,
  setItem,
  setItems,
  summaryOf,
  type TreeWriter,
} from '../../crdt/fingerprint-tree.ts';
import { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { JournaledSet, sizeOfValue, valueOfSize } from '../../src/replication/journaled-set.ts';
import { ownSet } from '../../src/replication/storage-keys.ts';
import { runs } from '../support/property-runs.ts';

const keyOf = (index: number): Uint8Array => blake3(Buffer.from(`key ${index}`));
const limitMs = 600_000;

interface Change {
  readonly key: number;
  readonly size: number | null;
}

const change: fc.Arbitrary<Change> = fc.record({ key: fc.nat(300), size: fc.option(fc.nat(1_000)) });
/** Groups are transactions. */
const history = fc.array(fc.array(change, { minLength: 1, maxLength: 120 }), { maxLength: 12 });

class MemoryTree implements TreeWriter {
  readonly rows = new Map<string, Uint8Array>();
  row(prefix: Prefix): Uint8Array | undefined {
    return this.rows.get(prefix.join());
  }
  putRow(prefix: Prefix, row: Uint8Array): void {
    this.rows.set(prefix.join(), Uint8Array.from(row));
  }
  deleteRow(prefix: Prefix): void {
    this.rows.delete(prefix.join());
  }
}

function stateAfter(changes: readonly Change[]): Map<number, number> {
  const state = new Map<number, number>();
  for (const { key, size } of changes) {
    if (size === null) state.delete(key);
    else state.set(key, size);
  }
  return state;
}

function treeOf(state: ReadonlyMap<number, number>): MemoryTree {
  const tree = new MemoryTree();
  for (const [key, size] of state) setItem(tree, keyOf(key), valueOfSize(size));
  return tree;
}

const sameTree = (left: MemoryTree, right: MemoryTree): void => {
  expect(new Map([...left.rows].sort())).toEqual(new Map([...right.rows].sort()));
};

describe('many changes of a tree at once', () => {
  it('come to the same rows as one after the other', () => {
    fc.assert(
      fc.property(history, (groups) => {
        const tree = new MemoryTree();
        for (const group of groups) {
          const newest = new Map(group.map(({ key, size }) => [toHex(keyOf(key)), { key: keyOf(key), size }]));
          const sorted = [...newest.values()].sort((left, right) => Buffer.compare(left.key, right.key));
          setItems(
            tree,
            sorted.map(({ key, size }) => ({ key, value: size === null ? undefined : valueOfSize(size) })),
          );
        }
        sameTree(tree, treeOf(stateAfter(groups.flat())));
      }),
      runs(1),
    );
  });
});

describe('a journaled set', () => {
  const open = (kv: MemoryKv, clock: VirtualClock, keptMax = 50): JournaledSet =>
    new JournaledSet({ kv, clock, log: new MemoryLog() }, { set: ownSet, keptMax });

  const write = (clock: VirtualClock, kv: MemoryKv, set: JournaledSet, group: readonly Change[]): Promise<void> =>
    clock.run(
      kv.transact((transaction) => {
        // Single changes and rows of many, as a group's length has it.
        if (group.length % 3 === 0) for (const { key, size } of group) set.append(transaction, keyOf(key), size);
        else
          set.appendAll(
            transaction,
            group.map(({ key, size }) => ({ key: keyOf(key), sizeBytes: size })),
          );
      }),
      limitMs,
    );

  it('has the tree of its items, whenever it is asked for it, also in a later life', async () => {
    await fc.assert(
      fc.asyncProperty(history, fc.infiniteStream(fc.nat(3)), async (groups, dice) => {
        const clock = new VirtualClock();
        let kv = new MemoryKv(clock);
        let set = open(kv, clock);
        const done: Change[] = [];
        for (const group of groups) {
          await write(clock, kv, set, group);
          done.push(...group);
          const roll = dice.next().value;
          if (roll === 0) {
            const tree = await clock.run(set.tree(), limitMs);
            expect(summaryOf(tree, [])).toEqual(summaryOf(treeOf(stateAfter(done)), []));
          } else if (roll === 1) {
            kv = kv.reopen();
            set = open(kv, clock);
          }
        }
        const tree = await clock.run(set.tree(), limitMs);
        const expected = stateAfter(done);
        const items = [...itemsOf(tree, [])].map(({ key, value }) => [toHex(key), sizeOfValue(value)]);
        expect(items).toEqual(
          [...expected]
            .map(([key, size]) => [toHex(keyOf(key)), size])
            .sort(([a], [b]) => ((a as string) < (b as string) ? -1 : 1)),
        );
      }),
      runs(0.5),
    );
  });

  it('comes to the same tree when power fails in the middle of a fold', async () => {
    await fc.assert(
      fc.asyncProperty(history, fc.nat(40), fc.nat(1_000), async (groups, afterMs, seed) => {
        const clock = new VirtualClock();
        let kv = new MemoryKv(clock, { flushDelayMs: 2 });
        let set = open(kv, clock);
        for (const group of groups) await write(clock, kv, set, group);
        void set.tree().catch(() => undefined);
        await clock.advance(afterMs);
        kv = kv.crash(new SeededRandom(`${seed}`));
        set = open(kv, clock);
        const tree = await clock.run(set.tree(), limitMs);
        expect(summaryOf(tree, [])).toEqual(summaryOf(treeOf(stateAfter(groups.flat())), []));
      }),
      runs(0.5),
    );
  });

  it('brings whoever follows it from any of its numbers to the same items, or says that it has dropped some', async () => {
    await fc.assert(
      fc.asyncProperty(history, fc.nat(400), fc.boolean(), async (groups, from, isFolded) => {
        const clock = new VirtualClock();
        const kv = new MemoryKv(clock);
        const set = open(kv, clock);
        const all = groups.flat();
        for (const group of groups) await write(clock, kv, set, group);
        if (isFolded) await clock.run(set.tree(), limitMs);
        const start = Math.min(from, all.length);
        const followed = stateAfter(all.slice(0, start));
        const byKey = new Map([...followed].map(([key, size]) => [toHex(keyOf(key)), size]));
        for (let at = start; ; ) {
          const page = set.after(at, 7);
          if (page === undefined) {
            expect(isFolded && start < all.length - 50).toBe(true);
            return;
          }
          for (const { key, value } of page.entries) {
            if (value === undefined) byKey.delete(toHex(key));
            else byKey.set(toHex(key), sizeOfValue(value) as number);
          }
          if (page.entries.length === 0) break;
          at = page.through;
        }
        const expected = [...stateAfter(all)].map(([key, size]) => [toHex(keyOf(key)), size] as const);
        expect(byKey).toEqual(new Map(expected));
        expect(set.last()).toBe(all.length);
      }),
      runs(1),
    );
  });

  it('finds single items in the tree it folded', async () => {
    const clock = new VirtualClock();
    const kv = new MemoryKv(clock);
    const set = open(kv, clock);
    await write(
      clock,
      kv,
      set,
      Array.from({ length: 500 }, (_, key) => ({ key, size: key })),
    );
    const tree = await clock.run(set.tree(), limitMs);
    expect(sizeOfValue(itemValue(tree, keyOf(7)) as Uint8Array)).toBe(7);
    expect(itemValue(tree, keyOf(500))).toBeUndefined();
  });
});

describe('a size as the value of an item', () => {
  it('reads back, and nothing else reads as one', () => {
    fc.assert(fc.property(fc.maxSafeNat(), (size) => void expect(sizeOfValue(valueOfSize(size))).toBe(size)));
    expect(sizeOfValue(new Uint8Array(31))).toBeUndefined();
    expect(sizeOfValue(new Uint8Array(32).fill(0xff))).toBeUndefined();
    expect(sizeOfValue(Uint8Array.from({ length: 32 }, (_, at) => (at === 0 ? 1 : 0)))).toBeUndefined();
    expect(sizeOfValue(Uint8Array.from({ length: 32 }, (_, at) => (at === 24 ? 255 : 0)))).toBeUndefined();
  });
});
