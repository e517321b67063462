import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rawHash } from '../../crdt/digest.ts';
import { type Item, itemsOf, type Prefix, setItem, summaryOf, type TreeWriter } from '../../crdt/fingerprint-tree.ts';
import type { DocId } from '../../crdt/ids.ts';
import type { Version } from '../../crdt/version.ts';
import { VirtualClock } from '../../src/adapters/memory/clock.ts';
import { MemoryKv } from '../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { ObjectStore } from '../../src/node/object-store.ts';
import { SlotTrees } from '../../src/node/slot-trees.ts';
import { runs } from '../support/property-runs.ts';
import { testCluster, testNode, write } from '../support/versions.ts';

const slots = 4;
const keys = 60;
const limitMs = 600_000;
const writer = testNode('writer');
const docOf = (key: number): DocId => new ObjectStore({ cluster: testCluster, slots }).documentId('docs', `key ${key}`);
/** Versions of each object one after the other: signing them is dear, so every run uses the same. */
const chains = new Map<number, Version[]>();

function versionOf(key: number, generation: number): Version {
  const chain = chains.get(key) ?? [];
  chains.set(key, chain);
  while (chain.length <= generation) {
    const last = chain.at(-1);
    chain.push(write(writer, last === undefined ? [] : [last], { key: `key ${key}` }));
  }
  return chain[generation] as Version;
}

type Step =
  | { readonly do: 'write'; readonly keys: readonly number[] }
  | { readonly do: 'forget'; readonly key: number }
  | { readonly do: 'read' | 'crash' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('write' as const), keys: fc.array(fc.nat(keys - 1), { maxLength: 50 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('forget' as const), key: fc.nat(keys - 1) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('read' as const, 'crash' as const) }) },
);

class MemoryTree implements TreeWriter {
  readonly #rows = new Map<string, Uint8Array>();
  row(prefix: Prefix): Uint8Array | undefined {
    return this.#rows.get(prefix.join());
  }
  putRow(prefix: Prefix, row: Uint8Array): void {
    this.#rows.set(prefix.join(), Uint8Array.from(row));
  }
  deleteRow(prefix: Prefix): void {
    this.#rows.delete(prefix.join());
  }
}

/** A store and its trees through crashes. */
class Keeper {
  readonly clock = new VirtualClock();
  kv = new MemoryKv(this.clock, { flushDelayMs: 1 });
  objects!: ObjectStore;
  trees!: SlotTrees;

  constructor() {
    this.#open();
  }

  #open(): void {
    this.objects = new ObjectStore({
      cluster: testCluster,
      slots,
      changed: (_, { change }) => this.trees.noted(change),
    });
    this.trees = new SlotTrees({ kv: this.kv, clock: this.clock, log: new MemoryLog(), states: this.objects });
  }

  crash(seed: number): void {
    this.kv = this.kv.crash(new SeededRandom(`crash ${seed}`));
    this.#open();
  }

  write(written: readonly number[]): Promise<void> {
    return this.kv.transact((transaction) => {
      for (const key of written) {
        const versions = this.objects.object(transaction, docOf(key))?.versions ?? 0;
        this.objects.append(transaction, versionOf(key, versions));
      }
    });
  }

  forget(key: number): Promise<void> {
    return this.kv.transact((transaction) => this.objects.forget(transaction, docOf(key)));
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.run(promise, limitMs);
  }

  /** The trees hold every document that is here, in the state it is in, as if each change had been put in by itself. */
  async check(): Promise<void> {
    const read = await this.run(this.trees.read());
    for (let slot = 0; slot < slots; slot += 1) {
      const expected = new MemoryTree();
      for (let key = 0; key < keys; key += 1) {
        const doc = docOf(key);
        const digest = this.objects.digestOf(this.kv, doc);
        if (digest !== undefined && this.objects.slotOf(doc) === slot) setItem(expected, rawHash(doc), digest);
      }
      const text = ({ key, value }: Item): string =>
        `${Buffer.from(key).toString('hex')} ${Buffer.from(value).toString('hex')}`;
      expect(Array.from(itemsOf(read(slot), []), text)).toEqual(Array.from(itemsOf(expected, []), text));
      expect(summaryOf(read(slot), [])).toEqual(summaryOf(expected, []));
    }
  }
}

describe('the trees of the slots', () => {
  it('hold what is here whenever they are read, whatever was written, forgotten or lost in a crash before', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const keeper = new Keeper();
        for (const [index, each] of steps.entries()) {
          if (each.do === 'write') await keeper.run(keeper.write(each.keys));
          else if (each.do === 'forget') await keeper.run(keeper.forget(each.key));
          else if (each.do === 'read') await keeper.check();
          else {
            // In the midst of a fold and of a write, as far as each has come.
            keeper.trees.read().catch(() => undefined);
            keeper.write([index % keys]).catch(() => undefined);
            await keeper.clock.run(keeper.clock.sleep(index % 3), limitMs);
            keeper.crash(index);
          }
        }
        await keeper.check();
      }),
      runs(0.3),
    );
  });

  it('are brought up to date without anybody asking once many changes wait, and cost a write nothing before', async () => {
    const keeper = new Keeper();
    let treeRows = 0;
    const isTree = 0x09;
    const observed = new MemoryKv(keeper.clock, {
      observe: (_, written) => {
        treeRows += written.filter((key) => key[0] === isTree).length;
      },
    });
    const trees = new SlotTrees({ kv: observed, clock: keeper.clock, log: new MemoryLog(), states: keeper.objects });
    await keeper.run(observed.transact((transaction) => keeper.objects.append(transaction, versionOf(0, 0))));
    trees.noted(4_095);
    await keeper.run(keeper.clock.sleep(10));
    expect(treeRows).toBe(0);
    trees.noted(4_096);
    await keeper.run(keeper.clock.sleep(10));
    expect(treeRows).toBeGreaterThan(0);
  });
});
