import type { NodeId } from './ids.ts';
import { arrival, hashWords } from './rendezvous.ts';

/** Up to so many members every node holds every slot: all metadata everywhere costs less than asking for it. */
const wholeMeshNodesMax = 32;
/** How many nodes hold a slot of a larger mesh, beside the coordinators. */
const slotHolders = 8;

const slotDomain = 'anabranch/slot/1';
const nodeDomain = 'anabranch/slot-holder/1';

/** A member, as far as the placement of slots asks. */
export interface SlotMember {
  readonly nodeId: NodeId;
  readonly isCoordinator: boolean;
}

/**
 * The slots of metadata that a node holds: all of them in a mesh of up to 32 members and for a coordinator, else those
 * for which rendezvous hashing names it among eight. A function of the members alone, so all nodes agree, and a node
 * that comes or goes moves only its own share.
 */
export function slotsHeldBy(node: NodeId, members: readonly SlotMember[], slots: number): readonly number[] {
  const all = Array.from({ length: slots }, (_, slot) => slot);
  const self = members.find(({ nodeId }) => nodeId === node);
  if (members.length <= wholeMeshNodesMax || self === undefined || self.isCoordinator) return all;
  const others = members
    .filter(({ nodeId, isCoordinator }) => nodeId !== node && !isCoordinator)
    .map(({ nodeId }) => ({ nodeId, words: hashWords(nodeDomain, nodeId) }));
  const own = hashWords(nodeDomain, node);
  return all.filter((slot) => {
    const subject = hashWords(slotDomain, String(slot));
    const time = arrival(subject, own);
    let before = 0;
    for (const { nodeId, words } of others) {
      const theirs = arrival(subject, words);
      if (theirs < time || (theirs === time && nodeId < node)) before += 1;
    }
    return before < slotHolders;
  });
}
