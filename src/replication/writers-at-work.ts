import type { NodeId, VersionId } from '../../crdt/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Absent } from './absences.ts';
import type { RepairView } from './plan.ts';
import type { SubjectRecord } from './subject-index.ts';

/** A version no older than this is its writer's to copy. */
export const atWorkMs = 10_000;

/** Who wrote a version, and when by its own clock; undefined while the record cannot be read. */
export type WrittenVersions = (version: VersionId) => Pick<SubjectRecord, 'node' | 'time'> | undefined;

/**
 * Tells of versions whether their writers are making the first copies: those that were written just now by members that are
 * online. Where others write all the time, an audit that ordered such copies too would find as many more once they are there,
 * and never be the last. What an audit knows of copies is as old as the audit, so what was written since is new as well. A
 * writer whose clock is wrong has its versions taken for new at another time, for as long.
 */
export function writersAtWork(
  { written, clock }: { readonly written: WrittenVersions; readonly clock: Clock },
  members: ReadonlySet<NodeId>,
  { gone, away }: Absent,
): NonNullable<RepairView['isUnderWay']> {
  const startMs = clock.nowMs();
  return ({ version }) => {
    const { node, time } = written(version) ?? {};
    if (node === undefined || time === undefined) return false;
    if (time <= startMs - atWorkMs || time >= clock.nowMs() + atWorkMs) return false;
    return members.has(node) && !gone.has(node) && !away.has(node);
  };
}
