import type { NodeId } from '../../crdt/ids.ts';
import { arrival, type HashWords, hashWords } from '../../crdt/rendezvous.ts';

const registerDomain = 'anabranch/sticky-proposer/register/1';
const nodeDomain = 'anabranch/sticky-proposer/node/1';

/** The words of coordinators' names: the same few are ordered for every register. */
const wordsOf = new WeakMap<object, HashWords>();

/**
 * The coordinators in the order in which they are asked to propose for a register: by rendezvous hashing, so every
 * node names the same one first, the work is spread evenly, and one that is gone moves no other's registers.
 */
export function stickyOrder<Each extends { readonly nodeId: NodeId }>(
  register: string,
  coordinators: readonly Each[],
): readonly Each[] {
  const subject = hashWords(registerDomain, register);
  return coordinators
    .map((coordinator) => ({ coordinator, time: arrival(subject, nodeWords(coordinator)) }))
    .sort((a, b) => a.time - b.time || (a.coordinator.nodeId < b.coordinator.nodeId ? -1 : 1))
    .map(({ coordinator }) => coordinator);
}

function nodeWords(coordinator: { readonly nodeId: NodeId }): HashWords {
  let words = wordsOf.get(coordinator);
  if (words === undefined) {
    words = hashWords(nodeDomain, coordinator.nodeId);
    wordsOf.set(coordinator, words);
  }
  return words;
}
