import { encodeCanonical } from '../canonical-json.ts';
import { rawHash, toBase32 } from '../digest.ts';
import type { ClusterId, NodeId, PeerId } from '../ids.ts';
import { type GrowingIndex, MemoryIndex } from './growing-index.ts';
import type { ControlMember } from './member.ts';
import type { NamespacePolicy } from './namespace-policy.ts';
import { type ControlState, coordinatorWith, type RemovedMember } from './state.ts';

/** A state as JSON has it. Operation ids are not in it: they have an index of their own. */
interface PlainState {
  readonly v: 1;
  readonly cluster: ClusterId;
  readonly seq: number;
  readonly hash: string;
  readonly link: string | null;
  /** Peaks of the Merkle tree in base32, whose size is `seq` + 1. */
  readonly tree: readonly string[];
  readonly members: readonly ControlMember[];
  readonly removed: readonly RemovedMember[];
  readonly namespaces: readonly (readonly [string, NamespacePolicy])[];
  readonly configuration: readonly (readonly [string, Readonly<Record<string, unknown>>])[];
  readonly epochs: readonly PlainEpoch[];
}

interface PlainEpoch {
  readonly fromSeq: number;
  readonly coordinators: readonly (readonly [NodeId, PeerId])[];
}

/** The canonical JSON of a state without its operation ids: what a node keeps, so that it need not fold the whole log. */
export function encodeState(state: ControlState): string {
  const plain: PlainState = {
    v: 1,
    cluster: state.cluster,
    seq: state.seq,
    hash: state.hash,
    link: state.link,
    tree: state.tree.hashes.map(toBase32),
    members: [...state.members.values()],
    removed: [...state.removed].map(([, member]) => member),
    namespaces: [...state.namespaces],
    configuration: [...state.configuration],
    epochs: state.epochs.map(({ fromSeq, coordinators }) => ({
      fromSeq,
      coordinators: coordinators.map(({ nodeId, peerId }) => [nodeId, peerId] as const),
    })),
  };
  return encodeCanonical(plain);
}

/**
 * The state of a text that `encodeState` wrote, and whose bytes were checked: it is never input from elsewhere.
 * Throws a TypeError or SyntaxError for any other text.
 *
 * @param operations the operation ids of the entries up to the state's
 */
export function decodeState(text: string, operations: GrowingIndex<number>): ControlState {
  const plain = JSON.parse(text) as PlainState;
  if (plain.v !== 1) throw new TypeError('this is not version 1 of the state format');
  return {
    cluster: plain.cluster,
    seq: plain.seq,
    hash: plain.hash,
    link: plain.link,
    tree: { size: plain.seq + 1, hashes: plain.tree.map(rawHash) },
    epoch: plain.epochs.length,
    members: new Map(plain.members.map((member) => [member.nodeId, member])),
    removed: MemoryIndex.empty<RemovedMember>().with(plain.removed.map((member) => [member.peerId, member])),
    namespaces: new Map(plain.namespaces),
    configuration: new Map(plain.configuration),
    operations,
    epochs: plain.epochs.map(({ fromSeq, coordinators }, at) => ({
      epoch: at + 1,
      coordinators: coordinators.map(([nodeId, peerId]) => coordinatorWith(nodeId, peerId)),
      fromSeq,
    })),
  };
}
