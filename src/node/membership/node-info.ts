import type { ControlMember } from '../../../crdt/control/member.ts';
import type { DescriptorSet } from '../../../crdt/membership-set.ts';
import type { NodeInfo, NodeState } from '../api.ts';
import { addressesOf } from './addresses.ts';
import type { HeardHeartbeat } from './heartbeats.ts';
import type { Space } from './node-space.ts';

/** What is seen of a member. */
interface Seen {
  readonly descriptors: DescriptorSet;
  readonly isConnected: boolean;
  /** What this node knows of itself without hearing its own heartbeats; undefined for another. */
  readonly own: { readonly space: Space | undefined; readonly load: number } | undefined;
  readonly heard: HeardHeartbeat | undefined;
  readonly state: NodeState;
  readonly inStateForMs: number;
  readonly nowMs: number;
  readonly monotonicMs: number;
  readonly clockOffsetMs: number | undefined;
}

/** A member as the API shows it: what the control log decides, what the node says of itself, and what is seen of it. */
export function nodeInfoOf(member: ControlMember, seen: Seen): NodeInfo {
  const { nodeId, peerId, name, roles, labels } = member;
  const { descriptors, own, heard } = seen;
  const descriptor = descriptors.get(nodeId)?.descriptor;
  const space = own === undefined ? heard?.heartbeat : own.space;
  const capacityBytes = space?.capacityBytes ?? descriptor?.capacityBytes ?? null;
  return {
    nodeId,
    peerId,
    name,
    state: seen.state,
    since: Math.round(seen.nowMs - seen.inStateForMs),
    self: own !== undefined,
    connected: own !== undefined || seen.isConnected,
    addresses: addressesOf(member, descriptors),
    url: descriptor?.url ?? null,
    roles,
    labels,
    reportedLabels: descriptor?.labels ?? {},
    capacity: member.capacity ?? null,
    draining: member.draining === true,
    version: descriptor?.version ?? null,
    capacityBytes,
    freeBytes: space?.freeBytes ?? null,
    usedBytes: space === undefined ? null : Math.max(0, space.capacityBytes - space.freeBytes),
    load: own?.load ?? heard?.heartbeat.load ?? null,
    lastHeartbeatMs: own !== undefined ? 0 : heard === undefined ? null : Math.round(seen.monotonicMs - heard.atMs),
    clockOffsetMs: own !== undefined ? 0 : seen.clockOffsetMs === undefined ? null : Math.round(seen.clockOffsetMs),
  };
}
