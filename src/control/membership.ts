import type { ControlMember } from '../../crdt/control/member.ts';
import type { ControlState } from '../../crdt/control/state.ts';
import type { NodeId, PeerId } from '../../crdt/ids.ts';
import type { Log } from '../ports/log.ts';
import type { Network } from '../ports/network.ts';

/** What this node is to the cluster, as far as it knows. */
export type Standing =
  | 'member'
  /** It has not been admitted yet. */
  | 'pending'
  /** Its own control log has the entry that put it out: that is proved, and for good. */
  | 'removed'
  /** It is a member by its own control log, is connected to nobody, and is refused by some who can be reached. */
  | 'turned_away';

/** What `/v1/status` says of it. */
export interface MembershipStatus {
  readonly state: Standing;
  /** The entry that put this node out, as far as that is known; else null. */
  readonly removedBy: number | null;
  /** Members who take the connection and close it at once, as they do with strangers. */
  readonly turnedAwayBy: number;
}

interface Dependencies {
  readonly network: Pick<Network, 'setMembers' | 'connectedPeers' | 'turnedAwayBy'>;
  readonly log: Log;
  readonly state: () => ControlState;
  /** Where a member can be dialled: it may have moved since the log said. */
  readonly addressesOf: (member: ControlMember) => readonly string[];
  /** Resolves when these peers have said that they have the log that is here, or after a moment without. */
  readonly part: (peers: readonly PeerId[]) => Promise<void>;
  /** This node has been admitted, or put out. */
  readonly changed: (status: MembershipStatus) => void;
}

/**
 * Tells the network who the members are, as the control log has them, and this node what it is itself. Who was put out
 * could not fetch the entry that says so once it is refused, so its connection lasts until it has it: a round trip or
 * two, and a moment at most. A node that is out asks nobody any more; it goes on serving what it has.
 */
export class Membership {
  readonly #dependencies: Dependencies;
  readonly #self: { readonly nodeId: NodeId; readonly peerId: PeerId };
  /** Connected, no member any more, and being told. */
  readonly #parting = new Set<PeerId>();
  #was: Standing | undefined;

  constructor(dependencies: Dependencies, self: { readonly nodeId: NodeId; readonly peerId: PeerId }) {
    this.#dependencies = dependencies;
    this.#self = self;
  }

  /** Called once the log is open, before the network starts, and whenever the members have changed. */
  membersChanged(): void {
    const members = this.#wanted();
    const belonging = new Set(members.map(({ peerId }) => peerId));
    const { network, part } = this.#dependencies;
    const put = network.connectedPeers().filter((peer) => !belonging.has(peer) && !this.#parting.has(peer));
    for (const peer of put) this.#parting.add(peer);
    this.#setMembers();
    this.#tell();
    if (put.length === 0) return;
    void part(put).finally(() => {
      for (const peer of put) this.#parting.delete(peer);
      this.#setMembers();
    });
  }

  /** Members can be dialled at other addresses than before. */
  membersMoved(): void {
    this.#setMembers();
  }

  status(): MembershipStatus {
    const { network, state } = this.#dependencies;
    const removal = state().removed.get(this.#self.peerId);
    if (removal !== undefined) return { state: 'removed', removedBy: removal.seq, turnedAwayBy: 0 };
    const isMember = state().members.get(this.#self.nodeId)?.peerId === this.#self.peerId;
    const turnedAwayBy = network.turnedAwayBy().length;
    if (!isMember) return { state: 'pending', removedBy: null, turnedAwayBy };
    const isAlone = turnedAwayBy > 0 && network.connectedPeers().length === 0;
    return { state: isAlone ? 'turned_away' : 'member', removedBy: null, turnedAwayBy };
  }

  /** The members to be connected to: none for a node that was put out, whom they all refuse. */
  #wanted(): readonly ControlMember[] {
    const { members, removed } = this.#dependencies.state();
    return removed.get(this.#self.peerId) === undefined ? [...members.values()] : [];
  }

  #setMembers(): void {
    const { network } = this.#dependencies;
    const { addressesOf } = this.#dependencies;
    const wanted = this.#wanted().map((member) => ({ peerId: member.peerId, addresses: addressesOf(member) }));
    const parting = [...this.#parting].map((peerId) => ({ peerId, addresses: [] }));
    network.setMembers([...wanted, ...parting]);
  }

  #tell(): void {
    const status = this.status();
    // Being turned away shows on a connection and not in the log, so it is no change here.
    const standing = status.state === 'turned_away' ? 'member' : status.state;
    if (standing === this.#was) return;
    const isNews = this.#was !== undefined;
    this.#was = standing;
    if (standing === 'removed') {
      const advice = 'to take part again it joins under a new key: anabranch init --join, then nodes admit elsewhere';
      this.#dependencies.log.error('control:removed', { entry: status.removedBy, advice });
    }
    if (isNews) this.#dependencies.changed(status);
  }
}
