import type { NodeId, VersionId } from '../../crdt/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Absent } from './absences.ts';
import type { RepairView } from './plan.ts';
import type { Subject } from './subject.ts';
import type { SubjectRecord } from './subject-index.ts';

/** A version no older than this is its writer's to copy. */
export const atWorkMs = 10_000;
/** Versions left to their writers that are remembered; past it an audit looks at all again. */
const leftMax = 10_000;
/** Versions looked at in one turn of the event loop. */
const lookedAtPerTurnMax = 64;

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

interface Dependencies {
  readonly clock: Clock;
  /** Brings the index up to date. */
  readonly refresh: () => Promise<unknown>;
  /** Tells of versions, by what is known now, whether copies lack that somebody has to see to. */
  readonly judge: () => (subject: Subject) => boolean;
  /** There is such a version. */
  readonly onLate: () => void;
  readonly log: Log;
}

/**
 * The versions that the last audit left to their writers. When these have had their time they are looked at again, by
 * themselves; only if copies of one lack even then an audit is called for.
 */
export class LeftToWriters {
  readonly #dependencies: Dependencies;
  #subjects: Subject[] = [];
  #cancelTimer: (() => void) | undefined;
  #looking: Promise<void> | undefined;
  #isStopped = false;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /** Takes the place of those that the audit before left: it went through these again. */
  replace(subjects: Subject[]): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#subjects = subjects;
    if (subjects.length === 0 || this.#isStopped) return;
    this.#cancelTimer = this.#dependencies.clock.setTimer(atWorkMs, () => {
      this.#cancelTimer = undefined;
      this.#looking = this.#look(subjects).catch((error: unknown) => {
        if (error instanceof MeshError && error.code === 'shutting_down') return;
        this.#dependencies.log.warn('replication:not_looked_again', { error });
      });
    });
  }

  /** Resolves when nothing is looked at any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelTimer?.();
    await this.#looking;
  }

  async #look(subjects: readonly Subject[]): Promise<void> {
    const { clock, refresh, judge, onLate } = this.#dependencies;
    await refresh();
    if (this.#isStopped) return;
    const isWanting = judge();
    // More than are remembered were left, or so many that an audit costs no more.
    let isLate = subjects.length >= leftMax;
    for (let start = 0; start < subjects.length && !isLate; start += lookedAtPerTurnMax) {
      if (start > 0) await clock.sleep(0);
      // Another audit has looked meanwhile, or the node stops.
      if (this.#subjects !== subjects || this.#isStopped) return;
      isLate = subjects.slice(start, start + lookedAtPerTurnMax).some(isWanting);
    }
    if (isLate && !this.#isStopped) onLate();
  }
}

/** Adds a version to those that are left to their writers, as long as there are few. */
export function leave(subjects: Subject[], subject: Subject): void {
  if (subjects.length < leftMax) subjects.push(subject);
}
