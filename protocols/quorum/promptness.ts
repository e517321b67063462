import type { NodeId } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Coordinator } from './register-kind.ts';
import { stickyOrder } from './sticky-order.ts';

/** Weight of the latest answer in the smoothed time. */
const latestWeight = 1 / 8;
/** How many times as long as usual an answer may take before others are asked too, and between what bounds. */
const patienceFactor = 4;
const patienceMsMin = 50;
const patienceMsMax = 1_000;
/** The same of one who has not answered yet. */
const patienceMsUnknown = 250;
/** For how long one may not be asked, while others are: then it is asked as well, so that what is known of it stays true. */
const unaskedMsMax = 5_000;

interface Known {
  readonly smoothedMs?: number;
  /** When it was last asked, or first heard of. */
  readonly askedAtMs: number;
  /** It took too long, and comes last until it answers. */
  readonly isLate: boolean;
}

/** How promptly coordinators answer: those that are likely to answer first are asked first, and waited for as long as is usual. */
export class Promptness {
  readonly #clock: Clock;
  readonly #known = new Map<NodeId, Known>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Coordinators in the order in which they are asked: the preferred one, then the others by how long they usually take, where
   * twice as long is a difference, and else by the register's own order; those that took too long last.
   */
  ranked(
    coordinators: readonly Coordinator[],
    { register, preferred }: { readonly register: string; readonly preferred: NodeId | undefined },
  ): Coordinator[] {
    const rankOf = (coordinator: Coordinator): number => {
      const { smoothedMs = 0, isLate } = this.#of(coordinator);
      if (isLate) return Number.POSITIVE_INFINITY;
      return coordinator.nodeId === preferred ? -1 : Math.floor(Math.log2(Math.max(1, smoothedMs)));
    };
    const ranks = new Map(coordinators.map((each) => [each, rankOf(each)]));
    // The order within a rank stays as it is.
    return [...stickyOrder(register, coordinators)].sort((a, b) => {
      const [rankA, rankB] = [ranks.get(a) as number, ranks.get(b) as number];
      return rankA === rankB ? 0 : rankA - rankB;
    });
  }

  /** How long to wait for all of these before others are asked as well, in milliseconds. */
  patienceMs(asked: readonly Coordinator[]): number {
    const each = asked.map((coordinator) => {
      const { smoothedMs } = this.#of(coordinator);
      return smoothedMs === undefined ? patienceMsUnknown : patienceFactor * smoothedMs;
    });
    return Math.min(patienceMsMax, Math.max(patienceMsMin, ...each));
  }

  /** True when it was not asked for so long that it is to be asked beside those that come first. */
  isOverdue(coordinator: Coordinator): boolean {
    return this.#clock.monotonicMs() - this.#of(coordinator).askedAtMs >= unaskedMsMax;
  }

  asked(coordinator: Coordinator): void {
    const askedAtMs = this.#clock.monotonicMs();
    this.#known.set(coordinator.nodeId, { ...this.#of(coordinator), askedAtMs });
  }

  answered(coordinator: Coordinator, afterMs: number): void {
    const known = this.#of(coordinator);
    const { smoothedMs = afterMs } = known;
    const smoothed = smoothedMs + latestWeight * (afterMs - smoothedMs);
    this.#known.set(coordinator.nodeId, { ...known, smoothedMs: smoothed, isLate: false });
  }

  /** It has not answered in time. */
  late(coordinator: Coordinator): void {
    this.#known.set(coordinator.nodeId, { ...this.#of(coordinator), isLate: true });
  }

  #of({ nodeId }: Coordinator): Known {
    let known = this.#known.get(nodeId);
    if (known === undefined) {
      known = { askedAtMs: this.#clock.monotonicMs(), isLate: false };
      this.#known.set(nodeId, known);
    }
    return known;
  }
}
