import type { ControlState } from '../../crdt/control/state.ts';
import type { BlobHash, DocId, NodeId, PeerId } from '../../crdt/ids.ts';
import type { PlacementNode } from '../../crdt/placement.ts';
import type { DropOutcome } from '../node/content/content-plane.ts';
import type { Clock } from '../ports/clock.ts';
import type { Kv, KvTransaction } from '../ports/kv.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Network } from '../ports/network.ts';
import type { Random } from '../ports/random.ts';
import type { NodeLiveness } from './absences.ts';
import type { InventoryDependencies } from './inventory.ts';
import type { OrderTakerDependencies, WantedContent } from './order-taker.ts';
import type { ContentShelf } from './proof-giver.ts';
import type { VersionSource } from './subject-index.ts';
import type { UnprovedCopy } from './unproved-copies.ts';

/** What replication stands on, and what an operator sets of it. */

/** A node was caught with a false proof of a content. */
export interface FalseProof {
  readonly node: NodeId;
  readonly manifest: BlobHash;
}

/** The node's content plane, as replication uses it. */
export interface ReplicatedContent extends ContentShelf {
  readonly heldAfter: InventoryDependencies['heldAfter'];
  /** Makes jobs of what is not here whole, durably, and starts on them. */
  want(wanted: readonly WantedContent[]): Promise<void>;
  /** Drops a content in the caller's transaction. */
  drop(transaction: KvTransaction, manifest: BlobHash): DropOutcome;
  /** Contents were dropped, durably. */
  dropped(): void;
  /** The verified bytes of a blob from exactly this peer; undefined when it has none. See `ContentPlane.fetchFrom`. */
  fetchFrom(peer: PeerId, hash: BlobHash, sizeBytes: number): Promise<Uint8Array | undefined>;
  /** Monotonic point until which contents have been fetched, now while some are; undefined when none ever was. */
  fetchedUntilMs(): number | undefined;
  /** What this node should hold is not what it was. */
  reconsider(): void;
}

export interface ReplicationDependencies {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly kv: Kv;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly content: ReplicatedContent;
  readonly versions: VersionSource;
  readonly liveness: NodeLiveness;
  /** Free bytes of a member's disk as it said last; undefined when it has not. */
  readonly freeBytesOf: (node: NodeId) => number | undefined;
  /** The control log: its state now, and after an entry, where that is known. */
  readonly state: () => ControlState;
  readonly stateAt: (seq: number) => ControlState | undefined;
  /** The members that content can be placed on, with their weights and labels. */
  readonly nodesOf: (state: Pick<ControlState, 'members' | 'namespaces'>) => readonly PlacementNode[];
  readonly slotOf: (doc: DocId) => number;
  /** Brings a version of a slot that this node does not hold; undefined when there is nothing to bring. Never rejects. */
  readonly bring: OrderTakerDependencies['bring'];
  /** Is told of nodes that were caught with false proofs. */
  readonly onFalseProof: (caught: FalseProof) => void;
  /** Is told of copies that count as not there, since their holders never prove them. */
  readonly onUnproved: (copy: UnprovedCopy) => void;
}

/** What an operator sets of it; everything has a default. */
export interface ReplicationSettings {
  /** How long a node may be offline before others stand in for it; 10 min when absent. */
  readonly repairDelayMs?: number | undefined;
  /** Mean time between two audits; an hour when absent. */
  readonly auditEveryMs?: number | undefined;
  /** Mean time between two looks at the inventory of a node; 5 s when absent. */
  readonly followEveryMs?: number | undefined;
}

export interface ReplicationOptions extends ReplicationSettings {
  readonly self: NodeId;
}
