import { describeVersion, drawGraph, shortId } from '../../client/draw-graph.ts';
import type { WriteOptions } from '../../client/http-client.ts';
import type { Conflict, ObjectGraph, WrittenVersion } from '../../node/api.ts';
import { conflictOf, graphsAgree, groupsSettled, type ObjectName, readText } from './mesh-view.ts';
import { type SwarmControl, TourFault, type TourNode } from './tour-types.ts';
import { until, whenThere } from './until.ts';

const arriveMsMax = 30_000;

export interface BranchStep {
  readonly control: SwarmControl;
  readonly nodes: readonly TourNode[];
  /** The two sides of the cut. */
  readonly left: readonly TourNode[];
  readonly right: readonly TourNode[];
  readonly object: ObjectName;
  readonly signal: AbortSignal;
}

/** One side's write, and the text it wrote. */
export interface SideWrite {
  readonly node: TourNode;
  readonly written: WrittenVersion;
  readonly text: string;
  /** The side has a majority of the coordinators, so that its version is confirmed. */
  readonly isConfirmed: boolean;
}

export const planText = 'Plan for the trip\n- leave at noon\n';

export async function writePlan({ nodes, object, signal }: BranchStep, writer: TourNode): Promise<WrittenVersion> {
  const written = await putText(writer, object, planText, { signal });
  await graphsAgree(nodes, object, { heads: [written.version], confirmed: written.version }, signal);
  await everyoneReads(nodes, object, planText, signal);
  return written;
}

export async function cutMesh({ control, left, right, signal }: BranchStep): Promise<void> {
  await control.partition([left, right].map((side) => side.map(({ name }) => name)));
  await groupsSettled([left, right], signal);
}

/**
 * Both sides write, and each side sees its own version as the only head. The side with a majority of the coordinators
 * has its version confirmed; on the other side the plan stays what is confirmed.
 */
export async function writeBothSides(
  step: BranchStep,
  writers: readonly [TourNode, TourNode],
  plan: string,
): Promise<SideWrite[]> {
  const { left, right, object, signal } = step;
  const lines = ['bring the map', 'bring water'];
  const sides: SideWrite[] = [];
  for (const [index, node] of writers.entries()) {
    const text = `${planText}- ${lines[index]} (written on ${node.name})\n`;
    const isConfirmed = (await node.client.status(signal)).quorum.available;
    // By itself it would be confirmed only once there are two proved copies, and there may be no second one on this side.
    const commit = isConfirmed ? 'quorum' : 'local';
    sides.push({ node, text, written: await putText(node, object, text, { commit, signal }), isConfirmed });
  }
  if (sides.filter(({ isConfirmed }) => isConfirmed).length !== 1) {
    throw new TourFault('Not exactly one side has a majority of the coordinators.');
  }
  for (const [index, side] of [left, right].entries()) {
    const own = sides[index];
    if (own === undefined) continue;
    const { version } = own.written;
    await graphsAgree(side, object, { heads: [version], confirmed: own.isConfirmed ? version : plan }, signal);
    await everyoneReads(side, object, own.text, signal, version);
    await everyoneReads(side, object, own.isConfirmed ? own.text : planText, signal);
  }
  return sides;
}

export interface Healed {
  readonly graph: ObjectGraph;
  readonly conflict: Conflict;
}

/** Ends the cut: every node then has both versions, prefers the same one and has raised the conflict. */
export async function healMesh(step: BranchStep, sides: readonly SideWrite[]): Promise<Healed> {
  const { control, nodes, object, signal } = step;
  const listening = new AbortController();
  const until = AbortSignal.any([signal, listening.signal]);
  try {
    const raised = await Promise.all(nodes.map((node) => conflictEvent(node, object, until)));
    await control.heal();
    await groupsSettled([nodes], signal);
    const heads = sides.map(({ written }) => written.version);
    const confirmed = confirmedOf(sides);
    const graph = await graphsAgree(nodes, object, { heads, confirmed }, signal);
    await Promise.all(raised.map((event) => event()));
    const conflict = await listedEverywhere(step, graph);
    for (const { written, text } of sides) await everyoneReads(nodes, object, text, signal, written.version);
    return { graph, conflict };
  } finally {
    listening.abort();
  }
}

/** A person's answer to the conflict: one text that has both lines, and names both versions as what it is based on. */
export async function mergeSides(
  step: BranchStep,
  sides: readonly SideWrite[],
  writer: TourNode,
): Promise<ObjectGraph> {
  const { nodes, object, signal } = step;
  const added = sides.map(({ text }) => text.slice(planText.length));
  const text = planText + added.join('');
  const parents = sides.map(({ written }) => written.version);
  const merged = await putText(writer, object, text, { parents, signal });
  if (merged.kind !== 'merge') throw new TourFault(`The merge was stored as a ${merged.kind}.`);
  const graph = await graphsAgree(nodes, object, { heads: [merged.version], confirmed: merged.version }, signal);
  await everyoneReads(nodes, object, text, signal);
  for (const { name, client } of nodes) {
    const conflict = await conflictOf(client, object, signal);
    if (conflict !== undefined) throw new TourFault(`${name} still lists the conflict.`);
  }
  return graph;
}

/** The version of the side that had a majority of the coordinators. */
function confirmedOf(sides: readonly SideWrite[]): string {
  return sides.find(({ isConfirmed }) => isConfirmed)?.written.version ?? '';
}

/** The graph as text, with the nodes' names. */
export async function drawing({ nodes, signal }: BranchStep, graph: ObjectGraph): Promise<string[]> {
  const [first] = nodes;
  const known = first === undefined ? [] : (await first.client.nodes(signal)).nodes;
  const names = new Map(known.map(({ nodeId, name }) => [nodeId as string, name]));
  return drawGraph(graph.versions, graph.heads, graph.preferred, (version) => describeVersion(version, names));
}

/** Where a version came from, in a few words. */
export function sideOf(version: string, sides: readonly SideWrite[]): string {
  const side = sides.find(({ written }) => written.version === version);
  return `${shortId(version)} (written on ${side?.node.name ?? 'another node'})`;
}

function putText(
  { client }: TourNode,
  { ns, key }: ObjectName,
  text: string,
  options: Pick<WriteOptions, 'parents' | 'commit' | 'signal'>,
): Promise<WrittenVersion> {
  return client.put(ns, key, Buffer.from(text), { type: 'text/plain; charset=utf-8', ...options });
}

async function everyoneReads(
  nodes: readonly TourNode[],
  object: ObjectName,
  expected: string,
  signal: AbortSignal,
  version?: string,
): Promise<void> {
  const options = version === undefined ? { signal } : { version, signal };
  await Promise.all(
    nodes.map(async ({ name, client }) => {
      const what = `${name} to have the text of ${object.key}`;
      const read = await whenThere(() => readText(client, object, options), { what, withinMs: arriveMsMax, signal });
      if (read.text !== expected) throw new TourFault(`${name} reads ${JSON.stringify(read.text)}.`);
    }),
  );
}

/** Starts to listen, and returns what waits for the event that tells of the conflict. */
async function conflictEvent(node: TourNode, object: ObjectName, signal: AbortSignal): Promise<() => Promise<void>> {
  const events = await node.client.events({ signal });
  let raised = false;
  let ended = '';
  const listen = async (): Promise<void> => {
    for await (const event of events) {
      if (event.type === 'conflict' && event.data.ns === object.ns && event.data.key === object.key) raised = true;
    }
    ended = ' (its event stream ended)';
  };
  listen().catch((error: Error) => {
    ended = ` (its event stream failed: ${error.message})`;
  });
  return () =>
    until(async () => (raised ? { found: undefined } : { instead: `no such event${ended}` }), {
      what: `${node.name} to raise a conflict event`,
      withinMs: arriveMsMax,
      signal,
    });
}

async function listedEverywhere({ nodes, object, signal }: BranchStep, graph: ObjectGraph): Promise<Conflict> {
  const listed = await Promise.all(nodes.map(({ client }) => conflictOf(client, object, signal)));
  const missing = listed.findIndex((conflict) => conflict?.preferred !== graph.preferred);
  const [first] = listed;
  if (first === undefined || missing !== -1) {
    throw new TourFault(
      `${nodes[Math.max(missing, 0)]?.name} does not list the conflict with the head that all prefer.`,
    );
  }
  return first;
}
