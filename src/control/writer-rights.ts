import type { ControlMember, Role } from '../../crdt/control/member.ts';
import type { ControlState } from '../../crdt/control/state.ts';
import type { NodeId, PeerId } from '../../crdt/ids.ts';
import { publicKeyOf } from '../../crdt/signature.ts';
import type { VersionFault } from '../../crdt/version.ts';
import type { WriterPosition } from './writer-positions.ts';

/** Who may write versions: an agent only follows what others wrote. */
const writingRoles: readonly Role[] = ['coordinator', 'storage'];

/** A place in the control log, as a record names the one its writer stood at. */
export interface LogPosition {
  readonly seq: number;
  readonly hash: string;
}

/** How a writer stands at the place in the log that its record names. */
export type WriterVerdict =
  /** It may write, with this key. */
  | { readonly kind: 'may'; readonly publicKey: Uint8Array }
  /** The log here has not come so far. */
  | { readonly kind: 'unknown' }
  /** It never may: the same on every node, and for ever. */
  | { readonly kind: 'fault'; readonly fault: VersionFault };

/** A member that may write is of no use without its key, and parsing it for every record would cost more than the rest. */
const keys = new WeakMap<ControlMember, Uint8Array>();

/**
 * Judges the node that wrote a record by the log position the record names: member then, with which key, in a role
 * that writes. What was committed later changes nothing about it.
 */
export function judgeWriter(
  positionAt: (seq: number) => WriterPosition | undefined,
  { log, node }: { readonly log: LogPosition; readonly node: NodeId },
): WriterVerdict {
  const position = positionAt(log.seq);
  if (position === undefined) return { kind: 'unknown' };
  if (position.hash !== log.hash) {
    const what = log.seq === 0 ? 'belongs to another cluster' : 'stands on another control log';
    return fault('malformed', `the record ${what}: entry ${log.seq} is ${position.hash}, not ${log.hash}`);
  }
  const member = position.members.get(node);
  if (member === undefined) return fault('bad_signature', `node ${node} is not a member at entry ${log.seq}`);
  if (!mayWrite(member)) return fault('not_permitted', `node ${node} has no role that writes at entry ${log.seq}`);
  return { kind: 'may', publicKey: keyOf(member) };
}

/** Why a node may not write now, as a sentence for who asked it to; undefined when it may. */
export function whyMayNotWrite(
  { members, removed }: Pick<ControlState, 'members' | 'removed'>,
  { nodeId, peerId }: { readonly nodeId: NodeId; readonly peerId: PeerId },
): string | undefined {
  const removal = removed.get(peerId);
  if (removal !== undefined) {
    return `this node was put out of the cluster by entry ${removal.seq} of the control log: nobody takes its writes any more`;
  }
  const member = members.get(nodeId);
  if (member === undefined) return 'this node is no member of the cluster yet, as far as its control log says';
  return mayWrite(member) ? undefined : 'this node has no role that writes, as far as its control log says';
}

/** True when a member's versions are taken in. */
function mayWrite({ roles }: Pick<ControlMember, 'roles'>): boolean {
  return roles.some((role) => writingRoles.includes(role));
}

/** The 32-byte ed25519 key of a member. */
function keyOf(member: ControlMember): Uint8Array {
  const known = keys.get(member);
  if (known !== undefined) return known;
  const key = publicKeyOf(member.peerId);
  if (key === undefined) throw new TypeError(`not a peer id of an ed25519 key: ${member.peerId}`);
  keys.set(member, key);
  return key;
}

function fault(code: VersionFault['code'], message: string): WriterVerdict {
  return { kind: 'fault', fault: { code, message } };
}
