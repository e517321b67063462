import { emptyContext } from '../../../crdt/causality.ts';
import type { Actor, NodeId, VersionId } from '../../../crdt/ids.ts';
import {
  duplicateDots,
  type GraphEntry,
  preferredHead,
  provisionalAllowed,
  tip,
  VersionGraph,
} from '../../../crdt/version-graph.ts';

/** A version in short: `id: parents by node/author, dot`. Letters stand for ids, since a graph only compares them. */
interface Sketch {
  readonly id: string;
  readonly parents: readonly string[];
  readonly generation: number;
  readonly dot: { readonly actor: string; readonly counter: number };
  readonly node: string;
  readonly author: string;
}

interface Writer {
  readonly author: string;
  readonly node: string;
}

const admin: Writer = { author: 'admin', node: 'x' };
const ada: Writer = { author: 'ada', node: 'y' };

/** `versions` are `id`, parents in one string, counter, and the writer when it is not the admin at x. */
function sketch(versions: readonly [id: string, parents: string, counter: number, by?: Writer][]): Sketch[] {
  const generations = new Map<string, number>();
  return versions.map(([id, parents, counter, { author, node } = admin]) => {
    const generation = 1 + Math.max(0, ...[...parents].map((parent) => generations.get(parent) ?? 0));
    generations.set(id, generation);
    return { id, parents: [...parents], generation, dot: { actor: `${node}.1`, counter }, node, author };
  });
}

export const entryOf = (version: Sketch): GraphEntry => ({
  id: version.id as VersionId,
  parents: version.parents as VersionId[],
  generation: version.generation,
  dot: { actor: version.dot.actor as Actor, counter: version.dot.counter },
  context: emptyContext,
  author: version.author,
  node: version.node as NodeId,
});

const sketches: readonly { readonly name: string; readonly versions: Sketch[] }[] = [
  { name: 'one version', versions: sketch([['a', '', 1]]) },
  {
    name: 'a line',
    versions: sketch([
      ['a', '', 1],
      ['b', 'a', 2],
      ['c', 'b', 3],
    ]),
  },
  {
    name: 'two first writes',
    versions: sketch([
      ['a', '', 1],
      ['b', '', 1, ada],
    ]),
  },
  {
    name: 'a longer branch wins',
    versions: sketch([
      ['a', '', 1],
      ['z', 'a', 2],
      ['b', 'a', 1, ada],
      ['c', 'b', 2, ada],
    ]),
  },
  {
    name: 'a merge',
    versions: sketch([
      ['a', '', 1],
      ['b', 'a', 2],
      ['c', 'a', 1, ada],
      ['d', 'bc', 3],
      ['e', 'd', 4],
    ]),
  },
  {
    name: 'criss-cross',
    versions: sketch([
      ['a', '', 1],
      ['b', 'a', 2],
      ['c', 'a', 1, ada],
      ['d', 'bc', 3],
      ['e', 'bc', 2, ada],
    ]),
  },
  {
    name: 'a branch off an old version, and a dot that was issued twice',
    versions: sketch([
      ['a', '', 1],
      ['b', 'a', 2],
      ['c', 'b', 3],
      ['d', 'a', 2],
      ['e', 'd', 3, ada],
    ]),
  },
  {
    name: 'a parent is missing',
    versions: sketch([
      ['b', 'a', 2],
      ['c', 'b', 3],
      ['d', 'q', 1, ada],
    ]),
  },
];

function queries(graph: VersionGraph, versions: readonly Sketch[]) {
  const ids = versions.map(({ id }) => id as VersionId);
  const heads = graph.heads();
  const ranked = heads.map((id) => ({ id, generation: graph.get(id)?.generation ?? 0 }));
  return {
    heads,
    missingParents: graph.missingParents(),
    topological: graph.topological().map(({ id }) => id),
    preferred: preferredHead(ranked),
    duplicateDots: duplicateDots(graph.topological()),
    confirmed: ids.map((confirmed) => ({
      confirmed,
      provisionalAllowed: provisionalAllowed(graph, confirmed),
      tips: [admin, ada].map((writer) => ({
        writer,
        tip: tip(graph, writer as { author: string; node: NodeId }, confirmed),
      })),
    })),
    mergeBases: ids.flatMap((a) => ids.filter((b) => a < b).map((b) => ({ a, b, bases: graph.mergeBases(a, b) }))),
  };
}

export function versionGraphVectors() {
  return {
    about:
      'Version graphs in short ids (they are only compared, as text) and what follows from each: heads, the preferred head without confirmation, and per confirmed version what provisional_allowed shows and where a blind write of each writer goes.',
    graphs: sketches.map(({ name, versions }) => ({
      name,
      versions,
      ...queries(VersionGraph.from(versions.map(entryOf)), versions),
    })),
  };
}
