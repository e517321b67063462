import type { Labels } from '../../crdt/control/member.ts';
import type { EffectivePolicy } from '../../crdt/control/namespace-policy.ts';
import type { BlobHash, NodeId, VersionId } from '../../crdt/ids.ts';
import type { AuditReason } from '../replication/auditor.ts';
import type { PlanTotals } from '../replication/plan.ts';
import type { Outcome } from './api.ts';

/** What can be asked of where content should be and is. All of it is answered for the whole mesh, at any node. */

/** A member, as answers about content name it. */
interface NamedNode {
  readonly nodeId: NodeId;
  readonly name: string;
  readonly labels: Labels;
}

/** `away` is offline and waited for, `gone` offline for longer than the repair delay. */
type Presence = 'online' | 'away' | 'gone';

export interface PresentNode extends NamedNode {
  /** As this node sees it. */
  readonly presence: Presence;
}

/** What of a policy cannot be met with the nodes there are. */
export interface PolicyLack {
  readonly kind: 'replicas' | 'diversity';
  /** The label whose values are too few. */
  readonly label: string | null;
  readonly wanted: number;
  readonly placed: number;
  readonly message: string;
  /** What to do about it. */
  readonly advice: string;
}

/** Who should hold an object's content. */
export interface ObjectPlacement {
  readonly ns: string;
  readonly key: string;
  readonly policy: Pick<EffectivePolicy, 'replicas' | 'diversity' | 'required' | 'forbidden'>;
  /** By the control log alone, best first. */
  readonly desired: readonly PresentNode[];
  /** Who stands in for desired holders that are gone. */
  readonly substitutes: readonly PresentNode[];
  /** Empty when the policy can be met. */
  readonly lacks: readonly PolicyLack[];
}

/** Something that may happen to the mesh. A capacity is a step from 1 to 64. */
export type AskedChange =
  | { readonly kind: 'leave' | 'drain'; readonly nodeId: string }
  /** A node that is no member yet: made up when no id is given. */
  | {
      readonly kind: 'join';
      readonly nodeId?: string | undefined;
      readonly labels?: Labels | undefined;
      readonly capacity?: number | undefined;
    }
  | { readonly kind: 'labels'; readonly nodeId: string; readonly labels: Labels }
  | { readonly kind: 'capacity'; readonly nodeId: string; readonly capacity: number };

export interface PreviewInput {
  readonly change: AskedChange;
  /** `next` of the page before. */
  readonly after?: string | undefined;
  /** Moves to list; 40 at most, and when absent. */
  readonly limit?: number | undefined;
}

/** A version's content that would move. */
interface PreviewedMove {
  readonly ns: string;
  readonly key: string;
  readonly version: VersionId;
  readonly size: number;
  /** Who would not be to hold it any more, and who would have to fetch it. */
  readonly from: readonly NodeId[];
  readonly to: readonly NodeId[];
  readonly lacks: readonly PolicyLack[];
}

/** What a node would gain and give up. */
interface NodeMoves {
  readonly nodeId: NodeId;
  /** Null for a node that is no member. */
  readonly name: string | null;
  readonly contentsIn: number;
  readonly bytesIn: number;
  readonly contentsOut: number;
  readonly bytesOut: number;
}

/** A page of what a change would move: of some thousand versions each. Nothing is done by asking. */
export interface MovePreview {
  /** The first of the page. */
  readonly moves: readonly PreviewedMove[];
  /** Of the whole page: versions looked at and moved, copies to make and their bytes, versions whose policy could not be met. */
  readonly totals: {
    readonly subjects: number;
    readonly moved: number;
    readonly copies: number;
    readonly bytes: number;
    readonly degraded: number;
  };
  readonly nodes: readonly NodeMoves[];
  readonly next: string | null;
}

/** The queue of repairs that are under way. */
export interface RepairState {
  readonly pulls: number;
  readonly bytes: number;
  readonly bytesPerSecond: number;
  /** Milliseconds until all should be there; null while that cannot be told. */
  readonly etaMs: number | null;
}

/** A coordinator that audits some of the slots. */
export interface AuditorState {
  readonly nodeId: NodeId;
  readonly name: string;
  readonly running: {
    readonly reason: AuditReason;
    readonly phase: 'inventories' | 'plan' | 'checks';
    readonly subjects: number;
  } | null;
  readonly last: {
    readonly reason: AuditReason;
    /** When it began, in milliseconds since the epoch, by its clock. */
    readonly time: number;
    readonly tookMs: number;
    readonly totals: PlanTotals;
    /** There is more to do than a plan lists. */
    readonly cut: boolean;
    /**
     * Copies on nodes that are online which counted as not there: their holders were caught without them, or let every
     * question for a proof pass for longer than the repair delay. Others stand in, until each is proved after all.
     */
    readonly suspects: number;
    /** What became of the copies it had challenged. */
    readonly checks: {
      readonly proved: number;
      readonly lacking: number;
      readonly wrong: number;
      readonly unreachable: number;
    };
  } | null;
  readonly repairs: RepairState;
}

/** A coordinator that did not answer: what it alone knows is missing. */
export interface UnansweredNode {
  readonly nodeId: NodeId;
  readonly name: string;
  /** As this node sees it. */
  readonly presence: Presence;
}

/** How replication stands in the mesh, by the last audits. */
export interface ReplicationStatus {
  /** Sums over those that answered. */
  readonly totals: PlanTotals;
  /**
   * Every coordinator that is online has answered and has audited since one of them went or came: the totals tell of every
   * version.
   */
  readonly complete: boolean;
  /** Complete, no version is short of a copy or has one astray, and every policy can be met. Copies to spare do no harm. */
  readonly healthy: boolean;
  readonly repairs: RepairState;
  /** An audit runs. */
  readonly running: boolean;
  /** The latest audit that has ended. */
  readonly lastAudit: { readonly time: number; readonly nodeId: NodeId; readonly name: string } | null;
  readonly auditors: readonly AuditorState[];
  /** Writes of the node that answers whose copies are not all proved, and those that have waited for minutes. */
  readonly intents: { readonly pending: number; readonly late: number };
  readonly unanswered: readonly UnansweredNode[];
}

/** A content that a node fetches, or would. */
export interface PlannedRepair {
  readonly ns: string;
  readonly key: string;
  readonly version: VersionId;
  readonly size: number;
  readonly to: NodeId;
  readonly from: readonly NodeId[];
  /** The fewer, the more urgent. */
  readonly provedCopies: number;
  /** Null when it runs; else it is done if these nodes are not back by then (ms since the epoch, by this node's clock). */
  readonly waiting: { readonly for: readonly NodeId[]; readonly until: number } | null;
}

export interface RepairPlanPage {
  /** The most urgent first. */
  readonly repairs: readonly PlannedRepair[];
  readonly next: string | null;
  readonly unanswered: readonly UnansweredNode[];
}

export interface AuditRequest {
  /** How long to wait for it, in milliseconds; 30 s at most, and not at all when absent. */
  readonly waitMs?: number;
}

export interface AuditOutcome {
  /** Every coordinator that answers has done its audit. */
  readonly complete: boolean;
  readonly auditors: readonly {
    readonly nodeId: NodeId;
    readonly name: string;
    readonly state: 'running' | 'done';
  }[];
  /** What came of it; null until it is complete. */
  readonly status: ReplicationStatus | null;
  readonly unanswered: readonly UnansweredNode[];
}

export interface ReplicasInput {
  readonly ns: string;
  readonly key: string;
  /** This version alone. */
  readonly version?: string | undefined;
  /** Go on after this version, as `next` gave it. */
  readonly after?: string | undefined;
  /** Versions on the page: 1 to 64, which it is when absent. */
  readonly limit?: number | undefined;
}

/** A node that has a version's content. */
export interface Replica extends PresentNode {
  /** It is a desired holder or stands in for one. */
  readonly desired: boolean;
  /** Somebody has seen a proof of it; a coordinator's own copy counts, which it verified as it stored it. */
  readonly proved: boolean;
  /** When it was proved last, in milliseconds since the epoch, by the clock of who saw it. */
  readonly provedAt: number | null;
  /** It was caught without what it says it has. */
  readonly suspect: boolean;
}

/** The copies of one version's content. */
export interface VersionReplicas {
  readonly version: VersionId;
  readonly manifest: BlobHash;
  readonly size: number;
  readonly holders: readonly Replica[];
  /** Who is to hold it and has no copy. */
  readonly missing: readonly PresentNode[];
}

export interface ReplicaPage extends ObjectPlacement {
  /** The newest first; tombstones have no content and are left out. */
  readonly versions: readonly VersionReplicas[];
  readonly next: string | null;
  readonly unanswered: readonly UnansweredNode[];
}

/** How far a node that drains has come. */
export interface DrainStatus extends PresentNode {
  /** The control log says that its content is to move elsewhere. */
  readonly draining: boolean;
  /** Contents on it; those that are not all proved where they are to be without it, and their bytes. */
  readonly contents: number;
  readonly remaining: number;
  readonly remainingBytes: number;
  /** Objects with a version that no coordinator which asked the node can read: any content on it could be theirs. */
  readonly unreadable: number;
  /** Writes that were made at it and are not all proved elsewhere; null when it does not answer. */
  readonly intents: number | null;
  /** It may be switched off: it drains, it was asked what it has, and all of that is known and proved elsewhere. */
  readonly safe: boolean;
  readonly unanswered: readonly UnansweredNode[];
}

/** Where content should be and is, in the whole mesh. */
export interface ReplicationAdmin {
  /** `invalid_namespace`, `invalid_key`. */
  placement(object: { readonly ns: string; readonly key: string }): Outcome<ObjectPlacement>;
  /** `unknown_node`, `invalid_request`, and `coordinators_unavailable` when none of them answers. */
  preview(input: PreviewInput): Promise<Outcome<MovePreview>>;
  status(): Promise<ReplicationStatus>;
  /** `invalid_request` for a place that is none. Up to 1,000 repairs, 100 when nothing is said. */
  plan(input?: { readonly after?: string; readonly limit?: number }): Promise<Outcome<RepairPlanPage>>;
  /** Has every coordinator audit its slots now; never two audits at once at one. */
  audit(request?: AuditRequest): Promise<AuditOutcome>;
  /** As `read` refuses, and `metadata_unavailable`. */
  replicas(input: ReplicasInput): Promise<Outcome<ReplicaPage>>;
  /** `unknown_node`, and `coordinators_unavailable` when none of them answers. */
  drainStatus(nodeId: string): Promise<Outcome<DrainStatus>>;
}
