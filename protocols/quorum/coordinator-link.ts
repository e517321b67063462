import type { Log } from '../../src/ports/log.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import { unexpectedResponse } from '../wire/requests.ts';
import type { ListedRegisters } from './acceptor-store.ts';
import type { QuorumRequest, QuorumResponse, VoteAnswer, VoteItem } from './messages.ts';
import type { Coordinator } from './register-kind.ts';
import type { VoteWatch } from './vote-watch.ts';

/** Groups of votes that may wait for one coordinator: a slow one is left behind, and the others are a majority. */
const queuedGroupsMax = 64;

/** A coordinator's answer to one item, or that none will come. */
export type LinkAnswer = Exclude<VoteAnswer, { readonly t: 'missing' }> | { readonly t: 'lost' };

/** A coordinator's answers to a group. */
export interface LinkAnswers {
  /** Item by item. */
  readonly answers: readonly LinkAnswer[];
  /** Its one signature under all that it accepted; null when each has its own. */
  readonly batch: Uint8Array | null;
}

/** What a link needs from its engine. */
export interface LinkDependencies {
  readonly watch: VoteWatch;
  readonly log: Log;
  /** This node's own vote sequence that is on disk. */
  readonly ownSequence: () => number;
  /** Asks the coordinator, over the network or, when it is this node, directly. */
  readonly exchange: (request: QuorumRequest) => Promise<QuorumResponse>;
  /** The coordinator is in a later epoch than the one it was asked in. */
  readonly laterEpoch: (epoch: number) => void;
}

/** Everything asked of one coordinator's acceptor. One exchange at a time, so that its vote sequence is heard in order. */
export class CoordinatorLink {
  readonly coordinator: Coordinator;
  readonly #dependencies: LinkDependencies;
  #last: Promise<unknown> = Promise.resolve();
  #queuedGroups = 0;

  constructor(coordinator: Coordinator, dependencies: LinkDependencies) {
    this.coordinator = coordinator;
    this.#dependencies = dependencies;
  }

  /**
   * Asks for votes on a group of registers; `voted` is this node's own signature under it. Never rejects: what goes wrong on
   * the way is a `lost` answer.
   */
  async votes(epoch: number, items: readonly VoteItem[], voted?: Uint8Array): Promise<LinkAnswers> {
    if (this.#queuedGroups >= queuedGroupsMax) return allOf(items, { t: 'lost' });
    this.#queuedGroups += 1;
    try {
      return await this.#askVotes(epoch, items, voted);
    } catch (error) {
      const level = error instanceof MeshError && error.code === 'protocol_violation' ? 'warn' : 'debug';
      this.#dependencies.log[level]('quorum:votes_lost', { node: this.coordinator.nodeId, error });
      return allOf(items, { t: 'lost' });
    } finally {
      this.#queuedGroups -= 1;
    }
  }

  /** One page of the registers that the coordinator has accepted values of; undefined when it gives no answer. */
  async list(epoch: number, after: string | null, limit: number): Promise<ListedRegisters | undefined> {
    const { watch, log } = this.#dependencies;
    const { nodeId } = this.coordinator;
    try {
      const response = await this.#ask({ t: 'list', epoch, seen: watch.seen(nodeId), after, limit });
      return response?.t === 'list' ? response : undefined;
    } catch (error) {
      log.debug('quorum:list_lost', { node: nodeId, error });
      return undefined;
    }
  }

  /** The greatest vote sequence of this node that the coordinator has heard; undefined when it gives no answer. */
  async heard(): Promise<number | undefined> {
    try {
      const response = await this.#ask({ t: 'heard' });
      return response?.t === 'heard' ? response.sequence : undefined;
    } catch (error) {
      this.#dependencies.log.debug('quorum:heard_lost', { node: this.coordinator.nodeId, error });
      return undefined;
    }
  }

  async #askVotes(epoch: number, items: readonly VoteItem[], voted?: Uint8Array): Promise<LinkAnswers> {
    const { watch, ownSequence } = this.#dependencies;
    const seen = watch.seen(this.coordinator.nodeId);
    const told = voted === undefined ? {} : { voted };
    const response = await this.#ask({ t: 'votes', epoch, seen, own: ownSequence(), ...told, items: [...items] });
    if (response?.t === 'declined') return allOf(items, declinedAnswer(response));
    if (response?.t !== 'votes') return allOf(items, { t: 'lost' });
    if (response.answers.length !== items.length) {
      throw new MeshError('protocol_violation', 'the coordinator answered another number of votes than were asked');
    }
    return { answers: response.answers.map(linkAnswer), batch: response.batch };
  }

  /** Resolves with undefined when the answer must not count. */
  async #ask(request: QuorumRequest): Promise<QuorumResponse | undefined> {
    const asked = this.#last.then(() => this.#dependencies.exchange(request));
    this.#last = asked.catch(() => undefined);
    const response = await asked;
    const { watch, laterEpoch } = this.#dependencies;
    const { nodeId } = this.coordinator;
    if (response.t === 'declined') {
      if (response.code === 'coordinator_restored') watch.markRestored(nodeId, 0);
      if (response.code === 'stale_epoch') laterEpoch(response.epoch);
      return response;
    }
    if (response.t !== request.t) throw unexpectedResponse(response);
    if (response.t === 'heard') return response;
    return response.t !== 'confirm' && watch.observe(nodeId, response.sequence) ? response : undefined;
  }
}

function allOf(items: readonly VoteItem[], answer: LinkAnswer): LinkAnswers {
  return { answers: items.map(() => answer), batch: null };
}

function declinedAnswer({ code, epoch }: Extract<QuorumResponse, { t: 'declined' }>): LinkAnswer {
  return code === 'stale_epoch' || code === 'behind' ? { t: code, epoch } : { t: 'lost' };
}

function linkAnswer(answer: VoteAnswer): LinkAnswer {
  return answer.t === 'missing' ? { t: 'lost' } : answer;
}
