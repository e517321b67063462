import type { NodeId } from '../../crdt/ids.ts';
import { endsWithin } from '../../protocols/wire/deadline.ts';
import type { Clock } from '../ports/clock.ts';

/** Who asks waits so long for answers; those that come later are looked at later. */
const answeredMsMax = 500;
/** A holder that has not answered for so long may have a disk that hangs. */
const silentAfterMs = 5_000;

interface Question {
  readonly sinceMs: number;
  readonly ended: Promise<void>;
  /** Nobody waits for the answer any more. */
  isLate: boolean;
}

/**
 * Questions to many holders, one at a time to each: what comes while one is open is asked together with the next. A holder
 * that is slow delays only what it is asked about.
 */
export class HolderQuestions {
  readonly #clock: Clock;
  readonly #open = new Map<NodeId, Question>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  isOpen(node: NodeId): boolean {
    return this.#open.has(node);
  }

  /** Begins a question to a holder that has none open. `ask` never rejects, and is told how to learn whether it is late. */
  begin(node: NodeId, ask: (isLate: () => boolean) => Promise<void>): void {
    const ended = ask(() => this.#open.get(node)?.isLate === true).finally(() => this.#open.delete(node));
    this.#open.set(node, { sinceMs: this.#clock.monotonicMs(), ended, isLate: false });
  }

  /** Resolves once all that was begun since the last call is answered, or has been waited for. */
  async answered(): Promise<void> {
    const fresh = [...this.#open.values()].filter(({ isLate }) => !isLate);
    if (fresh.length === 0) return;
    await endsWithin(this.#clock, answeredMsMax, Promise.all(fresh.map(({ ended }) => ended)));
    for (const question of this.#open.values()) question.isLate = true;
  }

  /** Whether one of these nodes has not answered for long. */
  hasSilent(nodes: readonly NodeId[]): boolean {
    if (this.#open.size === 0) return false;
    const beforeMs = this.#clock.monotonicMs() - silentAfterMs;
    return nodes.some((node) => (this.#open.get(node)?.sinceMs ?? beforeMs) < beforeMs);
  }

  /** Resolves once none is open. */
  async settled(): Promise<void> {
    await Promise.all(Array.from(this.#open.values(), ({ ended }) => ended));
  }
}
