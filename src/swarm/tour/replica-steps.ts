import { formatBytes } from '../../client/draw-graph.ts';
import type { NodeInfo, RepairPlanPage, ReplicaPage, ReplicationStatus } from '../../node/api.ts';
import type { ObjectName } from './mesh-view.ts';
import { type SwarmControl, TourFault, type TourNode } from './tour-types.ts';
import { until } from './until.ts';

/** What the tour does with the places where content is kept, and what it checks of them. */

const policyMsMax = 30_000;
const healthMsMax = 120_000;
/** Until a node that was killed is given up, or is back: its silence, the repair delay and the moving. */
const repairMsMax = 180_000;
const auditSeconds = 30;
const replicasWanted = 3;
const plannedShown = 4;

export interface ReplicaStep {
  readonly control: SwarmControl;
  readonly nodes: readonly TourNode[];
  readonly ns: string;
  readonly signal: AbortSignal;
}

/** How many copies each file of the tour has, and in how many places. */
export interface Spread {
  readonly replicas: number;
  readonly places: number;
}

/** As many copies as there can be, up to three, and each in another place as far as there are places. */
export async function spreadFiles({ nodes, ns, signal }: ReplicaStep): Promise<Spread> {
  const members = await membersOf(nodes, signal);
  const replicas = Math.min(replicasWanted, nodes.length);
  const places = Math.min(replicas, new Set(members.map(placeOf)).size);
  const [first] = nodes;
  await first?.client.cluster.setNamespace(ns, { replicas, diversity: { dc: places } }, { reason: 'the tour' });
  await Promise.all(
    nodes.map(({ name, client }) =>
      until(
        async () => {
          const { policy } = await client.cluster.namespace(ns);
          const isThere = policy.replicas === replicas && policy.diversity?.dc === places;
          return isThere ? { found: undefined } : { instead: `${name} has another policy` };
        },
        { what: `${name} to know the policy of ${ns}`, withinMs: policyMsMax, signal },
      ),
    ),
  );
  return { replicas, places };
}

/** Members in the order of their names, as one node knows them. */
export async function membersOf(nodes: readonly TourNode[], signal: AbortSignal): Promise<readonly NodeInfo[]> {
  return (await firstOf(nodes).client.nodes(signal)).nodes;
}

export function placeOf({ labels }: Pick<NodeInfo, 'labels'>): string {
  return labels.dc ?? 'nowhere';
}

/** Waits until an object's newest version is held by exactly those who are to hold it, and all of them have proved it. */
export async function provedEverywhere(
  { nodes, signal }: ReplicaStep,
  { ns, key }: ObjectName,
  { replicas, places }: Spread,
): Promise<ReplicaPage> {
  return until(
    async () => {
      const { replication } = firstOf(nodes).client;
      // Coordinators have copies proved when they audit.
      await replication.audit(auditSeconds);
      const page = await replication.replicas(ns, key);
      const holders = page.versions[0]?.holders ?? [];
      const found = new Set(holders.map(placeOf)).size;
      const proved = holders.filter((holder) => holder.proved && holder.desired).length;
      const isSpread = holders.length === replicas && proved === replicas && found >= places;
      const instead = `${holders.length} copies, ${proved} of them proved and where they are to be, in ${found} places`;
      return isSpread ? { found: page } : { instead };
    },
    { what: `${replicas} proved copies of ${key} in ${places} places`, withinMs: healthMsMax, signal },
  );
}

/**
 * Has every coordinator look, until all versions have the copies they should have, and on a first tour none too many:
 * later ones meet what the earlier ones left to spare, also of files that they store again.
 */
export function exactlyHealthy(step: ReplicaStep, isFirst: boolean): Promise<ReplicationStatus> {
  const what = `every version to have ${isFirst ? 'exactly ' : ''}its copies`;
  return standing(step, what, ({ totals: { subjects, healthy, over }, complete }) => {
    return complete && healthy + (isFirst ? 0 : over) === subjects;
  });
}

/** A node that can go: no coordinator, and the last of those. Undefined when too few would be left. */
export async function victimOf({ nodes, signal }: ReplicaStep): Promise<TourNode | undefined> {
  if (nodes.length <= replicasWanted) return undefined;
  const members = await membersOf(nodes, signal);
  const coordinators = new Set(members.flatMap(({ name, roles }) => (roles.includes('coordinator') ? [name] : [])));
  return nodes.findLast(({ name }) => !coordinators.has(name));
}

/** Waits until the plan says what is to be done for want of a node: nothing, when the others have enough copies of all. */
export function planned({ nodes, signal }: ReplicaStep, lost: TourNode): Promise<RepairPlanPage> {
  return until(
    async () => {
      const { client } = firstOf(nodes);
      const members = await membersOf(nodes, signal);
      const isGone = members.some(({ name, state }) => name === lost.name && state === 'offline');
      const audited = isGone ? (await client.replication.audit(auditSeconds)).status : null;
      const page = await client.replication.plan();
      const isNothing = audited?.complete === true && audited.healthy;
      return page.repairs.length > 0 || isNothing ? { found: page } : { instead: 'an empty plan' };
    },
    { what: 'a plan of repairs', withinMs: repairMsMax, signal },
  );
}

/** Waits until the copies that a node had are made again elsewhere. */
export function repaired(step: ReplicaStep): Promise<ReplicationStatus> {
  return until(
    async () => {
      const status = await firstOf(step.nodes).client.replication.status();
      const { under, mis, unreachable, pulls } = status.totals;
      const isDone = status.healthy && status.repairs.pulls === 0 && pulls === 0;
      const instead = `${under} with too few copies, ${mis} elsewhere, ${unreachable} without any`;
      return isDone ? { found: status } : { instead };
    },
    { what: 'the repairs to be done', withinMs: repairMsMax, signal: step.signal },
  );
}

/** Waits until the copies of a node that is back are reported as more than there should be, if others were made of any. */
export function reportedAsSurplus(step: ReplicaStep, wereCopied: boolean): Promise<ReplicationStatus> {
  return standing(step, 'its copies to be seen', ({ totals, complete }) => {
    return (
      complete && (totals.over > 0 || !wereCopied) && totals.under === 0 && totals.mis === 0 && totals.unreachable === 0
    );
  });
}

/** The first lines of a plan, in words. */
export function planLines({ repairs, next }: RepairPlanPage, members: readonly NodeInfo[]): string[] {
  const nameOf = (node: string): string => members.find(({ nodeId }) => nodeId === node)?.name ?? node;
  if (repairs.length === 0) return ['  nothing: the others have enough copies of everything'];
  const lines = repairs.slice(0, plannedShown).map(({ key, size, to, from, waiting }) => {
    const sources = from.map(nameOf).join(' or ');
    const state = waiting === null ? 'now' : `unless ${waiting.for.map(nameOf).join(', ')} comes back`;
    return `  ${nameOf(to)} fetches ${key} (${formatBytes(size)}) from ${sources}, ${state}`;
  });
  const more = repairs.length - plannedShown;
  return more > 0 ? [...lines, `  … and ${more}${next === null ? '' : ' or more'} others`] : lines;
}

async function standing(
  { nodes, signal }: ReplicaStep,
  what: string,
  holds: (status: ReplicationStatus) => boolean,
): Promise<ReplicationStatus> {
  return until(
    async () => {
      const { status, unanswered } = await firstOf(nodes).client.replication.audit(auditSeconds);
      if (status === null) return { instead: `an audit that goes on (${unanswered.length} do not answer)` };
      if (holds(status)) return { found: status };
      const { subjects, healthy, under, mis, over, unreachable } = status.totals;
      return {
        instead: `${healthy} of ${subjects} versions healthy, ${under} under, ${mis} misplaced, ${over} over, ${unreachable} unreachable`,
      };
    },
    { what, withinMs: healthMsMax, signal },
  );
}

function firstOf(nodes: readonly TourNode[]): TourNode {
  const [first] = nodes;
  if (first === undefined) throw new TourFault('There is no node to ask.');
  return first;
}
