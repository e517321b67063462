import { encodeCanonical } from '../../crdt/canonical-json.ts';
import type { EntryText } from '../../crdt/control/entry.ts';
import type { ControlOperation } from '../../crdt/control/operations.ts';
import type { ControlState } from '../../crdt/control/state.ts';
import { type ControlRefusal, draftEntry, foldEntry } from '../../crdt/control-log.ts';
import type { ProposeOptions } from '../../protocols/quorum/engine.ts';
import type { Outcome } from '../../protocols/quorum/register-kind.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { MeshError } from '../ports/mesh-error.ts';
import type { Random } from '../ports/random.ts';
import type { CarryStatus } from './carry-over.ts';
import type { ControlStore } from './control-store.ts';
import { type AskedOperation, drawOperationId, identified } from './operation-ids.ts';

/** How often an entry is drafted again when the log has moved, or what it names could not be had. */
const attemptsMax = 16;
/** Between two attempts, at most; the first ones come sooner. */
const attemptDelayMsMax = 500;
/** Calls of this node that wait for their turn. */
const waitingMax = 64;

/** How far the registers have come to the coordinators of an epoch. */
export type CarryProgress = Pick<CarryStatus, 'epoch' | 'done' | 'total'>;

/** What an administrator asks for. */
export interface SubmitInput {
  /** Done together or not at all. */
  readonly operations: readonly AskedOperation[];
  /** The principal. */
  readonly actor: string;
  /** In the principal's words; may be empty. */
  readonly reason: string;
  /** 26 to 64 characters of base32: the same again gives the same answer. Drawn when absent. */
  readonly operationId?: string;
  readonly signal?: AbortSignal;
}

/** The three ways in which an admin call ends. */
export type SubmitOutcome =
  /** It is in the log, by this call or by an earlier one of the same operation id. */
  | { readonly kind: 'committed'; readonly seq: number; readonly hash: string; readonly operationId: string }
  /** It is not in the log, and this call will not bring it there. */
  | {
      readonly kind: 'refused';
      readonly code: ControlRefusal['code'] | 'operation_reused' | 'quorum_unavailable';
      readonly message: string;
      readonly operationId: string;
      /** With `carry_over_running`, when it could be learnt. */
      readonly progress?: CarryProgress;
    }
  /** It may be in the log, now or soon: the same call with the same operation id tells. */
  | { readonly kind: 'unknown'; readonly operationId: string };

interface Dependencies {
  readonly store: ControlStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Keeps a draft, flushed, for those who are asked to vote for it. */
  readonly hold: (draft: EntryText) => Promise<void>;
  readonly propose: (head: string, options: ProposeOptions) => Promise<Outcome>;
  /** False when it is certain that nothing can be decided now. */
  readonly canPropose: () => boolean;
  /** True when this node is a coordinator, and so proposes by itself. */
  readonly votes: () => boolean;
  /** Fetches the log up to a position, as far as that can be. */
  readonly catchUp: (seq: number) => Promise<void>;
  readonly holdsBack: () => ControlRefusal | undefined;
  /** How far the carry-over has come that another coordinator refuses a change for. */
  readonly carryProgress: () => Promise<CarryProgress | undefined>;
}

type Committed = Extract<SubmitOutcome, { kind: 'committed' }>;

/** What one attempt came to: the end, or to try again: `unasked` of anybody, the log has `moved`, or the draft is still `open`. */
type Attempt = SubmitOutcome | 'unasked' | 'moved' | 'open';

/** Appends to the control log by compare-and-set: drafts on what is here, has it chosen, and drafts anew when somebody else was first. */
export class Submitter {
  readonly #dependencies: Dependencies;
  readonly #stopping = new AbortController();
  #waiting = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  async submit(input: SubmitInput): Promise<SubmitOutcome> {
    const operationId = input.operationId ?? drawOperationId(this.#dependencies.random);
    const operations = identified(input.operations, operationId);
    const earlier = this.#earlier(operations, operationId);
    if (earlier !== undefined) return earlier;
    if (!this.#dependencies.canPropose()) return unavailable(operationId);
    if (this.#waiting >= waitingMax) {
      return { ...unavailable(operationId), message: `${waitingMax} operations wait at this node already` };
    }
    this.#waiting += 1;
    // Two of this node's own would only take each other's place.
    const done = this.#turn.then(() => this.#run(input, operations, operationId));
    this.#turn = done.catch(() => undefined);
    return done.finally(() => {
      this.#waiting -= 1;
    });
  }

  /** Attempts nothing more: calls that wait for their next one end. */
  stop(): void {
    this.#stopping.abort(new MeshError('shutting_down', 'the node is stopping'));
  }

  async #run(input: SubmitInput, operations: readonly ControlOperation[], operationId: string): Promise<SubmitOutcome> {
    const { clock, random, log } = this.#dependencies;
    const stopping = this.#stopping.signal;
    const ended = input.signal === undefined ? stopping : AbortSignal.any([input.signal, stopping]);
    let last: EntryText | undefined;
    /** The last draft may still be chosen. One whose place is taken may not: then the next is drafted. */
    let open = false;
    let isAsked = false;
    for (let attempt = 1; attempt <= attemptsMax && !stopping.aborted; attempt += 1) {
      const drafted = this.#draft(input, operations, operationId, last);
      if ('kind' in drafted) return this.#withProgress(drafted);
      if (drafted !== last) open = false;
      if (!this.#dependencies.canPropose()) return open ? { kind: 'unknown', operationId } : unavailable(operationId);
      last = drafted;
      const result = await this.#attempt(drafted, operations, operationId, input.signal);
      if (typeof result === 'object') return open ? asOpen(result) : result;
      open ||= result === 'open';
      isAsked ||= result !== 'unasked';
      log.debug('control:again', { operationId, attempt, seq: drafted.entry.seq });
      const delayMs = Math.min(attemptDelayMsMax, 10 * 2 ** attempt) * (0.5 + random.fraction() / 2);
      await clock.sleep(delayMs, ended).catch(() => undefined);
      if (ended.aborted) break;
    }
    const earlier = this.#earlier(operations, operationId);
    return earlier ?? (isAsked ? { kind: 'unknown', operationId } : unavailable(operationId));
  }

  /** The entry to propose, which is the last one while its place is free; or how the call ends without. */
  #draft(
    { actor, reason }: SubmitInput,
    operations: readonly ControlOperation[],
    operationId: string,
    last: EntryText | undefined,
  ): EntryText | SubmitOutcome {
    const { store, clock, holdsBack } = this.#dependencies;
    const state = store.state();
    const earlier = this.#earlier(operations, operationId);
    if (earlier !== undefined) return earlier;
    if (last?.entry.previous === state.hash) return last;
    const time = Math.max(0, Math.round(clock.nowMs()));
    const drafted = draftEntry(state, { operations, actor, reason, time });
    if (!drafted.ok) return refused(operationId, drafted.error);
    const held = changesCoordinators(state, drafted.value) ? holdsBack() : undefined;
    return held === undefined ? drafted.value : refused(operationId, held);
  }

  async #attempt(
    draft: EntryText,
    operations: readonly ControlOperation[],
    operationId: string,
    signal: AbortSignal | undefined,
  ): Promise<Attempt> {
    const { store, hold, propose, catchUp } = this.#dependencies;
    await hold(draft);
    const outcome = await this.#proposed(draft.hash, propose, signal);
    if (outcome === undefined) return { kind: 'unknown', operationId };
    switch (outcome.kind) {
      case 'confirmed': {
        const { position } = outcome.certificate.statement;
        if (store.state().seq < position) await catchUp(position);
        return this.#earlier(operations, operationId) ?? { kind: 'unknown', operationId };
      }
      case 'refused': {
        const { code, message } = outcome.refusal;
        if (code !== 'log_moved') {
          if (outcome.open === true) return { kind: 'unknown', operationId };
          return this.#withProgress(refused(operationId, { code: code as ControlRefusal['code'], message }));
        }
        await catchUp(outcome.certificate?.statement.position ?? store.state().seq + 1);
        return outcome.open === true ? 'open' : 'moved';
      }
      case 'unavailable':
        return this.#unavailable(outcome.reason, operationId);
    }
  }

  /** Who has to wait for a carry-over is told how far it has come, whichever coordinator said so. */
  async #withProgress(outcome: SubmitOutcome): Promise<SubmitOutcome> {
    if (outcome.kind !== 'refused' || outcome.code !== 'carry_over_running') return outcome;
    const progress = await this.#dependencies.carryProgress();
    return progress === undefined ? outcome : { ...outcome, progress };
  }

  async #unavailable(
    reason: Extract<Outcome, { kind: 'unavailable' }>['reason'],
    operationId: string,
  ): Promise<Attempt> {
    const { store, votes, catchUp } = this.#dependencies;
    switch (reason) {
      case 'deadline':
        return { kind: 'unknown', operationId };
      case 'no_majority':
        // A coordinator that has just started has to be heard by the others before it proposes.
        return votes() ? 'unasked' : unavailable(operationId);
      case 'lost':
        return 'open';
      case 'epoch':
      case 'missing':
      case 'busy':
        await catchUp(store.state().seq + 1);
        return 'open';
    }
  }

  /** Undefined when the caller gave up, or the node is stopping: the entry may be chosen all the same. */
  async #proposed(
    head: string,
    propose: Dependencies['propose'],
    signal: AbortSignal | undefined,
  ): Promise<Outcome | undefined> {
    try {
      return await propose(head, signal === undefined ? {} : { signal });
    } catch (error) {
      this.#dependencies.log.debug('control:proposal_ended', { head, error });
      return undefined;
    }
  }

  /** How an earlier call of the same operation id ended, as far as the log here says. */
  #earlier(operations: readonly ControlOperation[], operationId: string): SubmitOutcome | undefined {
    const { store } = this.#dependencies;
    const seq = operations.map(({ id }) => store.state().operations.get(id)).find((found) => found !== undefined);
    const entry = seq === undefined ? undefined : store.entry(seq)?.entry;
    if (seq === undefined || entry === undefined) return undefined;
    if (encodeCanonical(entry.entry.operations) === encodeCanonical(operations)) {
      return { kind: 'committed', seq, hash: entry.hash, operationId } satisfies Committed;
    }
    const message = `entry ${seq} has the operation id ${operationId} for something else: use another one`;
    return { kind: 'refused', code: 'operation_reused', message, operationId };
  }
}

function changesCoordinators(state: ControlState, draft: EntryText): boolean {
  const committed = { get: () => undefined, with: () => state.operations };
  const folded = foldEntry({ ...state, operations: committed }, draft);
  return folded.ok && folded.value.epoch > state.epoch;
}

function refused(operationId: string, { code, message }: Pick<ControlRefusal, 'code' | 'message'>): SubmitOutcome {
  return { kind: 'refused', code, message, operationId };
}

/** How a call ends whose draft may be chosen by an earlier attempt: no refusal of a later one says that it is not. */
function asOpen(outcome: SubmitOutcome): SubmitOutcome {
  const isRefusal = outcome.kind === 'refused' && outcome.code !== 'operation_reused';
  return isRefusal ? { kind: 'unknown', operationId: outcome.operationId } : outcome;
}

function unavailable(operationId: string): Extract<SubmitOutcome, { kind: 'refused' }> {
  return {
    kind: 'refused',
    code: 'quorum_unavailable',
    message: 'no majority of the coordinators can be reached from here, so nothing was changed; writes of data go on',
    operationId,
  };
}
