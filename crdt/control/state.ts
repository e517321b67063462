import { encodeGenesis, foundingMembers, type Genesis } from '../genesis.ts';
import type { ClusterId, NodeId, PeerId } from '../ids.ts';
import { appendLeaf, emptyPeaks, leafHash, type MerklePeaks } from '../merkle-log.ts';
import { publicKeyOf } from '../signature.ts';
import { type GrowingIndex, MemoryIndex } from './growing-index.ts';
import { type ControlMember, isCoordinator } from './member.ts';
import type { NamespacePolicy } from './namespace-policy.ts';

/** One who votes. */
export interface Coordinator {
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  /** 32 bytes of ed25519, the same that `peerId` spells. */
  readonly publicKey: Uint8Array;
}

/** A set of coordinators, and from when on it votes. */
export interface CoordinatorEpoch {
  /** From 1, one more with each change. */
  readonly epoch: number;
  /** By node id. */
  readonly coordinators: readonly Coordinator[];
  /** The entry that made it, which the set before it certified; 0 for the genesis. */
  readonly fromSeq: number;
}

/** A member that was put out. */
export interface RemovedMember {
  readonly name: string;
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  /** The entry that removed it. */
  readonly seq: number;
}

/** What the control log's entries up to one of them come to. Never changed: the next entry gives the next state. */
export interface ControlState {
  readonly cluster: ClusterId;
  /** The last entry that is in it, and its hash; 0 and the cluster's id after the genesis. */
  readonly seq: number;
  readonly hash: string;
  /** Link hash of the register value that holds the last entry: what the next value names. Null after the genesis. */
  readonly link: string | null;
  /** The Merkle tree over the texts of all entries up to this one, the genesis first. */
  readonly tree: MerklePeaks;
  /** Of the coordinators who certify the next entry. */
  readonly epoch: number;
  readonly members: ReadonlyMap<NodeId, ControlMember>;
  /** Who was put out, by the key that must not come back. */
  readonly removed: MemoryIndex<RemovedMember>;
  readonly namespaces: ReadonlyMap<string, NamespacePolicy>;
  /** Scope to settings. */
  readonly configuration: ReadonlyMap<string, Readonly<Record<string, unknown>>>;
  /** Operation id to the entry that has it. */
  readonly operations: GrowingIndex<number>;
  /** Every set of coordinators there was, the first first: old certificates are verified with them. */
  readonly epochs: readonly CoordinatorEpoch[];
}

/** The state that a genesis entry founds. */
export function foundingState(genesis: Genesis, cluster: ClusterId): ControlState {
  const members = new Map(foundingMembers(genesis).map((member) => [member.nodeId, member]));
  return {
    cluster,
    seq: 0,
    hash: cluster,
    link: null,
    tree: appendLeaf(emptyPeaks, leafHash(Buffer.from(encodeGenesis(genesis), 'utf8'))).peaks,
    epoch: 1,
    members,
    removed: MemoryIndex.empty(),
    namespaces: new Map(),
    configuration: new Map(),
    operations: MemoryIndex.empty(),
    epochs: [{ epoch: 1, coordinators: votersAmong(members), fromSeq: 0 }],
  };
}

/** Who votes now, by node id. */
export function coordinatorsOf(state: ControlState): readonly Coordinator[] {
  return coordinatorsOfEpoch(state, state.epoch) ?? [];
}

/** Who voted in an epoch, by node id; undefined for one that has not come. */
export function coordinatorsOfEpoch({ epochs }: ControlState, epoch: number): readonly Coordinator[] | undefined {
  // Epochs are counted from 1 without a gap.
  return epochs[epoch - 1]?.coordinators;
}

/** What an operator should know about a state that is allowed all the same; one sentence each. */
export function warningsOf(state: ControlState): readonly string[] {
  const count = coordinatorsOf(state).length;
  if (count % 2 === 1) return [];
  return [`${count} coordinators survive the loss of no more of them than ${count - 1} would, and need one more vote`];
}

/** The members who vote, by node id. */
export function votersAmong(members: ReadonlyMap<NodeId, ControlMember>): readonly Coordinator[] {
  return [...members.values()]
    .filter(isCoordinator)
    .map(({ nodeId, peerId }) => coordinatorWith(nodeId, peerId))
    .sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
}

/** A coordinator, its key read from its peer id. Throws a TypeError for a peer id that was not checked. */
export function coordinatorWith(nodeId: NodeId, peerId: PeerId): Coordinator {
  const publicKey = publicKeyOf(peerId);
  if (publicKey === undefined) throw new TypeError(`not a peer id of an ed25519 key: ${peerId}`);
  return { nodeId, peerId, publicKey };
}
