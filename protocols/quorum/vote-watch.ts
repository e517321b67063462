import type { NodeId } from '../../crdt/ids.ts';
import type { Log } from '../../src/ports/log.ts';
import type { AcceptorStore, HeardVotes } from './acceptor-store.ts';

/**
 * Notices a coordinator that has forgotten votes, because an older disk was put in its place: each answer of a
 * coordinator carries a number that only grows. Such a coordinator is not believed again under its node id, also
 * after its number has grown past what it was.
 */
export class VoteWatch {
  readonly #store: AcceptorStore;
  readonly #log: Log;
  readonly #heard: Map<NodeId, HeardVotes>;
  readonly #changed = new Set<NodeId>();

  constructor(dependencies: { readonly store: AcceptorStore; readonly log: Log }) {
    this.#store = dependencies.store;
    this.#log = dependencies.log;
    this.#heard = new Map(dependencies.store.heardVotes());
  }

  /** The greatest number heard of a coordinator; 0 before the first. */
  seen(nodeId: NodeId): number {
    return this.#heard.get(nodeId)?.sequence ?? 0;
  }

  isRestored(nodeId: NodeId): boolean {
    return this.#heard.get(nodeId)?.restored ?? false;
  }

  /** Takes note of an answer's number. False when the answer must not count. */
  observe(nodeId: NodeId, sequence: number): boolean {
    if (this.isRestored(nodeId)) return false;
    const seen = this.seen(nodeId);
    if (sequence <= seen) {
      this.markRestored(nodeId, sequence);
      return false;
    }
    this.#heard.set(nodeId, { sequence, restored: false });
    this.#changed.add(nodeId);
    return true;
  }

  /** The coordinator forgot votes, by its own word or by its number. */
  markRestored(nodeId: NodeId, sequence: number): void {
    if (this.isRestored(nodeId)) return;
    const heard = { sequence: this.seen(nodeId), restored: true };
    this.#heard.set(nodeId, heard);
    this.#log.error('quorum:coordinator_restored', { node: nodeId, sequence, seen: heard.sequence });
    this.#store
      .transact((transaction) => transaction.setHeard(nodeId, heard))
      // It stays in force while this node runs, and goes to disk with the next votes.
      .catch(() => this.#changed.add(nodeId));
  }

  /** What has changed since the last call, to be stored. */
  *drain(): Generator<readonly [NodeId, HeardVotes]> {
    for (const nodeId of this.#changed) yield [nodeId, this.#heard.get(nodeId) as HeardVotes];
    this.#changed.clear();
  }
}
