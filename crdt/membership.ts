import * as Automerge from '@automerge/automerge';
import { toHex } from './digest.ts';
import type { NodeId } from './ids.ts';

/** Changes a document may have before it is begun anew from what it says now. */
const changesKeptMax = 200;

type MembershipRoot = Record<string, Automerge.ImmutableString>;

/**
 * The membership document as one file that any Automerge tool opens: one key a node, its value the text of the node's
 * descriptor. Only this node's own changes are ever in it (the wire carries descriptors), so two nodes that hold the
 * same descriptors have documents that say the same, by different changes: never hash or send one.
 *
 * @param saved what this function gave before, if anything. Throws when Automerge cannot load it, which is rot.
 * @param texts the descriptors to stand in it, all of them; what stands there already is not written again
 * @param actor 16 bytes, drawn anew at every process start: an actor that comes back after a disk was put back in time
 *   would issue its changes twice, and such a document never opens again
 */
export function writeMembership(
  saved: Uint8Array | undefined,
  texts: ReadonlyMap<NodeId, string>,
  actor: Uint8Array,
): Uint8Array {
  const actorId = toHex(actor);
  let document =
    saved === undefined
      ? Automerge.init<MembershipRoot>({ actor: actorId })
      : Automerge.load<MembershipRoot>(saved, { actor: actorId });
  if (Automerge.stats(document).numChanges >= changesKeptMax) {
    Automerge.free(document);
    document = Automerge.init<MembershipRoot>({ actor: actorId });
  }
  const current = textsOf(document);
  const written = [...texts].filter(([nodeId, text]) => current.get(nodeId) !== text);
  const gone = [...current.keys()].filter((nodeId) => !texts.has(nodeId));
  if (written.length + gone.length > 0) {
    document = Automerge.change(document, { time: 0 }, (root) => {
      for (const [nodeId, text] of written) root[nodeId] = new Automerge.ImmutableString(text);
      for (const nodeId of gone) delete root[nodeId];
    });
  }
  const bytes = Automerge.save(document);
  Automerge.free(document);
  return bytes;
}

/** The descriptors' texts that a membership document says. Throws when Automerge cannot load it, which is rot. */
export function readMembership(saved: Uint8Array): ReadonlyMap<NodeId, string> {
  const document = Automerge.load<MembershipRoot>(saved);
  const texts = textsOf(document);
  Automerge.free(document);
  return texts;
}

function textsOf(document: Automerge.Doc<MembershipRoot>): Map<NodeId, string> {
  return new Map(Object.entries(document).map(([nodeId, text]) => [nodeId as NodeId, String(text)]));
}
