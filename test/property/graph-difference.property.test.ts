import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type GraphLink, isReachable, missingVersions } from '../../crdt/graph-difference.ts';
import type { VersionId } from '../../crdt/ids.ts';
import { runs } from '../support/property-runs.ts';

type Graph = Map<VersionId, GraphLink>;

/** A random DAG of up to 40 versions: each names up to three earlier ones as parents. */
const graphs = fc.array(fc.array(fc.nat(), { maxLength: 3 }), { minLength: 1, maxLength: 40 }).map((choices): Graph => {
  const graph: Graph = new Map();
  const ids: VersionId[] = [];
  for (const [index, picks] of choices.entries()) {
    const parents = index === 0 ? [] : [...new Set(picks.map((pick) => ids[pick % index] as VersionId))];
    const generation = 1 + Math.max(0, ...parents.map((id) => graph.get(id)?.generation ?? 0));
    const id = `v${String((index * 7919) % 997).padStart(3, '0')}` as VersionId;
    graph.set(id, { parents, generation });
    ids.push(id);
  }
  return graph;
});

function closure(graph: Graph, from: readonly VersionId[]): Set<VersionId> {
  const reached = new Set<VersionId>();
  const visit = (id: VersionId): void => {
    const link = graph.get(id);
    if (link === undefined || reached.has(id)) return;
    reached.add(id);
    for (const parent of link.parents) visit(parent);
  };
  for (const id of from) visit(id);
  return reached;
}

const pick = (graph: Graph, numbers: readonly number[]): VersionId[] => {
  const ids = [...graph.keys()];
  return numbers.map((number) => ids[number % ids.length] as VersionId);
};

describe('missingVersions', () => {
  it('is what the heads reach and the other side does not, each once, parents first', () => {
    fc.assert(
      fc.property(graphs, fc.array(fc.nat()), fc.array(fc.nat()), (graph, headPicks, havePicks) => {
        const heads = pick(graph, headPicks);
        const have = pick(graph, havePicks);
        const missing = missingVersions(heads, [...have, 'unknown' as VersionId], (id) => graph.get(id));
        const had = closure(graph, have);
        const expected = [...closure(graph, heads)].filter((id) => !had.has(id));
        expect([...missing].sort()).toEqual(expected.sort());
        const sent = new Set(had);
        for (const id of missing) {
          for (const parent of graph.get(id)?.parents ?? []) expect(sent).toContain(parent);
          sent.add(id);
        }
      }),
      runs(5),
    );
  });

  it('does not look at history that both sides share', () => {
    const length = 10_000;
    const chain: Graph = new Map();
    const idAt = (index: number): VersionId => `v${String(index).padStart(6, '0')}` as VersionId;
    for (let index = 0; index < length; index += 1) {
      chain.set(idAt(index), { parents: index === 0 ? [] : [idAt(index - 1)], generation: index + 1 });
    }
    let looked = 0;
    const missing = missingVersions([idAt(length - 1)], [idAt(length - 4)], (id) => {
      looked += 1;
      return chain.get(id);
    });
    expect(missing).toEqual([idAt(length - 3), idAt(length - 2), idAt(length - 1)]);
    expect(looked).toBeLessThan(10);
  });
});

describe('isReachable', () => {
  it('agrees with the closure over parents', () => {
    fc.assert(
      fc.property(graphs, fc.nat(), fc.nat(), (graph, elderPick, youngerPick) => {
        const [elder, younger] = pick(graph, [elderPick, youngerPick]) as [VersionId, VersionId];
        const expected = elder !== younger && closure(graph, [younger]).has(elder);
        expect(isReachable(elder, younger, (id) => graph.get(id))).toBe(expected);
      }),
      runs(5),
    );
  });
});
