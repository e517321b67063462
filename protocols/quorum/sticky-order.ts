import { blake3 } from '../../crdt/digest.ts';
import type { NodeId } from '../../crdt/ids.ts';

/**
 * The coordinators in the order in which they are asked to propose for a register: by rendezvous hashing, so every
 * node names the same one first, the work is spread evenly, and one that is gone moves no other's registers.
 */
export function stickyOrder<Each extends { readonly nodeId: NodeId }>(
  register: string,
  coordinators: readonly Each[],
): readonly Each[] {
  return coordinators
    .map((coordinator) => ({ coordinator, score: scoreOf(register, coordinator.nodeId) }))
    .sort((a, b) => Buffer.compare(b.score, a.score))
    .map(({ coordinator }) => coordinator);
}

function scoreOf(register: string, nodeId: NodeId): Uint8Array {
  return blake3(Buffer.from(`anabranch/sticky-proposer/1\0${register}\0${nodeId}`, 'utf8'));
}
