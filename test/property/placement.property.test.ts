import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inclusionProbabilities } from '../../bench/placement/inclusion.ts';
import type { NodeId } from '../../crdt/ids.ts';
import { type PlacementNode, type PlacementPolicy, Placer } from '../../crdt/placement.ts';
import { arrival, hashWords } from '../../crdt/rendezvous.ts';
import { runs } from '../support/property-runs.ts';

const anywhere: PlacementPolicy = { replicas: 3, diversity: {}, required: {}, forbidden: {} };
const labels = fc.record(
  {
    dc: fc.constantFrom('fra', 'ams', 'lon'),
    rack: fc.constantFrom('r1', 'r2', 'r3', 'r4'),
    disk: fc.constantFrom('ssd', 'hdd'),
  },
  { requiredKeys: [] },
);
const nodes: fc.Arbitrary<PlacementNode[]> = fc
  .array(fc.record({ weight: fc.integer({ min: 1, max: 64 }), labels }), { maxLength: 12 })
  .map((list) =>
    list.map(({ weight, labels: own }, index) => ({
      nodeId: `node-${index}` as NodeId,
      weight,
      labels: Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined)),
    })),
  );
const replicas = fc.integer({ min: 1, max: 6 });
const keys = Array.from({ length: 20 }, (_, index) => `key-${index}`);

const valuesOf = (all: readonly PlacementNode[], holders: readonly NodeId[], label: string): Set<string> =>
  new Set(all.filter(({ nodeId }) => holders.includes(nodeId)).flatMap((node) => node.labels[label] ?? []));

describe('placement', () => {
  it('is a function of the set of nodes, whatever their order', () => {
    fc.assert(
      fc.property(nodes, replicas, fc.infiniteStream(fc.nat()), (all, count, order) => {
        const policy = { ...anywhere, replicas: count, diversity: { dc: 2, rack: 3 } };
        const shuffled = [...all].sort(() => ((order.next().value as number) % 2 === 0 ? 1 : -1));
        for (const key of keys) {
          expect(new Placer(shuffled, policy).place('ns', key)).toEqual(new Placer(all, policy).place('ns', key));
        }
      }),
      runs(0.3),
    );
  });

  it('chooses as many distinct nodes as it can, none that the policy rules out', () => {
    fc.assert(
      fc.property(nodes, replicas, (all, count) => {
        const policy = { ...anywhere, replicas: count, required: { disk: ['ssd'] }, forbidden: { dc: ['lon'] } };
        const eligible = all.filter((node) => node.labels.disk === 'ssd' && node.labels.dc !== 'lon');
        const placer = new Placer(all, policy);
        for (const key of keys) {
          const { holders, lacks } = placer.place('ns', key);
          expect(new Set(holders).size).toBe(holders.length);
          expect(holders.length).toBe(Math.min(count, eligible.length));
          expect(holders.every((holder) => eligible.some(({ nodeId }) => nodeId === holder))).toBe(true);
          expect(lacks).toEqual(
            holders.length < count ? [{ kind: 'replicas', wanted: count, placed: holders.length }] : [],
          );
        }
      }),
      runs(0.3),
    );
  });

  it('has as many values of a label as the nodes and the replicas allow, and says what is lacking', () => {
    fc.assert(
      fc.property(nodes, replicas, fc.integer({ min: 1, max: 4 }), (all, count, wanted) => {
        const placer = new Placer(all, { ...anywhere, replicas: count, diversity: { rack: wanted } });
        const all_ = all.map(({ nodeId }) => nodeId);
        const possible = Math.min(count, wanted, valuesOf(all, all_, 'rack').size);
        for (const key of keys) {
          const { holders, lacks } = placer.place('ns', key);
          const placed = valuesOf(all, holders, 'rack').size;
          expect(placed).toBeGreaterThanOrEqual(possible);
          expect(lacks.filter(({ kind }) => kind === 'diversity')).toEqual(
            placed < wanted ? [{ kind: 'diversity', label: 'rack', wanted, placed }] : [],
          );
        }
      }),
      runs(0.5),
    );
  });

  it('meets two labels at once where racks lie within data centres', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(2), fc.nat(2)), { minLength: 1, maxLength: 12 }), (places) => {
        const all = places.map(([dc, rack], index) => ({
          nodeId: `node-${index}` as NodeId,
          weight: 1,
          labels: { dc: `${dc}`, rack: `${dc}/${rack}` },
        }));
        const ids = all.map(({ nodeId }) => nodeId);
        const placer = new Placer(all, { ...anywhere, diversity: { dc: 2, rack: 3 } });
        for (const key of keys) {
          const { holders } = placer.place('ns', key);
          expect(valuesOf(all, holders, 'dc').size).toBeGreaterThanOrEqual(Math.min(2, valuesOf(all, ids, 'dc').size));
          expect(valuesOf(all, holders, 'rack').size).toBe(Math.min(3, valuesOf(all, ids, 'rack').size));
        }
      }),
      runs(0.5),
    );
  });

  it('moves only what a node that leaves had held, and only to it what one that joins takes', () => {
    fc.assert(
      fc.property(nodes, replicas, fc.nat(), (all, count, index) => {
        fc.pre(all.length > count);
        const policy = { ...anywhere, replicas: count };
        const gone = all[index % all.length] as PlacementNode;
        const rest = new Placer(
          all.filter((node) => node !== gone),
          policy,
        );
        const whole = new Placer(all, policy);
        for (const key of keys) {
          const before = whole.place('ns', key).holders;
          const after = rest.place('ns', key).holders;
          const kept = before.filter((holder) => holder !== gone.nodeId);
          expect(after.filter((holder) => kept.includes(holder))).toEqual(kept);
          expect(after.length - kept.length).toBe(before.length - kept.length);
        }
      }),
      runs(0.5),
    );
  });

  it('gives each node what its weight promises', () => {
    const weights = [1, 1, 2, 3, 5, 8];
    const all = weights.map((weight, index) => ({ nodeId: `node-${index}` as NodeId, weight, labels: {} }));
    const placer = new Placer(all, anywhere);
    const count = new Map<NodeId, number>();
    const sample = 20_000;
    for (let key = 0; key < sample; key += 1) {
      for (const holder of placer.place('ns', `${key}`).holders) count.set(holder, (count.get(holder) ?? 0) + 1);
    }
    const expected = inclusionProbabilities(weights, 3);
    expect(expected.reduce((sum, probability) => sum + probability, 0)).toBeCloseTo(3, 3);
    for (const [index, { nodeId }] of all.entries()) {
      const probability = expected[index] ?? 0;
      const deviation = Math.sqrt(sample * probability * (1 - probability));
      expect(Math.abs((count.get(nodeId) ?? 0) - sample * probability)).toBeLessThan(5 * deviation + 1);
    }
  });
});

describe('an arrival', () => {
  it('is the same number on every machine', () => {
    const times = ['a', 'b', 'c'].map((name) => arrival(hashWords('subject', 'key'), hashWords('node', name)));
    expect(times).toEqual([0.3216409925898381, 0.23327747480310618, 1.0080047784775954]);
  });

  it('is exponentially distributed', () => {
    const node = hashWords('node', 'one');
    const times = Array.from({ length: 20_000 }, (_, key) => arrival(hashWords('subject', `${key}`), node));
    const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
    expect(Math.abs(mean - 1)).toBeLessThan(0.04);
    for (const quantile of [0.1, 0.5, 0.9, 0.99]) {
      const share = times.filter((time) => time < -Math.log(1 - quantile)).length / times.length;
      expect(Math.abs(share - quantile)).toBeLessThan(0.015);
    }
  });
});
