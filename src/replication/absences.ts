import type { NodeId } from '../../crdt/ids.ts';
import type { Clock } from '../ports/clock.ts';

/** Moving content because a node is offline waits for so long: a restart, or a cable that was pulled, moves nothing. */
export const repairDelayMsDefault = 10 * 60_000;

/** What replication is told of which nodes are there. */
export interface NodeLiveness {
  /** For how long a member has been offline, in milliseconds; undefined for one that is not. This node never is. */
  offlineForMs(node: NodeId): number | undefined;
  /** How long ago the last sign of life of a member was, in milliseconds; undefined for who is no member, and this node. */
  silentForMs(node: NodeId): number | undefined;
  /** True for a member that has missed some heartbeats in a row, and for one that is offline. */
  isDoubtful(node: NodeId): boolean;
  /** Calls back when a node went offline or came back. Returns the unsubscriber. */
  onChange(listener: () => void): () => void;
}

/** Who is not there. */
export interface Absent {
  /** Offline for longer than the repair delay: others stand in. */
  readonly gone: ReadonlySet<NodeId>;
  /** Offline, and waited for. */
  readonly away: ReadonlySet<NodeId>;
  /** Milliseconds until the next of those who are away counts as gone; undefined when nobody is. */
  readonly nextMs: number | undefined;
}

/** Who of these members is not there now. */
export function absentOf(
  members: Iterable<NodeId>,
  liveness: Pick<NodeLiveness, 'offlineForMs'>,
  repairDelayMs: number,
): Absent {
  const gone = new Set<NodeId>();
  const away = new Set<NodeId>();
  let nextMs: number | undefined;
  for (const node of members) {
    const forMs = liveness.offlineForMs(node);
    if (forMs === undefined) continue;
    if (forMs >= repairDelayMs) {
      gone.add(node);
      continue;
    }
    away.add(node);
    nextMs = Math.min(nextMs ?? Number.POSITIVE_INFINITY, repairDelayMs - forMs);
  }
  return { gone, away, nextMs };
}

/** Between two looks at who is gone at least: a delay that is over but for a rounding is not looked at over and over. */
const lookMsMin = 1;

/**
 * Calls back when others are gone than before: because a delay is over, which no event tells, or because somebody is back.
 * Returns what ends that.
 */
export function watchGone(
  dependencies: {
    readonly clock: Clock;
    readonly liveness: Pick<NodeLiveness, 'onChange'>;
    readonly absent: () => Absent;
  },
  onChanged: () => void,
): () => void {
  const { clock, liveness, absent } = dependencies;
  let known: ReadonlySet<NodeId> = new Set();
  let cancelTimer: (() => void) | undefined;
  const look = (): void => {
    cancelTimer?.();
    const before = known;
    const { gone, nextMs } = absent();
    known = gone;
    cancelTimer = nextMs === undefined ? undefined : clock.setTimer(Math.max(lookMsMin, nextMs), look);
    if (gone.size !== before.size || [...gone].some((node) => !before.has(node))) onChanged();
  };
  const unsubscribe = liveness.onChange(look);
  look();
  return () => {
    unsubscribe();
    cancelTimer?.();
  };
}

/** A disk with less room than this takes no more content: some is needed for the records of all others. */
const fullBytes = 16 * 1024 * 1024;

/** Which of these members have no room for more content, as they said last; who has not said counts as having some. */
export function fullNodes(
  members: Iterable<NodeId>,
  freeBytesOf: (node: NodeId) => number | undefined,
): ReadonlySet<NodeId> {
  return new Set([...members].filter((node) => (freeBytesOf(node) ?? fullBytes) < fullBytes));
}
