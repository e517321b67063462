import { performance } from 'node:perf_hooks';
import { blake3 } from '../../crdt/digest.ts';
import type { NodeId } from '../../crdt/ids.ts';
import { type PlacementNode, type PlacementPolicy, Placer } from '../../crdt/placement.ts';
import { type BenchCase, benchCase, median } from '../support/cases.ts';
import { inclusionProbabilities } from './inclusion.ts';

const keys = 100_000;
const rounds = 3;
const replicas = 3;
const anywhere: PlacementPolicy = { replicas, diversity: {}, required: {}, forbidden: {} };
const spread: PlacementPolicy = { ...anywhere, diversity: { dc: 2, rack: 3 } };

/** How fast objects are placed, how evenly, and how little moves when a node comes or goes. */
export async function benchPlacement(say: (text: string) => void): Promise<BenchCase[]> {
  const bench = 'placement';
  const reference = { name: 'BLAKE3 of the key, each in a call of its own', value: median(repeat(hashesPerSecond)) };
  const speed = (count: number, policy: PlacementPolicy, atLeast: number): BenchCase =>
    benchCase({
      bench,
      case: `${count} nodes${policy === spread ? ', dc: 2, rack: 3' : ''}`,
      value: median(repeat(() => keysPerSecond(nodes(count), policy))),
      unit: '/s',
      reference,
      target: { of: 'value', atLeast },
    });
  say(`placing ${keys} keys on 12 and on 100 nodes, ${rounds} times`);
  const speeds = [
    speed(12, anywhere, 100_000),
    speed(12, spread, 100_000),
    speed(100, anywhere, 20_000),
    speed(100, spread, 20_000),
  ];
  say('loads');
  const percent = (name: string, value: number, atMost: number): BenchCase =>
    benchCase({ bench, case: name, value: 100 * value, unit: '%', target: { of: 'value', atMost } });
  const weighted = nodes(12).map((node, index) => ({ ...node, weight: 1 + (index % 4) }));
  return [
    ...speeds,
    percent('12 equal nodes, farthest load from the mean', farthestFromMean(nodes(12)), 5),
    percent('12 weighted nodes, farthest from the computed inclusion', farthestFromInclusion(weighted), 3),
    benchCase({
      bench,
      case: '12 weighted nodes, farthest inclusion from the weight',
      value: 100 * farthestInclusionFromWeight(weighted),
      unit: '%',
    }),
    percent('a node leaves, keys moved beyond the least possible', movedBeyondLeast(nodes(12), nodes(11)), 5),
    percent('a node joins, keys moved beyond the least possible', movedBeyondLeast(nodes(12), nodes(13)), 5),
  ];
}

function nodes(count: number): PlacementNode[] {
  return Array.from({ length: count }, (_, index) => ({
    nodeId: `node-${index}` as NodeId,
    weight: 1,
    labels: { dc: `dc-${index % 3}`, rack: `rack-${index % 6}` },
  }));
}

function repeat(measure: () => number): number[] {
  return Array.from({ length: rounds }, measure);
}

function keysPerSecond(all: readonly PlacementNode[], policy: PlacementPolicy): number {
  const placer = new Placer(all, policy);
  const startMs = performance.now();
  for (let key = 0; key < keys; key += 1) placer.place('bench', `objects/${key}`);
  return keys / ((performance.now() - startMs) / 1_000);
}

function hashesPerSecond(): number {
  const startMs = performance.now();
  for (let key = 0; key < keys; key += 1) blake3(Buffer.from(`bench/objects/${key}`));
  return keys / ((performance.now() - startMs) / 1_000);
}

function loads(all: readonly PlacementNode[]): number[] {
  const placer = new Placer(all, anywhere);
  const count = new Map<NodeId, number>();
  for (let key = 0; key < keys; key += 1) {
    for (const node of placer.place('bench', `objects/${key}`).holders) count.set(node, (count.get(node) ?? 0) + 1);
  }
  return all.map(({ nodeId }) => count.get(nodeId) ?? 0);
}

function farthestFromMean(all: readonly PlacementNode[]): number {
  const mean = (keys * replicas) / all.length;
  return Math.max(...loads(all).map((load) => Math.abs(load / mean - 1)));
}

/** By how much the loads differ from what is computed, in shares of it; sampling alone makes about 1% of 100,000 keys. */
function farthestFromInclusion(all: readonly PlacementNode[]): number {
  const expected = inclusionProbabilities(
    all.map(({ weight }) => weight),
    replicas,
  );
  return Math.max(...loads(all).map((load, index) => Math.abs(load / (keys * (expected[index] ?? 0)) - 1)));
}

/** No node holds an object twice, so heavy nodes get less than their weight's share of the replicas, and light ones more. */
function farthestInclusionFromWeight(all: readonly PlacementNode[]): number {
  const weights = all.map(({ weight }) => weight);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return Math.max(
    ...inclusionProbabilities(weights, replicas).map((probability, index) =>
      Math.abs(probability / ((replicas * (weights[index] ?? 0)) / total) - 1),
    ),
  );
}

/**
 * Replicas that moved beyond the least there could be, as a share of that: what the node that left had held, or what
 * falls to the one that came.
 */
function movedBeyondLeast(before: readonly PlacementNode[], after: readonly PlacementNode[]): number {
  const [old, young] = [new Placer(before, anywhere), new Placer(after, anywhere)];
  const changed = new Set(
    [...before, ...after]
      .map(({ nodeId }) => nodeId)
      .filter((id) => before.some((node) => node.nodeId === id) !== after.some((node) => node.nodeId === id)),
  );
  let least = 0;
  let moved = 0;
  for (let key = 0; key < keys; key += 1) {
    const was = new Set(old.place('bench', `objects/${key}`).holders);
    const is = new Set(young.place('bench', `objects/${key}`).holders);
    for (const node of is) if (!was.has(node)) moved += 1;
    for (const node of changed) if (was.has(node) || is.has(node)) least += 1;
  }
  return moved / least - 1;
}
