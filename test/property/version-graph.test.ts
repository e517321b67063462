import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type DotContext, headsByContext, supersedes } from '../../crdt/causality.ts';
import type { VersionId } from '../../crdt/ids.ts';
import { buildChange, openDocument } from '../../crdt/object-document.ts';
import { checkAgainstParents, decodeVersion, type Version } from '../../crdt/version.ts';
import {
  compareHeads,
  duplicateDots,
  nextHeads,
  preferredHead,
  provisionalAllowed,
  tip,
  VersionGraph,
} from '../../crdt/version-graph.ts';
import { runs } from '../support/property-runs.ts';
import { arrivalOrder, type RandomHistory, randomHistory, shuffled } from '../support/random-history.ts';
import { graphEntry } from '../support/versions.ts';

const seed = fc.integer();
const stepsMax = 40;
/** Histories of a few actors, and of many of which most are retired. */
const history = fc.oneof(randomHistory({ stepsMax }), randomHistory({ stepsMax, restartShare: 0.6 }));
const clonedHistory = randomHistory({ stepsMax, clones: true });

const graphOf = (versions: readonly Version[]): VersionGraph => VersionGraph.from(versions.map(graphEntry));

const rankOf = ({ id, record }: Version): { id: VersionId; generation: number } => ({
  id,
  generation: record.generation,
});

/** The oracle's heads: versions that are nobody's ancestor. */
function headsByOracle({ versions, ancestors }: RandomHistory): VersionId[] {
  const superseded = new Set([...ancestors.values()].flatMap((ids) => [...ids]));
  return versions
    .map(({ id }) => id)
    .filter((id) => !superseded.has(id))
    .sort();
}

const dotName = (dot: { actor: string; counter: number }): string => `${dot.actor}/${dot.counter}`;

function dotsOf(context: DotContext): string[] {
  const dots: string[] = [];
  for (const [actor, ranges] of context) {
    for (const [first, last] of ranges) {
      for (let counter = first; counter <= last; counter += 1) dots.push(dotName({ actor, counter }));
    }
  }
  return dots.sort();
}

/** A node that takes records in as they arrive, the way the mesh does: text first, then parents, then the change. */
function receive(order: readonly Version[], isAncestor: RandomHistory['ancestors']) {
  const held = new Map<VersionId, { version: Version; change: { bytes: Uint8Array; hash: string } }>();
  let heads: VersionId[] = [];
  for (const { text } of order) {
    const decoded = decodeVersion(Buffer.from(text, 'utf8'));
    if (!decoded.ok) throw new Error(decoded.error.message);
    const version = decoded.value;
    const parents = version.record.parents.map((id) => held.get(id) ?? expect.fail(`${id} comes later`));
    const fault = checkAgainstParents(
      version,
      parents.map((parent) => parent.version),
      (elder, younger) => isAncestor.get(younger)?.has(elder) ?? false,
    );
    expect(fault).toBeUndefined();
    held.set(version.id, {
      version,
      change: buildChange(
        version,
        parents.map((parent) => parent.change.hash),
      ),
    });
    heads = nextHeads(heads, { id: version.id, parents: version.record.parents });
  }
  return { held, heads };
}

function automergeHeads(changes: readonly Uint8Array[]): VersionId[] {
  const document = openDocument(changes);
  try {
    return document.heads();
  } finally {
    document.free();
  }
}

describe('the version graph, the dots and the Automerge document', () => {
  test('name the same heads, whatever order the versions arrived in', () => {
    fc.assert(
      fc.property(history, seed, (random, order) => {
        const oracle = headsByOracle(random);
        const { held, heads } = receive(arrivalOrder(random.versions, order), random.ancestors);
        const received = [...held.values()];
        const changes = shuffled(
          received.map(({ change }) => change.bytes),
          order,
        );
        expect(heads).toEqual(oracle);
        expect(graphOf(received.map(({ version }) => version)).heads()).toEqual(oracle);
        expect(automergeHeads(changes)).toEqual(oracle);
        const dotted = received.map(({ version: { id, record, context } }) => ({ id, dot: record.dot, context }));
        expect(headsByContext(dotted)).toEqual(oracle);
      }),
      runs(2.5),
    );
  });

  test('agree on heads of the graph and of Automerge when dots are issued twice, and lose no version', () => {
    let duplicates = 0;
    fc.assert(
      fc.property(clonedHistory, seed, (random, order) => {
        const oracle = headsByOracle(random);
        const { held, heads } = receive(arrivalOrder(random.versions, order), random.ancestors);
        expect(held.size).toBe(random.versions.length);
        expect(heads).toEqual(oracle);
        const graph = graphOf(shuffled(random.versions, order));
        expect(graph.size).toBe(random.versions.length);
        expect(graph.heads()).toEqual(oracle);
        expect(automergeHeads([...held.values()].map(({ change }) => change.bytes))).toEqual(oracle);

        const byDot = Map.groupBy(random.versions, ({ record }) => dotName(record.dot));
        const expected = [...byDot.values()].filter((sharing) => sharing.length > 1);
        const noticed = duplicateDots(graph.topological());
        expect(noticed.map(({ dot }) => dotName(dot)).sort()).toEqual(
          expected.map(([first]) => dotName((first as Version).record.dot)).sort(),
        );
        expect(noticed.flatMap(({ versions }) => versions).sort()).toEqual(
          expected.flatMap((sharing) => sharing.map(({ id }) => id)).sort(),
        );
        duplicates += noticed.length;
      }),
      runs(2),
    );
    expect(duplicates).toBeGreaterThan(0);
  });

  test("have in each context exactly the ancestors' dots", () => {
    fc.assert(
      fc.property(history, ({ versions, ancestors }) => {
        const byId = new Map(versions.map((version) => [version.id, version]));
        for (const { id, context } of versions) {
          const dots = [...(ancestors.get(id) ?? [])].map((elder) => dotName((byId.get(elder) as Version).record.dot));
          expect(dotsOf(context)).toEqual(dots.sort());
        }
      }),
      runs(2),
    );
  });

  test('agree on who is whose ancestor', () => {
    fc.assert(
      fc.property(history, seed, ({ versions, ancestors }, order) => {
        const graph = graphOf(shuffled(versions, order));
        const dotted = versions.map(({ id, record, context }) => ({ id, dot: record.dot, context }));
        for (const younger of dotted) {
          const truth = [...(ancestors.get(younger.id) ?? [])].sort();
          const byWalk = dotted.filter((elder) => graph.isAncestor(elder.id, younger.id)).map(({ id }) => id);
          const byDots = dotted.filter((elder) => supersedes(younger, elder)).map(({ id }) => id);
          expect([...graph.ancestors([younger.id])].sort()).toEqual(truth);
          expect(byWalk.sort()).toEqual(truth);
          expect(byDots.sort()).toEqual(truth);
        }
      }),
      runs(1),
    );
  });

  test('are built byte for byte alike on two nodes', () => {
    fc.assert(
      fc.property(history, seed, seed, ({ versions, ancestors }, one, other) => {
        const here = receive(arrivalOrder(versions, one), ancestors).held;
        const there = receive(arrivalOrder(versions, other), ancestors).held;
        for (const [id, { version, change }] of here) {
          expect(there.get(id)?.version).toEqual(version);
          expect(there.get(id)?.change).toEqual(change);
        }
      }),
      runs(1.5),
    );
  });
});

describe('the preferred head', () => {
  test('does not depend on the order of arrival, and is the greatest by generation and id', () => {
    fc.assert(
      fc.property(history, seed, (random, order) => {
        const heads = new Set(headsByOracle(random));
        const ranked = random.versions.filter(({ id }) => heads.has(id)).map(rankOf);
        const greatest = [...ranked].sort(compareHeads).at(-1);
        expect(preferredHead(shuffled(ranked, order))).toBe(greatest?.id);
        expect(provisionalAllowed(graphOf(shuffled(random.versions, order)))).toBe(greatest?.id);
      }),
      runs(2),
    );
  });

  test('is the confirmed version when there is one; the newest provisional head descends from it', () => {
    fc.assert(
      fc.property(history, fc.nat(), (random, choice) => {
        const { versions, ancestors } = random;
        const confirmed = (versions[choice % versions.length] as Version).id;
        const heads = new Set(headsByOracle(random));
        const ranked = versions.filter(({ id }) => heads.has(id)).map(rankOf);
        expect(preferredHead(ranked, confirmed)).toBe(confirmed);
        const allowed = ranked.filter(({ id }) => id === confirmed || ancestors.get(id)?.has(confirmed));
        expect(provisionalAllowed(graphOf(versions), confirmed)).toBe(allowed.sort(compareHeads).at(-1)?.id);
      }),
      runs(2),
    );
  });
});

describe('the tip', () => {
  test("is reached from the preferred head through the writer's own versions alone, and is the greatest such", () => {
    fc.assert(
      fc.property(history, fc.nat(), fc.nat(), (random, confirmedAt, writerAt) => {
        const { versions, ancestors } = random;
        const confirmed = (versions[confirmedAt % versions.length] as Version).id;
        const { author, node } = (versions[writerAt % versions.length] as Version).record;
        // The oracle grows the set by whole rounds instead of walking it.
        const reached = new Set([confirmed]);
        for (const { id, record } of [...versions].sort((a, b) => compareHeads(rankOf(a), rankOf(b)))) {
          const own = record.author === author && record.node === node;
          if (own && record.parents.some((parent) => reached.has(parent))) reached.add(id);
        }
        const expected = versions
          .filter(({ id }) => reached.has(id))
          .map(rankOf)
          .sort(compareHeads)
          .at(-1)?.id;
        const found = tip(graphOf(versions), { author, node }, confirmed);
        expect(found).toBe(expected);
        expect(found === confirmed || ancestors.get(found as VersionId)?.has(confirmed)).toBe(true);
      }),
      runs(2),
    );
  });
});

describe('merge bases', () => {
  test('are the common ancestors that no other common ancestor supersedes', () => {
    fc.assert(
      fc.property(history, fc.nat(), fc.nat(), ({ versions, ancestors }, one, other) => {
        const a = (versions[one % versions.length] as Version).id;
        const b = (versions[other % versions.length] as Version).id;
        const ofA = new Set([a, ...(ancestors.get(a) ?? [])]);
        const common = [b, ...(ancestors.get(b) ?? [])].filter((id) => ofA.has(id));
        const expected = common.filter((id) => !common.some((descendant) => ancestors.get(descendant)?.has(id)));
        const graph = graphOf(versions);
        expect(graph.mergeBases(a, b)).toEqual(expected.sort());
        expect(graph.mergeBases(b, a)).toEqual(graph.mergeBases(a, b));
      }),
      runs(2),
    );
  });
});

describe('a graph that is not complete', () => {
  test('names exactly the parents it lacks, and orders what it has with parents first', () => {
    fc.assert(
      fc.property(history, seed, ({ versions }, order) => {
        const here = shuffled(versions, order).slice(0, Math.ceil(versions.length / 2));
        const ids = new Set(here.map(({ id }) => id));
        const graph = graphOf(here);
        const lacking = new Set(here.flatMap(({ record }) => record.parents).filter((id) => !ids.has(id)));
        expect(graph.missingParents()).toEqual([...lacking].sort());
        const placed = new Set<VersionId>();
        for (const { id, parents } of graph.topological()) {
          for (const parent of parents) if (ids.has(parent)) expect(placed.has(parent)).toBe(true);
          placed.add(id);
        }
        expect(placed).toEqual(ids);
      }),
      runs(0.5),
    );
  });
});
