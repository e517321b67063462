import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { VersionId } from '../../crdt/ids.ts';
import type { Version } from '../../crdt/version.ts';
import { nextHeads, preferredHead, VersionGraph } from '../../crdt/version-graph.ts';
import { runs } from '../support/property-runs.ts';
import { type RandomHistory, randomHistory, shuffled } from '../support/random-history.ts';
import { graphEntry } from '../support/versions.ts';

/** What three replicas hold of one history: each any set of versions with all their ancestors. */
const replicas = fc.record({
  history: randomHistory({ stepsMax: 25, clones: true }),
  picks: fc.array(fc.array(fc.nat(1_000), { maxLength: 6 }), { minLength: 3, maxLength: 3 }),
});

function held({ versions, ancestors }: RandomHistory, picks: readonly number[]): Version[] {
  const ids = new Set<VersionId>();
  for (const pick of picks) {
    const { id } = versions[pick % versions.length] as Version;
    for (const each of [id, ...(ancestors.get(id) ?? [])]) ids.add(each);
  }
  return versions.filter(({ id }) => ids.has(id));
}

const graphOf = (...parts: readonly (readonly Version[])[]): VersionGraph =>
  VersionGraph.from(parts.flat().map(graphEntry));

/** Everything a node derives from a graph. */
function face(graph: VersionGraph): unknown {
  const heads = graph.heads();
  const ranked = heads.flatMap((id) => graph.get(id) ?? []);
  return {
    heads,
    order: graph.topological().map((entry) => entry.id),
    preferred: ranked.length === 0 ? undefined : preferredHead(ranked),
    children: graph.topological().map((entry) => graph.children(entry.id)),
  };
}

describe('joining version graphs', () => {
  test('is commutative, associative and idempotent, and the empty graph changes nothing', () => {
    fc.assert(
      fc.property(replicas, fc.integer(), ({ history, picks }, seed) => {
        const [a = [], b = [], c = []] = picks.map((pick) => held(history, pick));
        const joined = face(graphOf(a, b, c));
        expect(face(graphOf(c, a, b))).toEqual(joined);
        expect(face(graphOf(b, c, a, a, c))).toEqual(joined);
        expect(face(graphOf(shuffled([...a, ...b, ...c], seed)))).toEqual(joined);
        expect(face(graphOf(a, a))).toEqual(face(graphOf(a)));
        expect(face(graphOf(a, []))).toEqual(face(graphOf(a)));
      }),
      runs(0.5),
    );
  });

  test('is monotone: no version and no ancestry is lost, and a head of the whole was a head of a part', () => {
    fc.assert(
      fc.property(replicas, ({ history, picks }) => {
        const [a = [], b = []] = picks.map((pick) => held(history, pick));
        const whole = graphOf(a, b);
        const parts = [graphOf(a), graphOf(b)];
        for (const { id } of [...a, ...b]) expect(whole.has(id)).toBe(true);
        for (const head of whole.heads()) expect(parts.some((part) => part.heads().includes(head))).toBe(true);
        for (const part of parts) {
          for (const head of part.heads()) {
            expect(whole.heads().some((top) => top === head || whole.isAncestor(head, top))).toBe(true);
          }
        }
      }),
      runs(0.5),
    );
  });

  test('gives the heads that taking in one version after the other gives', () => {
    fc.assert(
      fc.property(replicas, ({ history, picks }) => {
        const [a = [], b = []] = picks.map((pick) => held(history, pick));
        let heads: VersionId[] = [];
        const seen = new Set<VersionId>();
        for (const { id, record } of [...a, ...b]) {
          if (seen.has(id)) continue;
          seen.add(id);
          heads = nextHeads(heads, { id, parents: record.parents });
        }
        expect(heads).toEqual(graphOf(a, b).heads());
      }),
      runs(0.5),
    );
  });
});
