import type { NodeId, PeerId } from '../../crdt/ids.ts';
import type { CheckAnswer, ProofAnswer } from '../../protocols/replicas/messages.ts';
import type { ChallengeGroup, CheckOrder, Order, ReplicaSource } from '../../protocols/replicas/server.ts';
import type { ViewSource } from '../../protocols/replicas/views.ts';
import type { FollowedSet } from '../../protocols/wire/set-following.ts';
import type { Kv } from '../ports/kv.ts';
import type { OrderTaker } from './order-taker.ts';
import type { ContentShelf, ProofGiver } from './proof-giver.ts';
import type { ReplicaProver } from './replica-prover.ts';

export interface ReplicaServiceDependencies {
  readonly kv: Kv;
  readonly inventory: FollowedSet;
  readonly giver: ProofGiver;
  readonly orders: OrderTaker;
  readonly prover: ReplicaProver;
  readonly shelf: ContentShelf;
  readonly nodeOf: (peer: PeerId) => NodeId | undefined;
  readonly isCoordinator: (node: NodeId) => boolean;
  readonly views: ViewSource;
  readonly self: NodeId;
}

/** What this node answers to the questions of others about replicas. */
export class ReplicaService implements ReplicaSource {
  readonly #dependencies: ReplicaServiceDependencies;

  constructor(dependencies: ReplicaServiceDependencies) {
    this.#dependencies = dependencies;
  }

  get inventory(): FollowedSet {
    return this.#dependencies.inventory;
  }

  get views(): ViewSource {
    return this.#dependencies.views;
  }

  prove(peer: PeerId, challenges: ChallengeGroup): Promise<ProofAnswer[]> {
    return this.#dependencies.giver.prove(peer, challenges);
  }

  order(peer: PeerId, orders: readonly Order[]): Promise<number> {
    return this.#dependencies.orders.take(orders, this.#isCoordinator(peer));
  }

  async check(peer: PeerId, checks: readonly CheckOrder[]): Promise<CheckAnswer[]> {
    const { kv, prover, shelf, self } = this.#dependencies;
    // It costs reads here and there, so only those who audit may ask for it.
    const mayAsk = this.#isCoordinator(peer);
    const results: CheckAnswer[] = [];
    for (const { manifest, node, points } of checks) {
      const sizeBytes = shelf.sizeOf(kv, manifest);
      const canTell = mayAsk && sizeBytes !== undefined && node !== self;
      results.push(canTell ? await prover.at(node, { manifest, sizeBytes }, points) : 'unreachable');
    }
    return results;
  }

  #isCoordinator(peer: PeerId): boolean {
    const { nodeOf, isCoordinator } = this.#dependencies;
    const node = nodeOf(peer);
    return node !== undefined && isCoordinator(node);
  }
}
