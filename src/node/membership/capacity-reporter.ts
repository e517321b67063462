import { stepOfBytes } from '../../../crdt/control/capacity.ts';
import type { ControlMember } from '../../../crdt/control/member.ts';
import type { NodeId } from '../../../crdt/ids.ts';
import type { SubmitInput, SubmitOutcome } from '../../control/submitter.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Random } from '../../ports/random.ts';

/** Capacities that are nearer than this many steps are let be: each change moves content. Two steps are a doubling. */
const stepsMin = 2;
/** Before the first look after a start: the nodes that started together spread over it. */
const firstDelayMs = 30_000;
/** Between two entries of this node, at least. */
const entryGapMs = 3_600_000;
/** After an entry that was not taken, doubled each time. */
const retryMsMin = 30_000;

interface Dependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** This node as the control log has it. */
  readonly self: () => ControlMember | undefined;
  readonly capacityBytes: () => number | undefined;
  /** Appends to the control log; see `ControlLog.submit`. */
  readonly submit: (input: SubmitInput) => Promise<SubmitOutcome>;
}

/**
 * Enters this node's capacity into the control log, coarsely and seldom: when nothing is said there, or what is said
 * is off by two steps. Without a majority it is refused at once, changes nothing, and is tried again later.
 */
export class CapacityReporter {
  readonly #dependencies: Dependencies;
  readonly #nodeId: NodeId;
  readonly #stopping = new AbortController();
  #cancelTimer: () => void = () => undefined;
  #failures = 0;
  /** Of an entry of which it is not known whether it was made: the same is asked for again. */
  #pending: { readonly operationId: string; readonly capacity: number } | undefined;

  constructor(dependencies: Dependencies, options: { readonly nodeId: NodeId }) {
    this.#dependencies = dependencies;
    this.#nodeId = options.nodeId;
  }

  start(): void {
    this.#schedule(firstDelayMs);
  }

  stop(): void {
    this.#cancelTimer();
    this.#stopping.abort();
  }

  #schedule(delayMs: number): void {
    const { clock, random } = this.#dependencies;
    this.#cancelTimer = clock.setTimer(delayMs * (1 + random.fraction() / 2), () => void this.#look());
  }

  async #look(): Promise<void> {
    const capacity = this.#pending?.capacity ?? this.#due();
    // What is not due now may be once the disk was measured, or the log has come.
    let delayMs = capacity === undefined ? firstDelayMs : entryGapMs;
    if (capacity !== undefined && !(await this.#enter(capacity))) {
      delayMs = Math.min(entryGapMs, retryMsMin * 2 ** Math.min(this.#failures, 10));
      this.#failures += 1;
    } else {
      this.#failures = 0;
    }
    if (!this.#stopping.signal.aborted) this.#schedule(delayMs);
  }

  /** The step to enter, if there is one. */
  #due(): number | undefined {
    const { self, capacityBytes } = this.#dependencies;
    const member = self();
    const bytes = capacityBytes();
    if (member === undefined || bytes === undefined || !member.roles.includes('storage')) return undefined;
    const step = stepOfBytes(bytes);
    const isNear = member.capacity !== undefined && Math.abs(member.capacity - step) < stepsMin;
    return isNear ? undefined : step;
  }

  /** True when the entry was made. */
  async #enter(capacity: number): Promise<boolean> {
    const { submit, log } = this.#dependencies;
    const { signal } = this.#stopping;
    try {
      const outcome = await submit({
        operations: [{ type: 'capacity', nodeId: this.#nodeId, capacity }],
        actor: `node:${this.#nodeId}`,
        reason: 'the capacity of its disk',
        signal,
        ...(this.#pending === undefined ? {} : { operationId: this.#pending.operationId }),
      });
      this.#pending = outcome.kind === 'unknown' ? { operationId: outcome.operationId, capacity } : undefined;
      if (outcome.kind === 'committed') log.info('membership:capacity_entered', { capacity, seq: outcome.seq });
      else log.debug('membership:capacity_not_entered', { capacity, outcome: outcome.kind });
      return outcome.kind === 'committed';
    } catch (error) {
      if (!signal.aborted) log.warn('membership:capacity_not_entered', { capacity, error });
      return false;
    }
  }
}
