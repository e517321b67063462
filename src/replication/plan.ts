import type { BlobHash, NodeId } from '../../crdt/ids.ts';
import type { PlanPlace } from '../../protocols/replicas/views.ts';
import type { PlacementMap } from './placement-map.ts';
import type { Subject } from './subject.ts';

/** Pulls that a plan lists; those that are less urgent wait for the next plan. */
export const plannedPullsMax = 10_000;

/** What is known of one node's copy of a content. */
export interface CopyView {
  readonly nodeId: NodeId;
  /** Somebody has seen a proof of it. */
  readonly isProved: boolean;
  /** It was caught without what it says it has: the copy counts as not there. */
  readonly isSuspect: boolean;
}

/** What a plan follows from; the same view gives the same plan, whoever makes it. */
export interface RepairView {
  readonly placement: PlacementMap;
  /** Nodes that have been offline for longer than the repair delay. */
  readonly gone: ReadonlySet<NodeId>;
  /** Nodes that are offline, and may be back before the delay is over. */
  readonly away: ReadonlySet<NodeId>;
  /** Nodes that have no room for more: what they lack is placed elsewhere, what they have counts. */
  readonly full?: ReadonlySet<NodeId>;
  readonly copies: (manifest: BlobHash) => readonly CopyView[];
  /** Every version with this content: a copy that one of them does not need may be another's. */
  readonly subjectsOf: (manifest: BlobHash) => readonly Subject[];
  /** Whether a version was written just now by a node that is online, which is making its first copies; unless given, none was. */
  readonly isUnderWay?: (subject: Subject) => boolean;
}

/**
 * How a version's content stands: `healthy` as placement says; `under` with fewer copies online than it says; `mis`
 * with enough, but not where they should be; `over` with more; `unreachable` without one copy online. `arriving` with
 * fewer copies than it should have, none of them suspect, while its writer makes them: plans do not count it yet.
 */
type Health = 'healthy' | 'under' | 'mis' | 'over' | 'unreachable' | 'arriving';

/** A node is to fetch a content. */
export interface PlannedPull {
  readonly subject: Subject;
  readonly to: NodeId;
  /** Who has it and is online, proved ones first. */
  readonly from: readonly NodeId[];
  /** Copies of it that were proved: the fewer, the more urgent. */
  readonly provedCopies: number;
  /** True while this is only to be done if a node stays offline for longer than the delay. */
  readonly isWaiting: boolean;
}

/** What is to be done about one version. */
export interface Assessment {
  readonly health: Health;
  /** What its policy asks cannot be met with the nodes there are. */
  readonly isDegraded: boolean;
  readonly pulls: readonly PlannedPull[];
  /** Copies that no version of this content needs, while all that it needs are there. */
  readonly surplus: readonly NodeId[];
}

/**
 * Versions by how their contents stand, and what is to be done about it, of one plan or of several. Contents that several
 * versions share count once for each.
 */
export interface PlanTotals {
  readonly subjects: number;
  readonly healthy: number;
  readonly under: number;
  readonly mis: number;
  readonly over: number;
  readonly unreachable: number;
  /** Beside those: the policy cannot be met with the nodes there are. */
  readonly degraded: number;
  /** Copies to be made now, and their bytes. */
  readonly pulls: number;
  readonly pullBytes: number;
  /** Copies to be made should nodes stay offline, and their bytes. */
  readonly waitingPulls: number;
  readonly waitingBytes: number;
  /** Copies that could be dropped, and their bytes. */
  readonly surplusCopies: number;
  readonly surplusBytes: number;
}

/** Of no version at all. */
export const noTotals: PlanTotals = {
  subjects: 0,
  healthy: 0,
  under: 0,
  mis: 0,
  over: 0,
  unreachable: 0,
  degraded: 0,
  pulls: 0,
  pullBytes: 0,
  waitingPulls: 0,
  waitingBytes: 0,
  surplusCopies: 0,
  surplusBytes: 0,
};

export interface RepairPlan {
  readonly totals: PlanTotals;
  /** The most urgent first: fewest proved copies, then fewest bytes. Each content once for each node. */
  readonly pulls: readonly PlannedPull[];
  /** True when there were more than are listed. */
  readonly isCut: boolean;
  /** Who was offline as it was made. */
  readonly absent: ReadonlySet<NodeId>;
}

/** Whether copies lack that somebody has to see to. */
export function isWanting(health: Health): boolean {
  return health === 'under' || health === 'mis' || health === 'unreachable';
}

/** How one version stands, and what is to be done. A plan never drops anything. */
export function assess(view: RepairView, subject: Subject): Assessment {
  const { placement, away } = view;
  const { ns, key, manifest } = subject;
  const known = view.copies(manifest);
  const gone = withFull(withSuspects(view.gone, known), view.full, known);
  const { desired, substitutes } = placement.assigned(ns, key, gone);
  const targets = [...desired.holders.filter((node) => !gone.has(node)), ...substitutes];
  const standIns = standInsFor({ placement, gone, away }, subject, targets);
  const copies = known.filter(({ nodeId }) => !gone.has(nodeId));
  const online = copies.filter(({ nodeId }) => !away.has(nodeId)).sort(byTrust);
  const has = (node: NodeId): boolean => copies.some(({ nodeId }) => nodeId === node);
  const lacking = targets.filter((node) => !has(node));
  const waiting = standIns.filter((node) => !has(node));
  const pull = (to: NodeId, isWaiting: boolean): PlannedPull => {
    const from = online.map(({ nodeId }) => nodeId);
    return { subject, to, from, provedCopies: online.filter(({ isProved }) => isProved).length, isWaiting };
  };
  const isDegraded = desired.lacks.length > 0;
  const isIncomplete = known.length < desired.holders.length && !known.some(({ isSuspect }) => isSuspect);
  if (isIncomplete && view.isUnderWay?.(subject)) return { health: 'arriving', isDegraded, pulls: [], surplus: [] };
  // Without a copy nobody can be sent for one; a node that is away fetches it by itself when it is back.
  if (online.length === 0) return { health: 'unreachable', isDegraded, pulls: [], surplus: [] };
  const pulls = [
    ...lacking.filter((node) => !away.has(node)).map((node) => pull(node, false)),
    ...waiting.map((node) => pull(node, true)),
  ];
  const isWhole = lacking.length === 0 && waiting.length === 0;
  const surplus = isWhole ? surplusOf({ ...view, gone }, subject, online) : [];
  const isShort = online.length < desired.holders.length;
  const health = isShort ? 'under' : isWhole ? (surplus.length > 0 ? 'over' : 'healthy') : 'mis';
  return { health, isDegraded, pulls, surplus };
}

/** A plan for these versions. */
export function planRepairs(view: RepairView, subjects: Iterable<Subject>, pullsMax = plannedPullsMax): RepairPlan {
  const planner = new RepairPlanner(view, pullsMax);
  for (const subject of subjects) planner.add(subject);
  return planner.plan();
}

/** Makes a plan version by version, in bounded memory. */
export class RepairPlanner {
  readonly #view: RepairView;
  readonly #pullsMax: number;
  readonly #totals: Record<keyof PlanTotals, number> = { ...noTotals };
  #pulls: PlannedPull[] = [];
  #isCut = false;

  constructor(view: RepairView, pullsMax = plannedPullsMax) {
    this.#view = view;
    this.#pullsMax = pullsMax;
  }

  /** Takes a version into the plan; false says that it is arriving. */
  add(subject: Subject): boolean {
    const { health, isDegraded, pulls, surplus } = assess(this.#view, subject);
    if (health === 'arriving') return false;
    const totals = this.#totals;
    totals.subjects += 1;
    totals[health] += 1;
    if (isDegraded) totals.degraded += 1;
    totals.surplusCopies += surplus.length;
    totals.surplusBytes += surplus.length * subject.sizeBytes;
    for (const { isWaiting } of pulls) {
      totals[isWaiting ? 'waitingPulls' : 'pulls'] += 1;
      totals[isWaiting ? 'waitingBytes' : 'pullBytes'] += subject.sizeBytes;
    }
    this.#pulls.push(...pulls);
    if (this.#pulls.length >= 2 * this.#pullsMax) this.#sort();
    return true;
  }

  plan(): RepairPlan {
    this.#sort();
    const absent = new Set([...this.#view.gone, ...this.#view.away]);
    return { totals: { ...this.#totals }, pulls: this.#pulls, isCut: this.#isCut, absent };
  }

  #sort(): void {
    const seen = new Set<string>();
    const distinct = this.#pulls.sort(byUrgency).filter(({ subject, to }) => {
      const name = `${subject.manifest} ${to}`;
      return !seen.has(name) && seen.add(name);
    });
    this.#isCut ||= distinct.length > this.#pullsMax;
    this.#pulls = distinct.slice(0, this.#pullsMax);
  }
}

/** In a node that was caught without the content nobody trusts as far as this content goes: others stand in for it. */
function withSuspects(gone: ReadonlySet<NodeId>, copies: readonly CopyView[]): ReadonlySet<NodeId> {
  const suspects = copies.flatMap(({ nodeId, isSuspect }) => (isSuspect ? [nodeId] : []));
  return suspects.length === 0 ? gone : new Set([...gone, ...suspects]);
}

/** A node that has no room for this content is as good as gone, as far as this content goes. */
function withFull(
  gone: ReadonlySet<NodeId>,
  full: ReadonlySet<NodeId> | undefined,
  copies: readonly CopyView[],
): ReadonlySet<NodeId> {
  const lacking = [...(full ?? [])].filter((node) => !copies.some(({ nodeId }) => nodeId === node));
  return lacking.length === 0 ? gone : new Set([...gone, ...lacking]);
}

/** Who would stand in beside the targets if those who are away stayed away. */
function standInsFor(
  { placement, gone, away }: Pick<RepairView, 'placement' | 'gone' | 'away'>,
  { ns, key }: Subject,
  targets: readonly NodeId[],
): NodeId[] {
  if (!targets.some((node) => away.has(node))) return [];
  const { substitutes } = placement.assigned(ns, key, new Set([...gone, ...away]));
  return substitutes.filter((node) => !targets.includes(node));
}

/** Copies that no version with this content needs, not even while somebody is away. */
function surplusOf(view: RepairView, { manifest }: Subject, copies: readonly CopyView[]): NodeId[] {
  const { placement, gone, away } = view;
  const offline = new Set([...gone, ...away]);
  let surplus = copies.map(({ nodeId }) => nodeId);
  for (const { ns, key } of view.subjectsOf(manifest)) {
    if (surplus.length === 0) break;
    const { desired, substitutes } = placement.assigned(ns, key, gone);
    const standIns = away.size === 0 ? [] : placement.assigned(ns, key, offline).substitutes;
    const needed = new Set([...desired.holders, ...substitutes, ...standIns]);
    surplus = surplus.filter((node) => !needed.has(node));
  }
  return surplus;
}

function byTrust(left: CopyView, right: CopyView): number {
  return Number(right.isProved) - Number(left.isProved) || compareTexts(left.nodeId, right.nodeId);
}

function byUrgency(left: PlannedPull, right: PlannedPull): number {
  return comparePlaces(placeOf(left), placeOf(right));
}

/** Where a pull stands among those of plans. */
export function placeOf({ subject, to, provedCopies, isWaiting }: PlannedPull): PlanPlace {
  const { sizeBytes, manifest, version } = subject;
  return { isWaiting, provedCopies, sizeBytes, manifest, to, version };
}

/** The order of plans, the most urgent first: the same whoever made them. */
export function comparePlaces(left: PlanPlace, right: PlanPlace): number {
  return (
    Number(left.isWaiting) - Number(right.isWaiting) ||
    left.provedCopies - right.provedCopies ||
    left.sizeBytes - right.sizeBytes ||
    compareTexts(left.manifest, right.manifest) ||
    compareTexts(left.to, right.to) ||
    compareTexts(left.version, right.version)
  );
}

function compareTexts(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
