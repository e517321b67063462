import type { DocId, NodeId } from '../../crdt/ids.ts';
import { arrival, hashWords } from '../../crdt/rendezvous.ts';
import type { Absent } from './absences.ts';

/** The coordinator that audits a slot: the same whoever asks. */
export function auditorOf(slot: number, coordinators: readonly NodeId[]): NodeId | undefined {
  const subject = hashWords('anabranch/auditor/slot/1', String(slot));
  let first: { readonly node: NodeId; readonly ms: number } | undefined;
  for (const node of [...coordinators].sort()) {
    const ms = arrival(subject, hashWords('anabranch/auditor/node/1', node));
    if (first === undefined || ms < first.ms) first = { node, ms };
  }
  return first?.node;
}

/** Tells of documents whether a coordinator audits them, since it does their slots among those that are online. */
export function sharesOf(
  dependencies: { readonly coordinators: () => readonly NodeId[]; readonly slotOf: (doc: DocId) => number },
  { gone, away }: Absent,
  self: NodeId,
): (doc: DocId) => boolean {
  const { coordinators, slotOf } = dependencies;
  const online = coordinators().filter((node) => !gone.has(node) && !away.has(node));
  if (!online.includes(self)) return () => false;
  const known = new Map<number, boolean>();
  return (doc) => {
    const slot = slotOf(doc);
    const mine = known.get(slot) ?? auditorOf(slot, online) === self;
    known.set(slot, mine);
    return mine;
  };
}
