import type { ProposerAnswer } from '../../crdt/quorum/proposer.ts';
import type { Log } from '../../src/ports/log.ts';
import { MeshError } from '../../src/ports/mesh-error.ts';
import { unexpectedResponse } from '../wire/requests.ts';
import type { ListedRegisters } from './acceptor-store.ts';
import { Batcher } from './batcher.ts';
import { type QuorumRequest, type QuorumResponse, type VoteAnswer, type VoteItem, votesMax } from './messages.ts';
import type { Coordinator } from './register-kind.ts';
import type { VoteWatch } from './vote-watch.ts';

/** Votes that may wait for one coordinator. */
const queuedMax = 8_192;

/** One register's part of a round. */
export interface VoteAsk {
  readonly epoch: number;
  readonly item: VoteItem;
}

/** What a link needs from its engine. */
export interface LinkDependencies {
  readonly watch: VoteWatch;
  readonly log: Log;
  /** Asks the coordinator, over the network or, when it is this node, directly. */
  readonly exchange: (request: QuorumRequest) => Promise<QuorumResponse>;
  /** The coordinator is in a later epoch than the one it was asked in. */
  readonly laterEpoch: (epoch: number) => void;
}

/**
 * Everything asked of one coordinator's acceptor. One exchange at a time, so that its vote sequence is heard in order;
 * what comes meanwhile shares the next message.
 */
export class CoordinatorLink {
  readonly coordinator: Coordinator;
  readonly #dependencies: LinkDependencies;
  readonly #votes: Batcher<VoteAsk, ProposerAnswer>;
  #last: Promise<unknown> = Promise.resolve();

  constructor(coordinator: Coordinator, dependencies: LinkDependencies) {
    this.coordinator = coordinator;
    this.#dependencies = dependencies;
    this.#votes = new Batcher((asks) => this.#askVotes(asks), {
      itemsMax: votesMax,
      queuedMax,
      lanes: 1,
      goesWith: (first, next) => first.epoch === next.epoch,
    });
  }

  /** Never rejects: what goes wrong on the way is a `lost` answer. */
  async vote(ask: VoteAsk): Promise<ProposerAnswer> {
    try {
      return (await this.#votes.ask(ask)) ?? { t: 'lost' };
    } catch (error) {
      const level = error instanceof MeshError && error.code === 'protocol_violation' ? 'warn' : 'debug';
      this.#dependencies.log[level]('quorum:vote_lost', { node: this.coordinator.nodeId, error });
      return { t: 'lost' };
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

  async #askVotes(asks: readonly VoteAsk[]): Promise<readonly ProposerAnswer[]> {
    const epoch = (asks[0] as VoteAsk).epoch;
    const seen = this.#dependencies.watch.seen(this.coordinator.nodeId);
    const response = await this.#ask({ t: 'votes', epoch, seen, items: asks.map(({ item }) => item) });
    if (response?.t === 'declined') return asks.map(() => declinedAnswer(response));
    if (response?.t !== 'votes') return asks.map(() => ({ t: 'lost' }));
    if (response.answers.length !== asks.length) {
      throw new MeshError('protocol_violation', 'the coordinator answered another number of votes than were asked');
    }
    return response.answers.map(proposerAnswer);
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

function declinedAnswer({ code, epoch }: Extract<QuorumResponse, { t: 'declined' }>): ProposerAnswer {
  return code === 'stale_epoch' || code === 'behind' ? { t: code, epoch } : { t: 'lost' };
}

function proposerAnswer(answer: VoteAnswer): ProposerAnswer {
  return answer.t === 'missing' ? { t: 'lost' } : answer;
}
