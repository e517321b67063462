import type { NodeId } from '../../crdt/ids.ts';
import type { PlacementDirectory } from './placement-directory.ts';
import type { CopyRecord, ReplicaIndex } from './replica-index.ts';
import type { ProvedContent, ReplicaProver } from './replica-prover.ts';
import type { SubjectIndex } from './subject-index.ts';

/** How far a node that drains has come, as the replica index knows it. */
export interface DrainProgress {
  /** Contents it has. */
  readonly contents: number;
  /** Of these, those that not all of their desired holders have proved yet, and their bytes; none when it can be switched off. */
  readonly remaining: number;
  readonly remainingBytes: number;
}

/** Copies that one look has proved, so that the next one finds them so. */
const provedMax = 4_096;

/**
 * Whether everything on a node is where it is to be without it: every desired holder of every version of each content has
 * proved its copy. Of copies that are there and not proved, so many are challenged for the next look. Contents that no
 * version is known to have do not count. In bounded turns.
 */
export async function drainProgress(
  node: NodeId,
  dependencies: {
    readonly index: ReplicaIndex;
    readonly subjects: SubjectIndex;
    readonly placement: PlacementDirectory;
    readonly prover: Pick<ReplicaProver, 'sample'>;
    /** The node that asks: what it holds whole it has verified itself. */
    readonly self: NodeId;
  },
): Promise<DrainProgress> {
  const { index, subjects, placement, prover, self } = dependencies;
  await subjects.catchUp();
  const unproved = new Map<NodeId, ProvedContent[]>();
  let unprovedCount = 0;
  const isProved = (copy: CopyRecord, content: ProvedContent): boolean => {
    if (copy.provedMs !== undefined || copy.nodeId === self) return true;
    unprovedCount += 1;
    if (unprovedCount <= provedMax) unproved.set(copy.nodeId, [...(unproved.get(copy.nodeId) ?? []), content]);
    return false;
  };
  const isElsewhere = (content: ProvedContent): boolean => {
    const copies = index.holders(content.manifest).filter(({ isSuspect }) => !isSuspect);
    const referring = subjects.subjectsOf(content.manifest);
    const needed = new Set(referring.flatMap(({ ns, key }) => placement.desired(ns, key).holders));
    const there = copies.filter((copy) => needed.has(copy.nodeId) && isProved(copy, content));
    // Without one desired holder there is nowhere else for it to be.
    return referring.length === 0 || (needed.size > 0 && !needed.has(node) && there.length === needed.size);
  };
  let contents = 0;
  let remaining = 0;
  let remainingBytes = 0;
  for await (const { manifest, sizeBytes } of index.contentsOf(node)) {
    contents += 1;
    if (isElsewhere({ manifest, sizeBytes })) continue;
    remaining += 1;
    remainingBytes += sizeBytes;
  }
  for (const [holder, group] of unproved) {
    const proofs = await prover.sample(holder, group);
    for (const [at, { result }] of proofs.entries()) {
      if (result !== 'unreachable') index.note(holder, (group[at] as ProvedContent).manifest, result);
    }
  }
  return { contents, remaining, remainingBytes };
}
