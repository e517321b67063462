import { describe, expect, test } from 'vitest';
import { emptyContext } from '../../../crdt/causality.ts';
import type { NodeId, VersionId } from '../../../crdt/ids.ts';
import {
  compareHeads,
  duplicateDots,
  nextHeads,
  preferredHead,
  provisionalAllowed,
  tip,
  VersionGraph,
} from '../../../crdt/version-graph.ts';
import { readVectors } from '../../support/vectors/index.ts';
import { entryOf } from '../../support/vectors/version-graph.ts';
import { actorOf, graphEntry, testNode, write } from '../../support/versions.ts';

const id = (text: string): VersionId => text as VersionId;

describe.each(readVectors('version-graph').graphs)('the graph "$name"', (vector) => {
  const entries = vector.versions.map(entryOf);
  const graph = VersionGraph.from(entries.toReversed());

  test('has the heads, the order, the gaps and the shared dots of the vector', () => {
    expect(graph.size).toBe(entries.length);
    expect(graph.heads()).toEqual(vector.heads);
    expect(graph.topological().map((entry) => entry.id)).toEqual(vector.topological);
    expect(graph.missingParents()).toEqual(vector.missingParents);
    expect(duplicateDots(entries)).toEqual(vector.duplicateDots);
  });

  test('prefers the head of the vector, and reads and writes follow the confirmed version', () => {
    const heads = entries.filter((entry) => vector.heads.includes(entry.id));
    expect(preferredHead(heads)).toBe(vector.preferred);
    for (const { confirmed, provisionalAllowed: allowed, tips } of vector.confirmed) {
      expect(preferredHead(heads, confirmed)).toBe(confirmed);
      expect(provisionalAllowed(graph, confirmed)).toBe(allowed);
      for (const { writer, tip: expected } of tips) {
        expect(tip(graph, { ...writer, node: writer.node as NodeId }, confirmed)).toBe(expected);
      }
    }
  });

  test('has the merge bases of the vector, from either side', () => {
    for (const { a, b, bases } of vector.mergeBases) {
      expect(graph.mergeBases(a, b)).toEqual(bases);
      expect(graph.mergeBases(b, a)).toEqual(bases);
    }
  });
});

describe('a graph', () => {
  const [alice, bob] = [testNode('alice'), testNode('bob')];
  const root = write(alice, []);
  const mine = write(alice, [root]);
  const yours = write(bob, [root]);
  const graph = VersionGraph.from([root, mine, yours, mine].map(graphEntry));

  test('finds a version, its parents and its children', () => {
    expect(graph.size).toBe(3);
    expect(graph.has(root.id)).toBe(true);
    expect(graph.get(mine.id)?.generation).toBe(2);
    expect(graph.parents(mine.id)).toEqual([root.id]);
    expect(graph.children(root.id)).toEqual([mine.id, yours.id].sort());
    for (const nothing of [graph.parents(id('x')), graph.children(id('x')), graph.mergeBases(id('x'), root.id)]) {
      expect(nothing).toEqual([]);
    }
    expect(graph.has(id('x'))).toBe(false);
    expect(graph.isAncestor(id('x'), root.id)).toBe(false);
    expect(graph.isAncestor(root.id, id('x'))).toBe(false);
  });

  test('without versions has neither heads, nor a tip, nor anything to show', () => {
    const empty = VersionGraph.from([]);
    expect(empty.heads()).toEqual([]);
    expect(tip(empty, { author: 'admin', node: alice.nodeId })).toBeUndefined();
    expect(provisionalAllowed(empty)).toBeUndefined();
    expect(() => preferredHead([])).toThrow();
  });

  test('passes over a confirmed version that is not here yet', () => {
    const heads = graph.heads().map((head) => graph.get(head) ?? expect.fail());
    expect(provisionalAllowed(graph, id('x'))).toBe(preferredHead(heads));
    expect(tip(graph, { author: 'admin', node: alice.nodeId }, id('x'))).toBe(preferredHead(heads));
  });

  test("lets one writer's blind writes form a line behind a confirmed version, and nobody else's", () => {
    expect(tip(graph, { author: 'admin', node: alice.nodeId }, root.id)).toBe(mine.id);
    expect(tip(graph, { author: 'admin', node: bob.nodeId }, root.id)).toBe(yours.id);
    expect(tip(graph, { author: 'ada', node: alice.nodeId }, root.id)).toBe(root.id);
  });

  test('finds its way through 20,000 versions in one line without exhausting the stack', () => {
    const actor = actorOf(alice);
    const line = Array.from({ length: 20_000 }, (_, at) => ({
      id: id(`v${at}`),
      parents: at === 0 ? [] : [id(`v${at - 1}`)],
      generation: at + 1,
      dot: { actor, counter: at + 1 },
      context: emptyContext,
      author: 'admin',
      node: alice.nodeId,
    }));
    const long = VersionGraph.from(line);
    expect(long.heads()).toEqual(['v19999']);
    expect(long.isAncestor(id('v0'), id('v19999'))).toBe(true);
    expect(long.ancestors([id('v19999')]).size).toBe(19_999);
    expect(tip(long, { author: 'admin', node: alice.nodeId }, id('v0'))).toBe('v19999');
  });
});

test('heads are ordered by generation first, then by id as text', () => {
  const ranked = [
    { id: id('b'), generation: 1 },
    { id: id('a'), generation: 2 },
    { id: id('a'), generation: 1 },
    { id: id('z'), generation: 10 },
  ];
  expect(ranked.sort(compareHeads).map((head) => `${head.generation}${head.id}`)).toEqual(['1a', '1b', '2a', '10z']);
});

test('the next heads are the last ones less the parents, and the new version once', () => {
  expect(nextHeads([], { id: id('m'), parents: [] })).toEqual(['m']);
  expect(nextHeads([id('a'), id('z')], { id: id('m'), parents: [id('a'), id('q')] })).toEqual(['m', 'z']);
  expect(nextHeads([id('a'), id('m')], { id: id('m'), parents: [] })).toEqual(['a', 'm']);
});
