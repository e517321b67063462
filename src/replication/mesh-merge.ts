import type { NodeId } from '../../crdt/ids.ts';
import type { CopyView, DrainView, PlannedView } from '../../protocols/replicas/views.ts';
import { comparePlaces } from './plan.ts';

/** What several coordinators answer, as one answer. */

/** A copy of a content by all accounts. */
export interface GatheredCopy {
  readonly nodeId: NodeId;
  readonly sizeBytes: number;
  /** When it was proved last, to anybody. */
  readonly provedMs: number | undefined;
  /** Somebody has seen a proof, or it is the copy of a coordinator that answered, which it verified as it stored it. */
  readonly isProved: boolean;
  /** Somebody caught the node without it. */
  readonly isSuspect: boolean;
}

/** The plans of several coordinators as one; what two of them order is listed once. */
export function mergePlans(
  plans: readonly { readonly pulls: readonly PlannedView[]; readonly isMore: boolean }[],
  limit: number,
): { readonly pulls: readonly PlannedView[]; readonly isMore: boolean } {
  const sorted = plans.flatMap(({ pulls }) => pulls).sort(comparePlaces);
  const distinct = sorted.filter((pull, at) => at === 0 || comparePlaces(sorted[at - 1] as PlannedView, pull) !== 0);
  // Past the end of a list that goes on there may be more of it, and that comes first.
  const ends = plans.flatMap(({ pulls, isMore }) => (isMore ? (pulls.at(-1) ?? []) : []));
  const known = distinct.filter((pull) => ends.every((end) => comparePlaces(pull, end) <= 0));
  const pulls = known.slice(0, limit);
  return { pulls, isMore: pulls.length < distinct.length || ends.length > 0 };
}

/** The copies of one content by the accounts of several coordinators. */
export function mergeCopies(accounts: readonly (readonly CopyView[])[]): GatheredCopy[] {
  const merged = new Map<NodeId, GatheredCopy>();
  for (const { nodeId, sizeBytes, provedMs, mark } of accounts.flat()) {
    const known = merged.get(nodeId);
    const times = [known?.provedMs, provedMs].filter((ms) => ms !== undefined);
    merged.set(nodeId, {
      nodeId,
      sizeBytes,
      provedMs: times.length === 0 ? undefined : Math.max(...times),
      isProved: known?.isProved === true || provedMs !== undefined || mark === 'own',
      isSuspect: known?.isSuspect === true || mark === 'suspect',
    });
  }
  return [...merged.values()].sort((left, right) => (left.nodeId < right.nodeId ? -1 : 1));
}

/**
 * Of those who asked the node what it has, and can read every version, whoever sees the most remain is believed; else of
 * those who asked it, or of all.
 */
export function mergeDrains(views: readonly DrainView[]): DrainView | undefined {
  const current = views.filter((view) => view.current);
  const sound = current.filter(({ unreadable }) => unreadable === 0);
  const [first, ...others] = [sound, current, views].find(({ length }) => length > 0) ?? [];
  return others.reduce<DrainView | undefined>(
    (most, view) => (most === undefined || view.remaining > most.remaining ? view : most),
    first,
  );
}

/**
 * Whether the last audits of those who answered come to one of all versions: each took exactly them to share the slots. While
 * that is not so, some slots are nobody's, or two coordinators count them.
 */
export function isOneAudit(
  accounts: readonly { readonly nodeId: NodeId; readonly among: readonly NodeId[] }[],
): boolean {
  const answered = accounts
    .map(({ nodeId }) => nodeId)
    .sort()
    .join();
  return accounts.every(({ among }) => [...among].sort().join() === answered);
}
