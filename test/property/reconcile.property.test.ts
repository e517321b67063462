import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blake3 } from '../../crdt/digest.ts';
import {
  childrenOf,
  type Item,
  itemsOf,
  itemValue,
  leafItemsMax,
  type Prefix,
  prefixOf,
  setItem,
  summaryOf,
  type TreeWriter,
} from '../../crdt/fingerprint-tree.ts';
import { answerRanges, type Difference, questionsMax, type RangeAnswer, Reconciliation } from '../../crdt/reconcile.ts';
import { runs } from '../support/property-runs.ts';

/** A set's tree in memory. */
class MemoryTree implements TreeWriter {
  readonly #rows = new Map<string, Uint8Array>();

  set({ key, value }: Item): void {
    setItem(this, key, value);
  }

  delete(key: Uint8Array): void {
    setItem(this, key, undefined);
  }

  row(prefix: Prefix): Uint8Array | undefined {
    return this.#rows.get(text(prefix));
  }

  putRow(prefix: Prefix, row: Uint8Array): void {
    this.#rows.set(text(prefix), Uint8Array.from(row));
  }

  deleteRow(prefix: Prefix): void {
    this.#rows.delete(text(prefix));
  }

  rows(): [string, Uint8Array][] {
    return [...this.#rows.entries()].sort(([left], [right]) => (left < right ? -1 : 1));
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const text = (prefix: Prefix): string => prefix.map((step) => step.toString(16)).join('');
/** Keys crowd below a few prefixes, so that trees of a few hundred items grow deep. */
const keyOf = (number: number): Uint8Array => {
  const key = Uint8Array.from(blake3(Buffer.from(`key ${number}`)));
  key[0] = number % 3;
  if (number % 2 === 0) key[1] = 7;
  return key;
};
const itemOf = (number: number, version: number): Item => ({
  key: keyOf(number),
  value: blake3(Buffer.from(`value ${version}`)),
});

const numbers = fc.array(fc.nat({ max: 400 }), { maxLength: 300 });
const treeOf = (members: readonly number[], version = 0): MemoryTree => {
  const tree = new MemoryTree();
  for (const number of members) tree.set(itemOf(number, version));
  return tree;
};

function reconcile(
  ours: MemoryTree,
  theirs: MemoryTree,
  options: { readonly onlyOurs?: boolean; readonly asked?: (questions: number) => void } = {},
): { differences: Difference[]; rounds: number } {
  const reconciliation = new Reconciliation(() => ours, [0], options);
  const differences: Difference[] = [];
  let rounds = 0;
  for (let questions = reconciliation.ask(); questions.length > 0; questions = reconciliation.ask()) {
    differences.push(...reconciliation.take(answerRanges(() => theirs, questions)));
    options.asked?.(questions.length);
    rounds += 1;
    expect(rounds).toBeLessThan(100);
  }
  expect(reconciliation.fault).toBeUndefined();
  return { differences, rounds };
}

describe('a comparison of what is here alone', () => {
  it('finds everything that is here and different there, and asks no more for what is only there', () => {
    fc.assert(
      fc.property(numbers, numbers, fc.array(fc.nat({ max: 400 })), (mine, theirs, changed) => {
        const [ours, other] = [treeOf(mine), treeOf(theirs)];
        for (const number of changed) if (theirs.includes(number)) other.set(itemOf(number, 1));
        const found = (onlyOurs: boolean): string[] =>
          reconcile(ours, other, { onlyOurs })
            .differences.filter((difference) => difference.ours !== undefined)
            .map(({ key }) => hex(key))
            .sort();
        expect(found(true)).toEqual(found(false));
      }),
      runs(0.5),
    );
    const [few, many] = [treeOf([1, 2]), treeOf(Array.from({ length: 5_000 }, (_, number) => number))];
    let asked = 0;
    const count = (questions: number): void => {
      asked += questions;
    };
    expect(reconcile(few, many, { onlyOurs: true, asked: count }).differences.some(({ ours }) => ours)).toBe(false);
    expect(asked).toBeLessThan(20);
    expect(reconcile(treeOf([]), many, { onlyOurs: true }).rounds).toBe(0);
  });
});

describe('the fingerprint tree', () => {
  it('is a function of the set alone, whatever the order of additions, changes and removals', () => {
    fc.assert(
      fc.property(numbers, numbers, fc.infiniteStream(fc.nat()), (kept, removed, order) => {
        const wanted = [...new Set(kept)];
        const direct = treeOf(wanted);
        const roundabout = treeOf([...removed, ...wanted], 1);
        const shuffled = [...wanted].sort(() => ((order.next().value as number) % 2 === 0 ? 1 : -1));
        for (const number of shuffled) roundabout.set(itemOf(number, 0));
        for (const number of removed) if (!wanted.includes(number)) roundabout.delete(keyOf(number));
        expect(roundabout.rows()).toEqual(direct.rows());
        expect(summaryOf(roundabout, [])).toEqual(summaryOf(direct, []));
        expect(summaryOf(direct, []).count).toBe(wanted.length);
      }),
      runs(0.5),
    );
  });

  it('splits a range exactly when it holds more items than a leaf may', () => {
    const tree = treeOf(Array.from({ length: leafItemsMax }, (_, number) => number));
    expect(tree.rows()).toHaveLength(1);
    tree.set(itemOf(1_000, 0));
    expect(tree.rows().length).toBeGreaterThan(1);
    tree.delete(keyOf(1_000));
    expect(tree.rows()).toHaveLength(1);
    for (const item of [...itemsOf(tree, [])]) tree.delete(item.key);
    expect(tree.rows()).toHaveLength(0);
  });
});

describe('a range of the fingerprint tree', () => {
  it('lists and sums up exactly the items below it, split, part of a leaf, or empty', () => {
    const prefixes = fc.tuple(numbers, fc.nat({ max: 400 }), fc.nat({ max: 8 }));
    fc.assert(
      fc.property(prefixes, ([members, number, length]) => {
        const tree = treeOf(members);
        const prefix = prefixOf(keyOf(number), length);
        const listed = [...itemsOf(tree, prefix)].map((item) => [hex(item.key), hex(item.value)]);
        const expected = [...new Set(members)]
          .map((member) => itemOf(member, 0))
          .map((item) => [hex(item.key), hex(item.value)] as const)
          .filter(([key]) => key.startsWith(text(prefix)))
          .sort(([left], [right]) => (left < right ? -1 : 1));
        expect(listed).toEqual(expected);
        expect(summaryOf(tree, prefix).count).toBe(expected.length);
        const below = childrenOf(tree, prefix);
        expect(below).toEqual(below.map((_, step) => summaryOf(tree, [...prefix, step])));
      }),
      runs(0.5),
    );
  });
});

describe('reconciliation', () => {
  it('finds exactly the items on which two sets differ', () => {
    fc.assert(
      fc.property(numbers, numbers, numbers, (shared, onlyOurs, onlyTheirs) => {
        const ours = treeOf([...shared, ...onlyOurs]);
        const theirs = treeOf([...shared, ...onlyTheirs]);
        for (const number of onlyTheirs) if (number % 5 === 0) theirs.set(itemOf(number, 2));
        const { differences } = reconcile(ours, theirs);
        const found = new Map(differences.map((difference) => [hex(difference.key), difference]));
        expect(found.size).toBe(differences.length);
        const everything = new Map(
          [...itemsOf(ours, []), ...itemsOf(theirs, [])].map((item) => [hex(item.key), item.key]),
        );
        for (const [name, key] of everything) {
          const mine = itemValue(ours, key);
          const other = itemValue(theirs, key);
          const differs = mine === undefined || other === undefined || hex(mine) !== hex(other);
          expect(found.has(name)).toBe(differs);
          if (differs) expect(found.get(name)).toMatchObject({ ours: mine, theirs: other });
        }
      }),
      runs(0.3),
    );
  });

  it('asks once when nothing differs', () => {
    const members = Array.from({ length: 300 }, (_, number) => number);
    expect(reconcile(treeOf(members), treeOf(members))).toEqual({ differences: [], rounds: 1 });
  });

  it('ends with a fault, and asks nothing more, when answers are not answers to the questions', () => {
    const ours = treeOf([1, 2, 3]);
    const [low, high] = [itemOf(1, 9), itemOf(2, 9)].sort((a, b) => Buffer.compare(a.key, b.key)) as [Item, Item];
    const lies: RangeAnswer[][] = [
      [],
      [{ kind: 'later' }],
      [{ kind: 'split', children: [] }],
      [{ kind: 'items', items: [high, low] }],
      [{ kind: 'items', items: [low, low] }],
      [{ kind: 'items', items: [{ key: new Uint8Array(31), value: new Uint8Array(32) }] }],
    ];
    for (const lie of lies) {
      const reconciliation = new Reconciliation(() => ours, [0]);
      reconciliation.ask();
      expect(reconciliation.take(lie)).toEqual([]);
      expect(reconciliation.fault).toBeTypeOf('string');
      expect(reconciliation.ask()).toEqual([]);
    }
  });

  it('cannot be led down for ever by a peer that always says split', () => {
    const small = treeOf([1, 2, 3]);
    const reconciliation = new Reconciliation(() => small, [0]);
    const child = (count: number) => ({ count, fingerprint: new Uint8Array(16) });
    let asked = 0;
    for (let questions = reconciliation.ask(); questions.length > 0; questions = reconciliation.ask()) {
      asked += questions.length;
      const children = Array.from({ length: 16 }, () => child(1_000));
      reconciliation.take(questions.map((): RangeAnswer => ({ kind: 'split', children })));
    }
    expect(reconciliation.fault).toBeTypeOf('string');
    expect(asked).toBeLessThanOrEqual(questionsMax);
  });
});
