import type { Certificate } from '../../crdt/certificate.ts';
import type { Labels, Role } from '../../crdt/control/member.ts';
import type { BlobHash, ClusterId, Dot, NodeId, PeerId, Result, VersionId } from '../../crdt/ids.ts';

import type { ClusterApi, ControlStatus, MembershipStatus } from './cluster-api.ts';
import type { ContentApi } from './content-api.ts';
import type { ReplicationAdmin } from './replication-api.ts';
import type { SlotStatus } from './slots/slot-holdings.ts';

export type {
  AskedOperation,
  CarryStatus,
  ChangeInput,
  Checkpoint,
  ClusterApi,
  CommittedChange,
  ConsistencyProof,
  ControlStatus,
  InclusionProof,
  LoggedEntry,
  LogListing,
  MembershipStatus,
  NamespaceInfo,
  NamespacePolicy,
  ScopeConfiguration,
} from './cluster-api.ts';
export type { ContentApi, ContentScrub, GivenUp, GivenUpInput, GivenUpPage } from './content-api.ts';
export type {
  AskedChange,
  AuditOutcome,
  AuditRequest,
  DrainStatus,
  MovePreview,
  ObjectPlacement,
  PolicyLack,
  PresentNode,
  PreviewInput,
  RepairPlanPage,
  ReplicaPage,
  ReplicasInput,
  ReplicationAdmin,
  ReplicationStatus,
  UnansweredNode,
  VersionReplicas,
} from './replication-api.ts';

/** The node's public face: what the HTTP API, the CLI's server side, examples and tests call. */

/** What a caller must expect, by stable code; `src/http/errors.ts` maps each to a status. */
export type RefusalCode =
  | 'invalid_key'
  | 'invalid_namespace'
  | 'invalid_version'
  | 'invalid_request'
  | 'unknown_parent'
  | 'foreign_parent'
  | 'incomplete_body'
  | 'not_found'
  | 'deleted'
  | 'version_not_found'
  | 'not_confirmed'
  | 'too_many_heads'
  | 'context_too_large'
  | 'not_a_descendant'
  | 'too_large'
  | 'content_unavailable'
  | 'metadata_unavailable'
  | 'quorum_unavailable'
  | 'unknown_outcome'
  | 'not_permitted'
  | 'operation_reused'
  | 'name_taken'
  | 'node_taken'
  | 'key_taken'
  | 'key_removed'
  | 'unknown_node'
  | 'last_coordinator'
  | 'too_many_coordinators'
  | 'several_coordinator_changes'
  | 'carry_over_running'
  | 'too_many'
  | 'log_moved'
  | 'coordinators_unavailable'
  | 'damaged'
  | 'disk_full';

export interface Refusal {
  readonly code: RefusalCode;
  /** A sentence for the person who asked: what was wrong and what to do. */
  readonly message: string;
  /** Typed extras such as `{version}` or `{heads}`, passed on to the client as they are. */
  readonly detail?: Readonly<Record<string, unknown>>;
}

export type Outcome<T> = Result<T, Refusal>;
export type VersionState = 'provisional' | 'confirmed';
export type VersionKind = 'put' | 'delete' | 'merge';
export type CommitMode = 'local' | 'quorum';
export type ReadMode = 'preferred' | 'confirmed_only' | 'provisional_allowed';

/** Common to every write: the object, what it supersedes, how it is acknowledged, and who asks. */
export interface WriteTarget {
  readonly ns: string;
  readonly key: string;
  /** Version ids as the client gave them; absent for a blind write, which extends the tip. */
  readonly parents?: readonly string[];
  readonly commit?: CommitMode;
  /** The writing principal. */
  readonly author: string;
  readonly signal?: AbortSignal;
}

export interface PutInput extends WriteTarget {
  /** The content; when it throws `MeshError` `incomplete_body` the write is refused and leaves nothing. */
  readonly body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** Media type; `application/octet-stream` when absent. */
  readonly type?: string;
  readonly meta?: Readonly<Record<string, string>>;
}

export interface MergeInput extends WriteTarget {
  readonly parents: readonly string[];
  /** The version whose content the merge adopts. */
  readonly pick: string;
}

/** The 201 body of every write. */
export interface WrittenVersion {
  readonly ns: string;
  readonly key: string;
  readonly version: VersionId;
  readonly kind: VersionKind;
  readonly state: VersionState;
  readonly parents: readonly VersionId[];
  readonly generation: number;
  /** Bytes of content; null for a tombstone, as is `b3`. */
  readonly size: number | null;
  readonly b3: string | null;
  /** The object's heads after this write, sorted. */
  readonly heads: readonly VersionId[];
  readonly conflict: boolean;
}

/** Asks for a version to be confirmed. */
export interface ConfirmInput {
  readonly ns: string;
  readonly key: string;
  /** The greatest head that is or descends from the preferred one when absent. */
  readonly version?: string;
  readonly signal?: AbortSignal;
}

/** That a version is confirmed, with the proof. */
export interface Confirmation {
  readonly ns: string;
  readonly key: string;
  readonly version: VersionId;
  readonly state: 'confirmed';
  /** The confirmed head, which is the version or a descendant of it, and what the certificate proves. */
  readonly confirmedHead: VersionId;
  readonly position: number;
  readonly certificate: Certificate;
}

/** Whether this node can have anything confirmed: false on the minority's side of a partition. */
export interface QuorumState {
  readonly epoch: number;
  /** How many coordinators vote, and how many of them are connected, this node counted if it is one. */
  readonly coordinators: number;
  readonly reachable: number;
  readonly available: boolean;
}

export interface QuorumStatus extends QuorumState {
  /** Objects with versions of this node that wait to be confirmed. */
  readonly pending: number;
  /** Those of them that wait until enough copies of their content are proved, whoever can be reached. */
  readonly waitingForCopies: number;
}

export interface ReadInput {
  readonly ns: string;
  readonly key: string;
  /** That of the namespace's policy when absent, which is `preferred` unless it says otherwise. */
  readonly mode?: ReadMode;
  /** Exactly this version; excludes `mode`. */
  readonly version?: string;
}

/** A readable version of an object. Its content is fetched only when `open` is called. */
export interface ReadVersion {
  readonly version: VersionId;
  readonly state: VersionState;
  readonly size: number;
  readonly b3: string;
  readonly type: string;
  readonly meta: Readonly<Record<string, string>>;
  readonly time: number;
  /** The object's heads, sorted. */
  readonly heads: readonly VersionId[];
  /** The greatest head this read did not show, if any. */
  readonly newer: VersionId | null;
  /**
   * Streams bytes `start` to `end` (exclusive), or all. The first part is fetched and verified before
   * this resolves; content in transit is waited for while it progresses, and 10 s without progress
   * gives `content_unavailable` (a refusal here, a thrown `MeshError` once streaming has begun).
   */
  open(
    range?: { readonly start: number; readonly end: number },
    signal?: AbortSignal,
  ): Promise<Outcome<AsyncIterable<Uint8Array>>>;
}

export interface ListInput {
  readonly ns: string;
  readonly prefix?: string;
  readonly delimiter?: string;
  /** Continue after this key or prefix, as `next` gave it. */
  readonly after?: string;
  /** 1 to 1,000; 1,000 when absent. */
  readonly limit?: number;
}

export interface ListedObject {
  readonly key: string;
  /** The preferred head. */
  readonly version: VersionId;
  /** How many heads the object has. */
  readonly heads: number;
  /** Bytes of the preferred head's content; null when that is a tombstone beside live heads. */
  readonly size: number | null;
  readonly state: VersionState;
  readonly time: number;
}

export interface Listing {
  readonly objects: readonly ListedObject[];
  readonly prefixes: readonly string[];
  /** Pass as `after` for the next page; null at the end. */
  readonly next: string | null;
}

export interface GraphVersion {
  readonly version: VersionId;
  readonly kind: VersionKind;
  readonly state: VersionState;
  readonly parents: readonly VersionId[];
  readonly generation: number;
  readonly dot: Dot;
  readonly author: string;
  readonly node: NodeId;
  readonly time: number;
  readonly size: number | null;
  readonly b3: string | null;
  readonly type: string;
  readonly meta: Readonly<Record<string, string>>;
}

/** Versions are ordered by (generation, version id), so parents precede their children on every node. */
export interface ObjectGraph {
  readonly versions: readonly GraphVersion[];
  readonly heads: readonly VersionId[];
  readonly preferred: VersionId;
  readonly confirmedHead: VersionId | null;
}

export interface Conflict {
  readonly ns: string;
  readonly key: string;
  readonly heads: readonly VersionId[];
  readonly preferred: VersionId;
}

export interface ConflictsInput {
  readonly ns?: string;
  readonly after?: string;
  readonly limit?: number;
}

export interface ConflictPage {
  readonly conflicts: readonly Conflict[];
  readonly next: string | null;
}

/** What happened here, numbered for this node and kept for a bounded while. */
export type MeshEvent = { readonly id: number } & (
  | {
      readonly type: 'version';
      readonly data: {
        readonly ns: string;
        readonly key: string;
        readonly version: VersionId;
        readonly kind: VersionKind;
        readonly node: NodeId;
        readonly heads: readonly VersionId[];
      };
    }
  | { readonly type: 'conflict'; readonly data: Conflict }
  | {
      readonly type: 'confirmed';
      readonly data: {
        readonly ns: string;
        readonly key: string;
        readonly version: VersionId;
        readonly position: number;
      };
    }
  /** This node has been admitted, or has learnt that it was put out. */
  | { readonly type: 'membership'; readonly data: MembershipStatus }
  /** A majority of the coordinators can be reached from here now, or can no longer. */
  | { readonly type: 'quorum'; readonly data: QuorumState }
  | {
      readonly type: 'node';
      readonly data: {
        readonly nodeId: NodeId;
        readonly name: string;
        readonly state: NodeState;
        /** When, in milliseconds since the epoch, for display. */
        readonly since: number;
      };
    }
  | {
      readonly type: 'replication';
      readonly data: {
        readonly ns: string;
        readonly key: string;
        readonly version: VersionId;
        /** The content is whole here, or getting it was given up for now. */
        readonly status: 'stored' | 'dead';
      };
    }
  | {
      readonly type: 'replication';
      /**
       * A node said that it has a content, and gave what is no proof of it (`false_proof`), or none at all however often it
       * was asked to while it was online (`unproved`): others are to hold the content until it proves it after all.
       */
      readonly data: {
        readonly status: 'false_proof' | 'unproved';
        readonly nodeId: NodeId;
        readonly manifest: BlobHash;
      };
    }
);

/**
 * What a node takes a member for: nothing was seen of it yet, it lives, it has fallen silent, it has been silent for
 * long, or it lives and its content is to move elsewhere.
 */
export type NodeState = 'unknown' | 'online' | 'suspect' | 'offline' | 'draining';

export interface NodeInfo {
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  readonly name: string;
  readonly state: NodeState;
  /** Since when, in milliseconds since the epoch, for display. */
  readonly since: number;
  /** True for the node that answers. */
  readonly self: boolean;
  /** There is a connection to it now. */
  readonly connected: boolean;
  /** Where it can be dialled: where it says that it is, then where the control log says. */
  readonly addresses: readonly string[];
  /** Where its API can be reached from elsewhere, as it says itself. */
  readonly url: string | null;
  readonly roles: readonly Role[];
  readonly labels: Labels;
  /** What it says itself about where and what it is, for people; placement trusts `labels`. */
  readonly reportedLabels: Labels;
  /** A step from 1 to 64, two of which double it; null when nobody said. */
  readonly capacity: number | null;
  /** Its content is to move elsewhere. */
  readonly draining: boolean;
  /** Of its program; null while it has not told of itself. */
  readonly version: string | null;
  /** By its newest heartbeat, in bytes; null when none was heard. */
  readonly capacityBytes: number | null;
  readonly freeBytes: number | null;
  readonly usedBytes: number | null;
  /** How late, at worst, a timer of it was lately, in milliseconds: how busy it is. */
  readonly load: number | null;
  /** How long ago its newest heartbeat was heard, in milliseconds; null when none was. */
  readonly lastHeartbeatMs: number | null;
  /** How far its clock is ahead of the answering node's, in milliseconds; null when that is not known. Decides nothing. */
  readonly clockOffsetMs: number | null;
}

/** How the stored versions are. */
interface RecordStatus {
  /** Versions whose record was found damaged on this disk and is not mended yet: none of them is used or passed on. */
  readonly damaged: number;
}

/** What became of content at this node. */
export interface ContentStatus {
  /** Contents that were given up: nobody had them for a day, or they could not be stored. */
  readonly dead: number;
  /**
   * Contents that were whole here and are not now, whoever found that, a read, a challenge or the scrub: those of which
   * something had rotted, and those that lack something otherwise. Each counts until it is whole again, or dropped.
   */
  readonly damaged: number;
  readonly incomplete: number;
  /** When the last whole scrub ended, in milliseconds since the epoch; null before the first. */
  readonly scrubbedAt: number | null;
}

export interface NodeStatus {
  readonly cluster: ClusterId;
  readonly clusterName: string;
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  readonly name: string;
  readonly version: string;
  readonly incarnation: string;
  readonly ready: boolean;
  readonly uptimeMs: number;
  readonly objects: number;
  readonly versions: number;
  readonly conflicts: number;
  /** Versions that are confirmed, and those that are not. */
  readonly confirmed: number;
  readonly provisional: number;
  readonly quorum: QuorumStatus;
  /** Contents this node wants and does not hold whole yet. */
  readonly pendingContent: number;
  readonly records: RecordStatus;
  readonly content: ContentStatus;
  readonly peers: { readonly connected: number; readonly known: number };
  readonly disk: { readonly capacityBytes: number; readonly freeBytes: number };
  readonly control: ControlStatus;
  /** What this node is to the cluster: one that was put out goes on serving what it has, and takes no writes. */
  readonly membership: MembershipStatus;
  /** The shares of the metadata that this node holds. */
  readonly slots: SlotStatus;
}

export interface MeshNode {
  start(): Promise<void>;
  /** Drains writes and flushes within 5 s, then writes the clean-stop marker. */
  stop(): Promise<void>;
  put(input: PutInput): Promise<Outcome<WrittenVersion>>;
  delete(input: WriteTarget): Promise<Outcome<WrittenVersion>>;
  merge(input: MergeInput): Promise<Outcome<WrittenVersion>>;
  /** Resolves when a quorum has answered, or within 10 s. `not_a_descendant` and `quorum_unavailable` carry the version. */
  confirm(input: ConfirmInput): Promise<Outcome<Confirmation>>;
  /**
   * Brings an object's metadata here from a node that holds it, where this one does not; undefined at once where it does,
   * or has just asked. Resolves within 6 s, whether or not a holder answered. To be called before `read` and `graph`.
   */
  bring(input: ReadInput): Promise<unknown> | undefined;
  /** Of what is here; `metadata_unavailable` where that does not tell, since other nodes hold the object. */
  read(input: ReadInput): Outcome<ReadVersion>;
  /** `metadata_unavailable` at a node that holds a part of the metadata. */
  list(input: ListInput): Outcome<Listing>;
  /** The same at any node, which asks those that hold the rest; a page may be shorter than its limit. */
  wholeList(input: ListInput): Promise<Outcome<Listing>>;
  /** As `read`. */
  graph(input: { readonly ns: string; readonly key: string }): Outcome<ObjectGraph>;
  /** As `list`. */
  conflicts(input: ConflictsInput): Outcome<ConflictPage>;
  /** As `wholeList`. */
  wholeConflicts(input: ConflictsInput): Promise<Outcome<ConflictPage>>;
  /**
   * Events after `after` (a number that an event of this node carried), then live ones, until the signal aborts. With no
   * `after`, live ones only; for a number that was not given out yet, all that are kept. A reader takes its time: it is
   * given what is kept when it comes to it.
   */
  events(options: { readonly after?: number; readonly signal: AbortSignal }): AsyncIterable<MeshEvent>;
  status(): Promise<NodeStatus>;
  nodes(): readonly NodeInfo[];
  /** Members, policies and settings, and the log of everything that administrators did. */
  readonly cluster: ClusterApi;
  /** Where content should be and is. */
  readonly replication: ReplicationAdmin;
  /** What this node keeps of content, and what it could not get. */
  readonly content: ContentApi;
  ready(): boolean;
}
