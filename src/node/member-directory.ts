import type { ControlMember } from '../../crdt/control/member.ts';
import type { ControlState } from '../../crdt/control/state.ts';
import type { NodeId, PeerId } from '../../crdt/ids.ts';

/** The members of a state, as they are looked up. */
interface MemberIndex {
  readonly of: ControlState['members'];
  readonly sorted: readonly ControlMember[];
  readonly byPeer: ReadonlyMap<PeerId, ControlMember>;
}

/** Who belongs to the cluster now, as the control log says. */
export class MemberDirectory {
  readonly #state: () => ControlState;
  #indexed: MemberIndex | undefined;

  constructor(state: () => ControlState) {
    this.#state = state;
  }

  /** By name. */
  get members(): readonly ControlMember[] {
    return this.#index().sorted;
  }

  /** How many members there are beside a node. */
  others(node: NodeId): number {
    const { members } = this.#state();
    return members.size - (members.has(node) ? 1 : 0);
  }

  byNode(node: NodeId): ControlMember | undefined {
    return this.#state().members.get(node);
  }

  byPeer(peer: PeerId): ControlMember | undefined {
    return this.#index().byPeer.get(peer);
  }

  /** A state that leaves the members alone shares its map with the one before. */
  #index(): MemberIndex {
    const { members } = this.#state();
    if (this.#indexed?.of !== members) {
      const sorted = [...members.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
      this.#indexed = { of: members, sorted, byPeer: new Map(sorted.map((member) => [member.peerId, member])) };
    }
    return this.#indexed;
  }
}
