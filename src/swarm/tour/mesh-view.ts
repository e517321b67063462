import { ApiError } from '../../client/api-error.ts';
import type { AnabranchClient } from '../../client/http-client.ts';
import type { Conflict, ObjectGraph } from '../../node/api.ts';
import { listOf } from './stage.ts';
import { TourFault, type TourNode } from './tour-types.ts';
import { until } from './until.ts';

/** The tour's questions to the whole mesh. */

const meetMsMax = 60_000;
const agreeMsMax = 60_000;
/** The tour's own small texts, and nothing longer. */
const textBytesMax = 64 * 1024;

export interface ObjectName {
  readonly ns: string;
  readonly key: string;
}

/** Waits until every node is connected to exactly the others of its group. */
export async function groupsSettled(groups: readonly (readonly TourNode[])[], signal: AbortSignal): Promise<void> {
  const settled = groups.flatMap((group) =>
    group.map(({ name, client }) =>
      until(
        async () => {
          const { connected } = (await client.status(signal)).peers;
          return connected === group.length - 1 ? { found: true } : { instead: `${name} sees ${connected} others` };
        },
        { what: `${name} to see ${group.length - 1} other nodes`, withinMs: meetMsMax, signal },
      ),
    ),
  );
  await Promise.all(settled);
}

/** What a graph has to show. */
export interface ExpectedGraph {
  readonly heads: readonly string[];
  /** The confirmed head. */
  readonly confirmed: string;
}

/** Waits until all nodes hold one and the same graph of an object, with exactly these heads, one version confirmed. */
export async function graphsAgree(
  nodes: readonly TourNode[],
  { ns, key }: ObjectName,
  { heads, confirmed }: ExpectedGraph,
  signal: AbortSignal,
): Promise<ObjectGraph> {
  const expected = heads.toSorted().join(' ');
  const differing = (graph: ObjectGraph | undefined): string | undefined => {
    if (graph === undefined) return 'no such file';
    if (graph.heads.join(' ') !== expected) return `${graph.heads.length} head(s)`;
    if (graph.confirmedHead === confirmed) return undefined;
    return graph.confirmedHead === null ? 'nothing confirmed' : 'another version confirmed';
  };
  return until(
    async () => {
      const graphs = await Promise.all(nodes.map(({ client }) => graphOrNothing(client, ns, key, signal)));
      for (const [index, graph] of graphs.entries()) {
        const difference = differing(graph);
        if (difference !== undefined) return { instead: `${nodes[index]?.name} has ${difference}` };
      }
      const texts = new Set(graphs.map((graph) => JSON.stringify(graph)));
      const [first] = graphs;
      return first !== undefined && texts.size === 1 ? { found: first } : { instead: 'their graphs differ' };
    },
    {
      what: `${listOf(nodes)} to have the same graph of ${ns}/${key}, with ${heads.length} head(s)`,
      withinMs: agreeMsMax,
      signal,
    },
  );
}

async function graphOrNothing(
  client: AnabranchClient,
  ns: string,
  key: string,
  signal: AbortSignal,
): Promise<ObjectGraph | undefined> {
  try {
    return await client.graph(ns, key, signal);
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined;
    throw error;
  }
}

/** One node's open conflict of an object, if it lists one. */
export async function conflictOf(
  client: AnabranchClient,
  { ns, key }: ObjectName,
  signal: AbortSignal,
): Promise<Conflict | undefined> {
  let after: string | undefined;
  do {
    const page = await client.conflicts({ ns, after }, signal);
    const found = page.conflicts.find((conflict) => conflict.ns === ns && conflict.key === key);
    if (found !== undefined) return found;
    after = page.next ?? undefined;
  } while (after !== undefined);
  return undefined;
}

/** A small text as one node reads it; every byte is checked against its BLAKE3 hash on the way. */
export async function readText(
  client: AnabranchClient,
  { ns, key }: ObjectName,
  options: { readonly version?: string; readonly signal: AbortSignal },
): Promise<{ readonly text: string; readonly b3: string }> {
  const read = await client.get(ns, key, options);
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of read.body) {
    bytes += piece.length;
    if (bytes > textBytesMax) throw new TourFault(`${ns}/${key} is longer than anything the tour wrote.`);
    pieces.push(piece);
  }
  return { text: Buffer.concat(pieces).toString('utf8'), b3: read.b3 };
}
