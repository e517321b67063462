import { majorityOf } from '../../crdt/certificate.ts';
import type { NodeId } from '../../crdt/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Log } from '../../src/ports/log.ts';
import type { Network } from '../../src/ports/network.ts';
import { endsWithin } from '../wire/deadline.ts';
import type { AcceptorStore } from './acceptor-store.ts';
import type { CoordinatorLink } from './coordinator-link.ts';
import type { Coordinator, QuorumView } from './register-kind.ts';
import type { VoteWatch } from './vote-watch.ts';

/**
 * How long a proposal waits for those who are connected and do not answer: some ten round trips around the world. One
 * who answers later is heard all the same.
 */
const compareWaitMs = 1_500;

/** A question under way. */
interface Asked {
  readonly sinceMs: number;
  readonly answered: Promise<void>;
}

/** What the check needs from its engine. */
export interface StartCheckDependencies {
  readonly nodeId: NodeId;
  readonly store: AcceptorStore;
  readonly watch: VoteWatch;
  readonly network: Pick<Network, 'onPeerChange'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly view: () => QuorumView;
  readonly linkTo: (coordinator: Coordinator) => CoordinatorLink | undefined;
}

/**
 * After a start a coordinator asks each of the others once what it has heard of this node's votes. Others notice an
 * older disk when they ask for its vote; its own proposals would count that vote unasked. They are asked as soon as
 * they are connected, so that the first proposal finds them asked; and whoever connects after it is asked too.
 */
export class StartCheck {
  readonly #dependencies: StartCheckDependencies;
  /** Those who have answered, and those who are being asked. */
  readonly #compared = new Set<NodeId>();
  readonly #asking = new Map<NodeId, Asked>();
  readonly #unsubscribe: () => void;
  #passed = false;

  constructor(dependencies: StartCheckDependencies) {
    this.#dependencies = dependencies;
    const { nodeId, network, store, watch } = dependencies;
    // Votes that are bound to other files are known for forgotten without asking anybody.
    if (store.restored()) watch.markRestored(nodeId, store.sequence());
    this.#unsubscribe = network.onPeerChange(({ kind }) => {
      // In the next turn, when the engine has taken note of who is connected as well.
      if (kind === 'connected') queueMicrotask(() => this.#askAll());
    });
  }

  /** Asks nobody who connects from now on. */
  stop(): void {
    this.#unsubscribe();
  }

  /**
   * True once a majority, this node among it, has compared, and everybody else who is connected has had its time to. A
   * node that forgot votes may propose, but gives none. Rejects only as this node's disk does.
   */
  async passed(): Promise<boolean> {
    if (this.#passed) return true;
    this.#askAll();
    await this.#answersInTime();
    const { coordinators } = this.#dependencies.view();
    const compared = this.#others().filter(({ nodeId }) => this.#compared.has(nodeId)).length;
    this.#passed = compared >= majorityOf(coordinators.length) - 1;
    return this.#passed;
  }

  #others(): readonly Coordinator[] {
    const { view, nodeId } = this.#dependencies;
    const { coordinators } = view();
    if (!coordinators.some((each) => each.nodeId === nodeId)) return [];
    return coordinators.filter((each) => each.nodeId !== nodeId);
  }

  #askAll(): void {
    for (const coordinator of this.#others()) {
      const { nodeId } = coordinator;
      if (this.#compared.has(nodeId) || this.#asking.has(nodeId)) continue;
      const link = this.#dependencies.linkTo(coordinator);
      if (link === undefined) continue;
      const answered = this.#ask(nodeId, link).finally(() => this.#asking.delete(nodeId));
      this.#asking.set(nodeId, { sinceMs: this.#dependencies.clock.monotonicMs(), answered });
    }
  }

  async #ask(from: NodeId, link: CoordinatorLink): Promise<void> {
    const { nodeId, store, watch, log } = this.#dependencies;
    const heard = await link.heard();
    if (heard === undefined) return;
    const sequence = store.sequence();
    if (heard > sequence) {
      log.error('quorum:restored', { node: nodeId, from, heard, sequence });
      watch.markRestored(nodeId, sequence);
      await store
        .transact((transaction) => transaction.markRestored())
        .catch((error: unknown) => log.error('quorum:restored_not_kept', { node: nodeId, error }));
    }
    this.#compared.add(from);
  }

  async #answersInTime(): Promise<void> {
    const { clock } = this.#dependencies;
    const asked = [...this.#asking.values()];
    const waitMs = Math.max(0, ...asked.map(({ sinceMs }) => sinceMs + compareWaitMs - clock.monotonicMs()));
    if (waitMs === 0) return;
    await endsWithin(clock, waitMs, Promise.all(asked.map(({ answered }) => answered)));
  }
}
