import {
  batchOf,
  majorityOf,
  type Statement,
  type Vote,
  verifyBatch,
  verifyStatement,
} from '../../crdt/certificate.ts';
import type { NodeId } from '../../crdt/ids.ts';
import type { ProposerAnswer, VoteCheck } from '../../crdt/quorum/proposer.ts';
import type { BatchPlace, VoteBatch } from '../../crdt/vote-batch.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { CoordinatorLink, LinkAnswer, LinkAnswers } from './coordinator-link.ts';
import { learnsEarly } from './early-learner.ts';
import { signatureUnderAll, statementOf } from './group-vote.ts';
import { bytesOf, enclosedBytesOfVotesMax, type VoteItem, votesMax } from './messages.ts';
import { Promptness } from './promptness.ts';
import type { Coordinator, QuorumView } from './register-kind.ts';

/**
 * Groups on their way at once that no majority has answered yet. What is asked meanwhile shares the next one, which goes
 * when one of them has come back, or when it has grown as large as the largest of them: so a round that meets another one
 * does not wait for it, and under load groups grow.
 */
const openGroupsMax = 2;
/** Registers that may wait for a group. */
const queuedMax = 8_192;

/** One register's part of a group. */
export interface VoteAsk {
  /** Who is asked. */
  readonly view: QuorumView;
  readonly item: VoteItem;
  /** This node's own vote is flushed before any other is asked for, and goes with the question where that is of use. */
  readonly ownFirst: boolean;
  /** Who is best asked beside this node: it has what the round is about. */
  readonly preferred?: NodeId | undefined;
  /** Is told of each coordinator's answer; of some twice, and then the first counts. True once the round needs no other. */
  readonly take: (from: NodeId, answer: ProposerAnswer, check: VoteCheck) => boolean;
}

type Accepted = Extract<LinkAnswer, { readonly t: 'accepted' }>;

interface Dependencies {
  readonly nodeId: NodeId;
  readonly clock: Clock;
  /** How a coordinator is asked, or undefined when it cannot be reached or must not be believed. */
  readonly linkTo: (coordinator: Coordinator) => CoordinatorLink | undefined;
}

/**
 * Gathers rounds of many registers into groups, which go to coordinators alike: one message, one flush and one
 * signature each, so that a coordinator's signature under the whole group serves every certificate of it. Under load
 * groups grow by themselves, as with group commit, and a single round never waits.
 *
 * A majority is asked, and the others only when one of those does not vote, or takes longer than usual, or when they were not
 * asked for a while: they learn from the certificate what was decided.
 */
export class VoteGroups {
  readonly #dependencies: Dependencies;
  readonly #promptness: Promptness;
  #queue: VoteAsk[] = [];
  /** How many rounds each of the groups on its way has. */
  readonly #open: number[] = [];
  #isPlanned = false;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
    this.#promptness = new Promptness(dependencies.clock);
  }

  /** Coordinators of the view answer, `lost` at the least, until the round needs no other answer or all of them have. */
  ask(ask: VoteAsk): void {
    if (this.#queue.length < queuedMax) this.#queue.push(ask);
    else loseAll([ask]);
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    // What is asked in the same turn goes into the same group.
    queueMicrotask(() => {
      this.#isPlanned = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#mayGo()) {
      const asks = this.#take();
      this.#open.push(asks.length);
      void this.#run(asks).finally(() => {
        this.#open.splice(this.#open.indexOf(asks.length), 1);
        this.#pump();
      });
    }
  }

  #mayGo(): boolean {
    if (this.#queue.length === 0 || this.#open.length >= openGroupsMax) return false;
    return this.#queue.length >= Math.max(0, ...this.#open);
  }

  /** The next that can go together: asked of the same coordinators, in the same manner. */
  #take(): VoteAsk[] {
    const [first] = this.#queue;
    const taken: VoteAsk[] = [];
    const left: VoteAsk[] = [];
    let enclosedBytes = 0;
    let preferred: NodeId | undefined;
    for (const ask of this.#queue) {
      const isSameManner = ask.view.epoch === first?.view.epoch && ask.ownFirst === first.ownFirst;
      const goesWith = isSameManner && (ask.preferred ?? preferred) === (preferred ?? ask.preferred);
      const bytes = enclosedBytesOf(ask.item);
      const hasRoom = taken.length < votesMax && enclosedBytes + bytes <= enclosedBytesOfVotesMax;
      if (goesWith && hasRoom) {
        enclosedBytes += bytes;
        preferred ??= ask.preferred;
      }
      (goesWith && hasRoom ? taken : left).push(ask);
    }
    this.#queue = left;
    return taken;
  }

  /** Resolves when a majority has answered or every round is decided; what is open then goes on, and keeps no other waiting. */
  async #run(asks: readonly VoteAsk[]): Promise<void> {
    const [first] = asks;
    if (first === undefined) return;
    const { coordinators } = first.view;
    const group = new Group(asks, this.#dependencies.nodeId);
    const own = coordinators.find(({ nodeId }) => nodeId === this.#dependencies.nodeId);
    if (!first.ownFirst) return this.#send(group, coordinators, majorityOf(coordinators.length));
    if (own === undefined) return loseAll(asks);
    const answers = await this.#votesOf(own, group);
    if (group.isAccepted(answers)) {
      if (group.deliver(own, answers)) return;
      const others = coordinators.filter((each) => each !== own);
      const voted = learnsEarly(first.view) ? signatureUnderAll(answers.answers, answers.batch) : undefined;
      return this.#send(group, others, majorityOf(coordinators.length) - 1, voted);
    }
    // A signature under the whole group will not be had: those that may go on do so in a group of their own.
    for (const [at, ask] of asks.entries()) {
      const answer = answers.answers[at] ?? { t: 'lost' };
      if (answer.t === 'accepted') {
        this.ask({ ...ask, ownFirst: false });
        continue;
      }
      ask.take(own.nodeId, answer, group.check);
      // The others are not asked, and a round ends only when it has heard of enough of them.
      loseAll([ask]);
    }
  }

  /** Asks as many as are enough, and the rest when that leaves a round open or takes long. */
  #send(group: Group, coordinators: readonly Coordinator[], enough: number, voted?: Uint8Array): Promise<void> {
    const { clock } = this.#dependencies;
    let waiting = this.#inOrder(group, coordinators);
    const asked = new Set<Coordinator>();
    return new Promise((resolve) => {
      let answered = 0;
      let cancelPatience = (): void => undefined;
      const ask = (coordinator: Coordinator): void => {
        const startMs = clock.monotonicMs();
        asked.add(coordinator);
        this.#promptness.asked(coordinator);
        void this.#votesOf(coordinator, group, voted).then((answers) => {
          asked.delete(coordinator);
          answered += 1;
          const hasAnswered = answers.answers.some(({ t }) => t !== 'lost');
          if (hasAnswered) this.#promptness.answered(coordinator, clock.monotonicMs() - startMs);
          const isDecided = group.deliver(coordinator, answers);
          if (!isDecided && (asked.size === 0 || group.hasLost(answers))) askRest();
          if (isDecided) cancelPatience();
          if (isDecided || answered >= enough || asked.size === 0) resolve();
        });
      };
      const askRest = (): void => {
        cancelPatience();
        for (const coordinator of waiting.splice(0)) ask(coordinator);
      };
      const first = waiting.splice(0, enough);
      const overdue = waiting.filter((each) => this.#promptness.isOverdue(each));
      waiting = waiting.filter((each) => !overdue.includes(each));
      if (waiting.length > 0) {
        cancelPatience = clock.setTimer(this.#promptness.patienceMs(first), () => {
          for (const coordinator of first) if (asked.has(coordinator)) this.#promptness.late(coordinator);
          askRest();
        });
      }
      for (const coordinator of [...first, ...overdue]) ask(coordinator);
    });
  }

  /** This node, then those who can be reached. Who cannot be is asked last: its votes are lost. */
  #inOrder({ asks, preferred }: Group, coordinators: readonly Coordinator[]): Coordinator[] {
    const { nodeId, linkTo } = this.#dependencies;
    const own = coordinators.filter((each) => each.nodeId === nodeId);
    const others = coordinators.filter((each) => each.nodeId !== nodeId);
    const { reachable = [], unreachable = [] } = Object.groupBy(others, (each) =>
      linkTo(each) === undefined ? 'unreachable' : 'reachable',
    );
    const register = asks[0]?.item.register ?? '';
    return [...own, ...this.#promptness.ranked(reachable, { register, preferred }), ...unreachable];
  }

  async #votesOf(coordinator: Coordinator, { asks, epoch, items }: Group, voted?: Uint8Array): Promise<LinkAnswers> {
    const link = this.#dependencies.linkTo(coordinator);
    return (await link?.votes(epoch, items, voted)) ?? { answers: asks.map(() => ({ t: 'lost' })), batch: null };
  }
}

/** One message's worth of rounds, and what the signatures under it are worth. */
class Group {
  readonly asks: readonly VoteAsk[];
  readonly items: readonly VoteItem[];
  readonly epoch: number;
  readonly preferred: NodeId | undefined;
  readonly check: VoteCheck;
  readonly #view: QuorumView;
  readonly #nodeId: NodeId;
  /** Whether a coordinator's signature under the whole group holds; verified when the first round counts on it. */
  readonly #proved = new Map<NodeId, boolean>();
  /** What is to be accepted, by the item it is in. */
  readonly #statements = new Map<number, Statement>();
  readonly #places = new Map<number, BatchPlace>();
  #batch: VoteBatch | undefined;

  constructor(asks: readonly VoteAsk[], nodeId: NodeId) {
    this.asks = asks;
    this.items = asks.map(({ item }) => item);
    this.#view = (asks[0] as VoteAsk).view;
    this.epoch = this.#view.epoch;
    this.preferred = asks.find((ask) => ask.preferred !== undefined)?.preferred;
    this.#nodeId = nodeId;
    for (const [at, item] of this.items.entries()) {
      const statement = statementOf(item, this.epoch);
      if (statement !== undefined) this.#statements.set(at, statement);
    }
    this.check = (statement, from, vote) => this.#isProved(statement, from, vote);
  }

  isAccepted({ answers }: LinkAnswers): boolean {
    return answers.every(({ t }) => t === 'accepted');
  }

  /** True when the coordinator gave no vote on something that others may give theirs on. */
  hasLost({ answers }: LinkAnswers): boolean {
    return answers.some(({ t }) => t === 'lost' || t === 'behind');
  }

  /** Tells each round what the coordinator answered. True when none needs any other answer. */
  deliver({ nodeId }: Coordinator, { answers, batch: signature }: LinkAnswers): boolean {
    let isDecided = true;
    for (const [at, ask] of this.asks.entries()) {
      const answer = answers[at] ?? { t: 'lost' };
      const told = answer.t === 'accepted' ? this.#voteOf(at, answer, signature) : answer;
      if (!ask.take(nodeId, told, this.check)) isDecided = false;
    }
    return isDecided;
  }

  #voteOf(at: number, { signature }: Accepted, whole: Uint8Array | null): ProposerAnswer {
    if (signature !== null) return { t: 'accepted', vote: { signature, batch: null } };
    const place = this.#placeOf(at);
    return whole === null || place === undefined
      ? { t: 'lost' }
      : { t: 'accepted', vote: { signature: whole, batch: place } };
  }

  /** What this node answered itself needs no proof; of others a signature under the group is verified once. */
  #isProved(statement: Statement, from: NodeId, { signature, batch }: Vote): boolean {
    if (from === this.#nodeId) return true;
    const { cluster, coordinators } = this.#view;
    const key = coordinators.find(({ nodeId }) => nodeId === from)?.publicKey;
    if (key === undefined) return false;
    if (batch === null) return verifyStatement(statement, signature, key, cluster);
    const whole = this.#wholeBatch();
    const holds = this.#proved.get(from) ?? (whole !== undefined && verifyBatch(whole, signature, key, cluster));
    this.#proved.set(from, holds);
    return holds;
  }

  /** The tree over all that is to be accepted; undefined when that is one at most. */
  #wholeBatch(): VoteBatch | undefined {
    if (this.#statements.size > 1) this.#batch ??= batchOf([...this.#statements.values()]);
    return this.#batch;
  }

  #placeOf(at: number): BatchPlace | undefined {
    const batch = this.#wholeBatch();
    if (batch === undefined) return undefined;
    if (this.#places.size === 0) {
      for (const [index, item] of [...this.#statements.keys()].entries()) this.#places.set(item, batch.place(index));
    }
    return this.#places.get(at);
  }
}

function enclosedBytesOf(item: VoteItem): number {
  return item.t === 'prepare' || item.enclosed === undefined ? 0 : bytesOf(item.enclosed);
}

function loseAll(asks: readonly VoteAsk[]): void {
  const check = (): boolean => false;
  for (const { view, take } of asks) for (const { nodeId } of view.coordinators) take(nodeId, { t: 'lost' }, check);
}
