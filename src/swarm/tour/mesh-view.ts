import { ApiError } from '../../client/api-error.ts';
import type { AnabranchClient } from '../../client/http-client.ts';
import type { Conflict, ObjectGraph } from '../../node/api.ts';
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

/** Waits until all nodes hold one and the same graph of an object, with exactly these heads. */
export async function graphsAgree(
  nodes: readonly TourNode[],
  { ns, key }: ObjectName,
  heads: readonly string[],
  signal: AbortSignal,
): Promise<ObjectGraph> {
  const expected = heads.toSorted().join(' ');
  const graphs = await Promise.all(
    nodes.map(({ name, client }) =>
      until(
        async () => {
          const graph = await graphOrNothing(client, ns, key, signal);
          if (graph?.heads.join(' ') === expected) return { found: graph };
          return { instead: graph === undefined ? 'no such file there' : `${graph.heads.length} head(s) there` };
        },
        { what: `${name} to have ${heads.length} head(s) of ${ns}/${key}`, withinMs: agreeMsMax, signal },
      ),
    ),
  );
  const [first, ...others] = graphs;
  const differing = others.findIndex((graph) => JSON.stringify(graph) !== JSON.stringify(first));
  if (first === undefined || differing !== -1) {
    throw new TourFault(`The version graphs of ${nodes[0]?.name} and ${nodes[differing + 1]?.name} differ.`);
  }
  return first;
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
