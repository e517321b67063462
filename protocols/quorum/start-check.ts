import { majorityOf } from '../../crdt/certificate.ts';
import type { NodeId } from '../../crdt/ids.ts';
import type { Log } from '../../src/ports/log.ts';
import type { AcceptorStore } from './acceptor-store.ts';
import type { CoordinatorLink } from './coordinator-link.ts';
import type { Coordinator, QuorumView } from './register-kind.ts';
import type { VoteWatch } from './vote-watch.ts';

/** What the check needs from its engine. */
export interface StartCheckDependencies {
  readonly nodeId: NodeId;
  readonly store: AcceptorStore;
  readonly watch: VoteWatch;
  readonly log: Log;
  readonly view: () => QuorumView;
  readonly linkTo: (coordinator: Coordinator) => CoordinatorLink | undefined;
}

/**
 * Before a coordinator proposes for the first time after a start, it asks the others what they have heard of its own
 * votes. Others notice an older disk when they ask for its vote; its own proposals would count that vote unasked.
 */
export class StartCheck {
  readonly #dependencies: StartCheckDependencies;
  #passed = false;
  #running: Promise<boolean> | undefined;

  constructor(dependencies: StartCheckDependencies) {
    this.#dependencies = dependencies;
  }

  /** True once a majority, this node among it, has compared. A node that forgot votes may propose, but gives none. */
  async passed(): Promise<boolean> {
    if (this.#passed) return true;
    this.#running ??= this.#compare().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #compare(): Promise<boolean> {
    const { nodeId, store, view, linkTo, watch, log } = this.#dependencies;
    const { coordinators } = view();
    const others = coordinators.filter((each) => each.nodeId !== nodeId);
    const answers = await Promise.all(others.map((each) => linkTo(each)?.heard()));
    const heard = answers.filter((sequence) => sequence !== undefined);
    if (heard.some((sequence) => sequence > store.sequence())) {
      log.error('quorum:restored', { node: nodeId, heard, sequence: store.sequence() });
      await store.transact((transaction) => transaction.markRestored());
      watch.markRestored(nodeId, store.sequence());
    }
    this.#passed = heard.length >= majorityOf(coordinators.length) - 1;
    return this.#passed;
  }
}
