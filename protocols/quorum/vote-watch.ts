import type { NodeId } from '../../crdt/ids.ts';
import type { Log } from '../../src/ports/log.ts';
import type { AcceptorStore, HeardVotes } from './acceptor-store.ts';

/**
 * Notices a coordinator that has forgotten votes, because an older or an empty disk was put in its place: each answer of a
 * coordinator carries a number that only grows, and each of its own questions the last one that it has on disk. Such a
 * coordinator is not believed again under its node id, also after its number has grown past what it was.
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
    const { sequence = 0, told = 0 } = this.#heard.get(nodeId) ?? {};
    return Math.max(sequence, told);
  }

  isRestored(nodeId: NodeId): boolean {
    return this.#heard.get(nodeId)?.restored ?? false;
  }

  /** Takes note of an answer's number. False when the answer must not count. */
  observe(nodeId: NodeId, sequence: number): boolean {
    if (this.isRestored(nodeId)) return false;
    const heard = this.#heard.get(nodeId);
    // Its answers come in order, one after the other. What it told with a question may have overtaken them.
    if (sequence <= (heard?.sequence ?? 0)) {
      this.markRestored(nodeId, sequence);
      return false;
    }
    this.#note(nodeId, { ...heard, sequence, restored: false });
    return true;
  }

  /**
   * Takes note of the number that a coordinator names when it asks for votes. Who votes for it has this on disk with the
   * vote: so if the coordinator forgets what it asked them for, they can tell it.
   */
  told(nodeId: NodeId, told: number): void {
    const heard = this.#heard.get(nodeId) ?? { sequence: 0, restored: false };
    if (told > (heard.told ?? 0)) this.#note(nodeId, { ...heard, told });
  }

  /** The coordinator forgot votes, by its own word or by its number. */
  markRestored(nodeId: NodeId, sequence: number): void {
    if (this.isRestored(nodeId)) return;
    const heard = { sequence: 0, ...this.#heard.get(nodeId), restored: true };
    this.#heard.set(nodeId, heard);
    this.#log.error('quorum:coordinator_restored', { node: nodeId, sequence, seen: this.seen(nodeId) });
    this.#store
      .transact((transaction) => transaction.setHeard(nodeId, heard))
      // It stays in force while this node runs, and goes to disk with the next votes.
      .catch(() => this.#changed.add(nodeId));
  }

  /** What has changed since the last call, to be stored. */
  drain(): readonly (readonly [NodeId, HeardVotes])[] {
    const changed = [...this.#changed].map((nodeId) => [nodeId, this.#heard.get(nodeId) as HeardVotes] as const);
    this.#changed.clear();
    return changed;
  }

  /** What was drained could not be stored, and is to be stored with the next votes. */
  notStored(drained: readonly (readonly [NodeId, HeardVotes])[]): void {
    for (const [nodeId] of drained) this.#changed.add(nodeId);
  }

  #note(nodeId: NodeId, heard: HeardVotes): void {
    this.#heard.set(nodeId, heard);
    this.#changed.add(nodeId);
  }
}
