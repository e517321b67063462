import { majorityOf } from '../../../crdt/certificate.ts';
import type { NodeId } from '../../../crdt/ids.ts';
import type { QuorumView } from '../../../protocols/quorum/register-kind.ts';
import type { Network } from '../../ports/network.ts';
import type { QuorumState } from '../api.ts';

interface Dependencies {
  readonly nodeId: NodeId;
  readonly network: Network;
  readonly view: () => QuorumView;
  /** Coordinators that were caught having forgotten votes. */
  readonly restored: () => readonly NodeId[];
  /** A majority has become reachable, or is so no longer. */
  readonly changed: (state: QuorumState) => void;
}

/** Whether a majority of the coordinators can be reached from here, so that this side of a partition knows its place. */
export class QuorumWatch {
  readonly #dependencies: Dependencies;
  #unsubscribe: () => void = () => undefined;
  #wasAvailable: boolean | undefined;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  start(): void {
    this.#unsubscribe = this.#dependencies.network.onPeerChange(() => this.look());
    this.look();
  }

  stop(): void {
    this.#unsubscribe();
  }

  state(): QuorumState {
    const { nodeId, network, view, restored } = this.#dependencies;
    const { epoch, coordinators } = view();
    const connected = new Set(network.connectedPeers());
    const forgetful = new Set(restored());
    const reachable = coordinators.filter(
      (each) => !forgetful.has(each.nodeId) && (each.nodeId === nodeId || connected.has(each.peerId)),
    ).length;
    const available = coordinators.length > 0 && reachable >= majorityOf(coordinators.length);
    return { epoch, coordinators: coordinators.length, reachable, available };
  }

  /** Looks again, and tells when it is different from what it was. */
  look(): void {
    const state = this.state();
    if (state.available === this.#wasAvailable) return;
    const isNews = this.#wasAvailable !== undefined;
    this.#wasAvailable = state.available;
    if (isNews) this.#dependencies.changed(state);
  }
}
