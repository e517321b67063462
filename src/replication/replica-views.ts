import { weightOfStep } from '../../crdt/control/capacity.ts';
import type { BlobHash, NodeId, PeerId } from '../../crdt/ids.ts';
import { holdersMax, orderHoldersMax, plannedMax } from '../../protocols/replicas/limits.ts';
import type {
  AskedChange,
  AuditState,
  CopyView,
  DrainView,
  PlannedView,
  PlanPlace,
  PlanView,
  PreviewPlace,
  PreviewQuestion,
  PreviewView,
  StandingView,
  ViewSource,
} from '../../protocols/replicas/views.ts';
import { endsWithin } from '../../protocols/wire/deadline.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Absent } from './absences.ts';
import type { AuditReport, ReplicationAuditor } from './auditor.ts';
import type { DemandedAudits } from './demanded-audits.ts';
import type { DrainProgress } from './drain-progress.ts';
import type { IndexFollower } from './index-follower.ts';
import type { WriteIntents } from './intents.ts';
import type { PlacementDirectory } from './placement-directory.ts';
import { comparePlaces, type PlannedPull, placeOf } from './plan.ts';
import type { MeshChange, MovePage, PreviewBounds } from './preview.ts';
import type { CopyRecord, ReplicaIndex } from './replica-index.ts';

/** Subjects that one page of a preview looks at: some tenths of a second's work. */
const previewedMax = 16_384;

export interface ReplicaViewsDependencies {
  readonly auditor: Pick<ReplicationAuditor, 'status' | 'remaining'>;
  readonly demanded: Pick<DemandedAudits, 'ask'>;
  readonly index: Pick<ReplicaIndex, 'holders'>;
  readonly follower: Pick<IndexFollower, 'refreshOne'>;
  readonly intents: Pick<WriteIntents, 'waiting'>;
  readonly placement: Pick<PlacementDirectory, 'assigned'>;
  readonly absent: () => Absent;
  /** Milliseconds until a node that is away counts as gone. */
  readonly graceMs: (node: NodeId) => number;
  readonly isMember: (node: NodeId) => boolean;
  readonly nodeOf: (peer: PeerId) => NodeId | undefined;
  readonly coordinators: () => readonly NodeId[];
  readonly drainProgress: (node: NodeId) => Promise<DrainProgress | undefined>;
  readonly preview: (change: MeshChange, bounds: PreviewBounds, after?: PreviewPlace) => Promise<MovePage>;
  readonly self: NodeId;
  readonly clock: Clock;
  readonly log: Log;
}

const nothing: StandingView = { intents: 0, late: 0, auditor: null };

/** What this node tells the members of the mesh about replication: much as a coordinator, little as any other node. */
export class ReplicaViews implements ViewSource {
  readonly #dependencies: ReplicaViewsDependencies;

  constructor(dependencies: ReplicaViewsDependencies) {
    this.#dependencies = dependencies;
  }

  status(peer: PeerId): StandingView {
    const { intents, auditor, coordinators, nodeOf } = this.#dependencies;
    if (nodeOf(peer) === undefined) return nothing;
    const { count, late } = intents.waiting();
    if (!this.#tells(peer)) return { intents: count, late, auditor: null };
    const { running, last, repairs } = auditor.status();
    return {
      intents: count,
      late,
      auditor: {
        running,
        last: last === null ? null : auditedOf(last, coordinators()),
        repairs: { pulls: repairs.pulls, bytes: repairs.bytes, rate: repairs.bytesPerSecond, eta: repairs.etaMs },
      },
    };
  }

  plan(peer: PeerId, after: PlanPlace | undefined): PlanView | undefined {
    if (!this.#tells(peer)) return undefined;
    const pulls: PlannedView[] = [];
    const absent = this.#dependencies.absent();
    for (const pull of this.#dependencies.auditor.remaining()) {
      if (after !== undefined && comparePlaces(placeOf(pull), after) <= 0) continue;
      if (pulls.length === plannedMax) return { pulls, isMore: true };
      pulls.push(this.#plannedOf(pull, absent));
    }
    return { pulls, isMore: false };
  }

  async audit(peer: PeerId, waitMs: number): Promise<AuditState> {
    const { demanded, clock, log } = this.#dependencies;
    if (!this.#tells(peer)) return null;
    const audit = demanded.ask();
    // It goes on when nobody waits for it any more.
    audit.catch((error: unknown) => {
      if (error instanceof MeshError && error.code === 'shutting_down') return;
      log.error('replication:audit_failed', { reason: 'demand', error });
    });
    return (await endsWithin(clock, waitMs, audit)) ? 'done' : 'running';
  }

  copies(peer: PeerId, manifests: readonly BlobHash[]): CopyView[][] | undefined {
    const { index, isMember } = this.#dependencies;
    if (!this.#tells(peer)) return undefined;
    return manifests.map((manifest) => {
      const copies = index.holders(manifest).filter(({ nodeId }) => isMember(nodeId));
      return copies.slice(0, holdersMax).map((copy) => this.#copyOf(copy));
    });
  }

  async drain(peer: PeerId, node: NodeId): Promise<DrainView | undefined> {
    const { follower, drainProgress, self } = this.#dependencies;
    if (!this.#tells(peer)) return undefined;
    // What it took in just now counts as well.
    const isCurrent = node === self || (await follower.refreshOne(node));
    const progress = await drainProgress(node);
    if (progress === undefined) return undefined;
    const { contents, remaining, remainingBytes, unreadable } = progress;
    return { contents, remaining, bytes: remainingBytes, unreadable, current: isCurrent };
  }

  async preview(peer: PeerId, { change, after, movesMax }: PreviewQuestion): Promise<PreviewView | undefined> {
    if (!this.#tells(peer)) return undefined;
    const bounds = { subjectsMax: previewedMax, movesMax };
    const { moves, totals, next } = await this.#dependencies.preview(meshChangeOf(change), bounds, after);
    const { nodes, ...counts } = totals;
    return {
      moves: moves.map(({ subject: { ns, key, version, sizeBytes }, from, to, lacks }) => {
        return { ns, key, version, sizeBytes, from: [...from], to: [...to], lacks: [...lacks] };
      }),
      totals: counts,
      nodes: Array.from(nodes, ([node, { contentsIn, bytesIn, contentsOut, bytesOut }]) => {
        return [node, contentsIn, bytesIn, contentsOut, bytesOut] as const;
      }),
      next: next === undefined ? undefined : { doc: next.doc, version: next.version },
    };
  }

  /** Only members are told, and only coordinators know. */
  #tells(peer: PeerId): boolean {
    const { nodeOf, coordinators, self } = this.#dependencies;
    return coordinators().includes(self) && nodeOf(peer) !== undefined;
  }

  #copyOf({ nodeId, sizeBytes, provedMs, isSuspect }: CopyRecord): CopyView {
    const mark = nodeId === this.#dependencies.self ? 'own' : isSuspect ? 'suspect' : 'listed';
    return { nodeId, sizeBytes, provedMs, mark };
  }

  #plannedOf({ subject, to, from, provedCopies, isWaiting }: PlannedPull, { gone, away }: Absent): PlannedView {
    const { placement, graceMs } = this.#dependencies;
    const { ns, key, version, manifest, sizeBytes } = subject;
    const { desired, substitutes } = placement.assigned(ns, key, gone);
    const awaited = isWaiting ? [...desired.holders, ...substitutes].filter((node) => away.has(node)) : [];
    return {
      ...{ ns, key, version, manifest, sizeBytes, to, provedCopies, isWaiting },
      from: from.slice(0, orderHoldersMax),
      waitsFor: awaited.slice(0, orderHoldersMax).map((node) => [node, Math.max(0, Math.ceil(graceMs(node)))]),
    };
  }
}

function auditedOf(
  { reason, startedMs, tookMs, plan, suspects, checks }: AuditReport,
  coordinators: readonly NodeId[],
): NonNullable<StandingView['auditor']>['last'] {
  return {
    reason,
    time: Math.max(0, startedMs),
    took: Math.max(0, Math.round(tookMs)),
    among: coordinators.filter((node) => !plan.absent.has(node)),
    totals: plan.totals,
    cut: plan.isCut,
    suspects,
    checks: { proved: checks.proved, lacking: checks.lacking, wrong: checks.wrong, unreachable: checks.unreachable },
  };
}

function meshChangeOf(change: AskedChange): MeshChange {
  switch (change.kind) {
    case 'leave':
    case 'drain':
      return { kind: change.kind, nodeId: change.node };
    case 'join':
      return {
        kind: 'join',
        node: { nodeId: change.node, labels: change.labels, weight: weightOfStep(change.capacity) },
      };
    case 'labels':
      return { kind: 'labels', nodeId: change.node, labels: change.labels };
    case 'capacity':
      return { kind: 'capacity', nodeId: change.node, weight: weightOfStep(change.capacity) };
  }
}
