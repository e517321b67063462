import { majorityOf } from '../../crdt/certificate.ts';
import { toBase32 } from '../../crdt/digest.ts';
import type { Actor, NodeId, PeerId } from '../../crdt/ids.ts';
import { type Ballot, firstCounter } from '../../crdt/quorum/ballot.ts';
import {
  type AcceptingRound,
  type FailedRound,
  type PreparedRound,
  type PreparingRound,
  planStep,
  prepareRound,
  proposeValue,
  type Round,
  type RoundSettings,
  requestOf,
  resumeRound,
  retryDelayMs,
  type Step,
  successorOf,
  takeAnswer,
} from '../../crdt/quorum/proposer.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Log } from '../../src/ports/log.ts';
import type { Random } from '../../src/ports/random.ts';
import type { CoordinatorLink } from './coordinator-link.ts';
import { learnsEarly } from './early-learner.ts';
import { enclosureOf } from './enclosures.ts';
import { PromiseCache } from './promise-cache.ts';
import type { CertificateBook, Coordinator, Outcome, QuorumView, RegisterKind } from './register-kind.ts';
import { stickyOrder } from './sticky-order.ts';
import { type VoteAsk, VoteGroups } from './vote-groups.ts';

/** Registers whose promise is kept: 4 MB at most. */
const cachedPromisesMax = 10_000;
const incarnationBytes = 8;

/** What the proposing side of a coordinator needs from its node. */
export interface ProposerDependencies {
  readonly nodeId: NodeId;
  readonly localPeer: PeerId;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly view: () => QuorumView;
  readonly kindOf: (register: string) => RegisterKind;
  readonly certificates: CertificateBook;
  /** How a coordinator is asked, or undefined when it cannot be reached or must not be believed. */
  readonly linkTo: (coordinator: Coordinator) => CoordinatorLink | undefined;
}

/** How rounds for one register ended; `empty` only when there was nothing to propose again. */
export type Decision = Outcome | { readonly kind: 'empty' };

/** What is to become a register's next head. */
export interface Candidate {
  readonly head: string;
  /** Who has what the head names. */
  readonly from: PeerId;
  /** The other coordinators can hardly hold yet what it names. */
  readonly isFresh: boolean;
}

/** How a phase's votes are asked for. */
interface AskOptions extends Pick<VoteAsk, 'ownFirst' | 'preferred'> {
  /** Others can hardly hold yet what the value's head names: it goes along. */
  readonly isFresh: boolean;
}

/** `again`: something was gained, go on at once. `retry`: the round was lost, wait first; `lost`: one that had the candidate. */
type Attempt = Decision | 'again' | 'retry' | 'lost';

/** Runs rounds for registers until a candidate is decided on. The caller sees to it that each register has one at a time. */
export class RegisterProposer {
  readonly #dependencies: ProposerDependencies;
  readonly #promises = new PromiseCache(cachedPromisesMax);
  readonly #groups: VoteGroups;
  /** Drawn afresh at every start, so that no ballot of an earlier life is ever used again. */
  readonly #proposer: Actor;
  #counter = 0;

  constructor(dependencies: ProposerDependencies) {
    this.#dependencies = dependencies;
    this.#groups = new VoteGroups(dependencies);
    const incarnation = toBase32(dependencies.random.bytes(incarnationBytes));
    this.#proposer = `${dependencies.nodeId}.${incarnation}` as Actor;
  }

  /**
   * Brings a candidate into the register, or finds that it is there or can never be. Null proposes what is found
   * again, unchanged, under the present epoch. Rejects with the signal's reason; the candidate may be chosen all the same.
   */
  async decide(register: string, candidate: Candidate | null, signal: AbortSignal): Promise<Decision> {
    const { clock, random } = this.#dependencies;
    let isHeld = candidate === null;
    let mayBeChosen = false;
    for (let failures = 0; ; ) {
      signal.throwIfAborted();
      const view = this.#dependencies.view();
      if (!this.hasMajority(view)) return { kind: 'unavailable', reason: mayBeChosen ? 'lost' : 'no_majority' };
      if (candidate !== null && !isHeld && !(failures === 0 && this.#mayBeginUnflushed(view, register, candidate))) {
        isHeld = await this.#holdCandidate(register, candidate, signal);
        if (!isHeld) return { kind: 'unavailable', reason: mayBeChosen ? 'lost' : 'missing' };
      }
      const result = await this.#attempt(view, register, candidate, { mayBegin: failures === 0, signal });
      if (result === 'again') continue;
      if (result !== 'retry' && result !== 'lost') return result;
      mayBeChosen ||= result === 'lost';
      failures += 1;
      await clock.sleep(retryDelayMs(failures, random.fraction()), signal);
    }
  }

  /** True when a majority of the coordinators can be asked. */
  hasMajority(view: QuorumView): boolean {
    const reachable = view.coordinators.filter((each) => this.#dependencies.linkTo(each) !== undefined);
    return view.coordinators.length > 0 && reachable.length >= majorityOf(view.coordinators.length);
  }

  async #attempt(
    view: QuorumView,
    register: string,
    candidate: Candidate | null,
    { mayBegin, signal }: { readonly mayBegin: boolean; readonly signal: AbortSignal },
  ): Promise<Attempt> {
    const cached = this.#promises.take(register, view.epoch);
    const isFirst = mayBegin && cached === undefined && candidate !== null && this.#mayBegin(view, register);
    const prepared = isFirst ? this.#begin(view, register) : await this.#prepare(view, register, cached);
    if (prepared.phase !== 'prepared') return this.#lost(prepared);
    if (!(await this.#holdCurrent(view, register, prepared, signal))) return 'retry';
    const { certificates, kindOf } = this.#dependencies;
    const latest = certificates.latest(register);
    const step = planStep(prepared.current, {
      cluster: view.cluster,
      register,
      certified: latest?.statement ?? null,
      candidate: candidate?.head ?? null,
      judge: (current, head) => kindOf(register).check(register, current, head),
    });
    if (step.kind === 'propose') return this.#propose(view, prepared, step, { candidate, mayBegin });
    if (step.kind === 'nothing') return { kind: 'empty' };
    // A promise that a certificate has overtaken is of no use, and neither is what it found.
    if (step.kind === 'forgotten') return cached === undefined ? 'retry' : 'again';
    // What a cached promise found may be old news: a later head may contain what this one does not.
    if (step.kind === 'refused' && cached !== undefined) return 'again';
    // Nobody was asked yet what the register holds.
    if (step.kind === 'refused' && isFirst) return 'retry';
    if (prepared.current !== null) this.#keepPromise(prepared.settings, prepared.settings.ballot, prepared.current);
    if (step.kind === 'refused') return { kind: 'refused', refusal: step.refusal, certificate: latest };
    return latest === null ? 'retry' : { kind: 'confirmed', certificate: latest };
  }

  /**
   * Whether this node may begin with the register's first round, as far as is known before it asks itself: it is the
   * register's own coordinator, and nothing that earlier epochs chose can be found here only.
   */
  #mayBegin(view: QuorumView, register: string): boolean {
    const { nodeId, certificates } = this.#dependencies;
    if (!view.carried || certificates.latest(register) !== null) return false;
    return stickyOrder(register, view.coordinators)[0]?.nodeId === nodeId;
  }

  /**
   * Whether a candidate that is still on its way to disk may be proposed: in a round that needs no preparing, if its kind
   * can tell what it is to the value there. Where that comes to nothing, it is waited for.
   */
  #mayBeginUnflushed(view: QuorumView, register: string, { head }: Candidate): boolean {
    const isArriving = this.#dependencies.kindOf(register).isArriving?.(register, head) === true;
    return isArriving && (this.#promises.has(register, view.epoch) || this.#mayBegin(view, register));
  }

  #begin(view: QuorumView, register: string): PreparedRound {
    const ballot = { counter: firstCounter, proposer: this.#proposer };
    return resumeRound(settingsOf(view, register, ballot), null);
  }

  async #prepare(
    view: QuorumView,
    register: string,
    cached: ReturnType<PromiseCache['take']>,
  ): Promise<PreparedRound | FailedRound> {
    const settings = settingsOf(view, register, cached?.ballot ?? this.#nextBallot());
    if (cached !== undefined) return resumeRound(settings, cached.value);
    const round = await this.#run(view, prepareRound(settings), {
      isFresh: false,
      ownFirst: false,
      preferred: undefined,
    });
    return round as PreparedRound | FailedRound;
  }

  async #propose(
    view: QuorumView,
    prepared: PreparedRound,
    step: Extract<Step, { kind: 'propose' }>,
    { candidate, mayBegin }: { readonly candidate: Candidate | null; readonly mayBegin: boolean },
  ): Promise<Attempt> {
    const { localPeer, kindOf } = this.#dependencies;
    const own = step.own ? candidate : null;
    const asker = own === null || own.from === localPeer ? undefined : own.from;
    // What was written here leaves this node when it is on disk, as it is with its own vote.
    const isUnflushed =
      own?.from === localPeer &&
      kindOf(prepared.settings.register).isArriving?.(prepared.settings.register, own.head) === true;
    const round = await this.#run(view, proposeValue(prepared, step.value, this.#nextBallot()), {
      isFresh: own?.isFresh === true,
      // Who asked for it can add this node's vote to its own. Where this node gives none, the others are enough.
      ownFirst: isUnflushed || (mayBegin && asker !== undefined && learnsEarly(view)),
      preferred: view.coordinators.find(({ peerId }) => peerId === asker)?.nodeId,
    });
    if (round.phase !== 'chosen') {
      this.#lost(round as FailedRound);
      return step.value.head === candidate?.head ? 'lost' : 'retry';
    }
    const { settings, next, value, certificate } = round;
    await this.#dependencies.certificates.keep(certificate);
    this.#keepPromise(settings, next, value);
    return step.own || candidate === null ? { kind: 'confirmed', certificate } : 'again';
  }

  /** Asks the coordinators, and resolves as soon as the phase is decided; the rest of the answers is not waited for. */
  #run(
    view: QuorumView,
    round: PreparingRound | AcceptingRound,
    { isFresh, ownFirst, preferred }: AskOptions,
  ): Promise<Round> {
    const { epoch: _, ...request } = requestOf(round);
    const { register, ballot } = round.settings;
    const isEnclosed = isFresh && request.t === 'accept';
    const enclosure = isEnclosed ? enclosureOf(register, request.value.head, this.#dependencies.kindOf) : {};
    return new Promise((resolve) => {
      let current: Round = round;
      this.#groups.ask({
        view,
        item: { register, ...request, ...enclosure },
        ownFirst: ownFirst || ballot.counter === firstCounter,
        preferred,
        take: (from, answer, check) => {
          if (current.phase !== round.phase) return true;
          current = takeAnswer(current, from, answer, check);
          if (current.phase === round.phase) return false;
          resolve(current);
          return true;
        },
      });
    });
  }

  #lost({ settings, reason, seen }: FailedRound): 'retry' {
    if (seen !== null) this.#counter = Math.max(this.#counter, seen.counter);
    this.#dependencies.log.debug('quorum:round_lost', { register: settings.register, reason, seen });
    return 'retry';
  }

  /** What the candidate names must be here before it can be compared with the current head. */
  #holdCandidate(register: string, { head, from }: Candidate, signal: AbortSignal): Promise<boolean> {
    const { view, certificates, kindOf } = this.#dependencies;
    const known = certificates.latest(register)?.statement ?? null;
    const value = successorOf(view().cluster, register, known, head);
    return kindOf(register).hold(register, value, from, signal);
  }

  #holdCurrent(
    view: QuorumView,
    register: string,
    { current, reporter }: PreparedRound,
    signal: AbortSignal,
  ): Promise<boolean> | boolean {
    if (current === null || reporter === null) return true;
    const peer = view.coordinators.find(({ nodeId }) => nodeId === reporter)?.peerId;
    const from = peer ?? this.#dependencies.localPeer;
    return this.#dependencies.kindOf(register).hold(register, current, from, signal);
  }

  #keepPromise(
    settings: { readonly register: string; readonly epoch: number },
    ballot: Ballot,
    value: { readonly position: number; readonly head: string; readonly previous: string | null },
  ): void {
    this.#promises.put(settings.register, { epoch: settings.epoch, ballot, value });
  }

  #nextBallot(): Ballot {
    this.#counter += 1;
    return { counter: this.#counter, proposer: this.#proposer };
  }
}

function settingsOf(view: QuorumView, register: string, ballot: Ballot): RoundSettings {
  return { register, epoch: view.epoch, coordinators: view.coordinators.map(({ nodeId }) => nodeId), ballot };
}
