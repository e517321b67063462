import type { BlobHash, NodeId } from '../../crdt/ids.ts';
import type { Absent } from './absences.ts';
import type { PlacementDirectory } from './placement-directory.ts';
import type { RepairView } from './plan.ts';
import type { CopyRecord, ReplicaIndex } from './replica-index.ts';
import type { SubjectIndex } from './subject-index.ts';

/** The copies of a content that members say they have. */
export function copiesOf(
  index: Pick<ReplicaIndex, 'holders'>,
  members: ReadonlySet<NodeId>,
  manifest: BlobHash,
): CopyRecord[] {
  return index.holders(manifest).filter(({ nodeId }) => members.has(nodeId));
}

/** What is known now, as a plan follows from it. What this node holds whole it has verified itself. */
export function repairViewOf(
  dependencies: {
    readonly index: Pick<ReplicaIndex, 'holders'>;
    readonly subjects: Pick<SubjectIndex, 'subjectsOf'>;
    readonly placement: PlacementDirectory;
  },
  {
    absent: { gone, away },
    members,
    full,
    isUnderWay,
    self,
  }: {
    readonly absent: Absent;
    readonly members: ReadonlySet<NodeId>;
    readonly full: ReadonlySet<NodeId>;
    readonly isUnderWay: RepairView['isUnderWay'];
    readonly self: NodeId;
  },
): RepairView {
  const { index, subjects, placement } = dependencies;
  return {
    placement: placement.map(),
    gone,
    away,
    full,
    copies: (manifest) =>
      copiesOf(index, members, manifest).map(({ nodeId, provedMs, isSuspect }) => {
        return { nodeId, isProved: provedMs !== undefined || nodeId === self, isSuspect };
      }),
    subjectsOf: (manifest) => subjects.subjectsOf(manifest),
    ...(isUnderWay === undefined ? {} : { isUnderWay }),
  };
}
