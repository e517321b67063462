import type { Genesis, Member } from '../../crdt/genesis.ts';
import type { NodeId, PeerId } from '../../crdt/ids.ts';
import { publicKeyOf } from '../../crdt/signature.ts';

/** Who belongs to the cluster, as the genesis entry lists them. */
export class MemberDirectory {
  readonly members: readonly Member[];

  readonly #byPeer = new Map<PeerId, Member>();
  readonly #byNode = new Map<NodeId, Member>();
  readonly #publicKeys = new Map<NodeId, Uint8Array>();

  constructor(genesis: Genesis) {
    this.members = genesis.members;
    for (const member of genesis.members) {
      this.#byPeer.set(member.peerId, member);
      this.#byNode.set(member.nodeId, member);
      const publicKey = publicKeyOf(member.peerId);
      if (publicKey !== undefined) this.#publicKeys.set(member.nodeId, publicKey);
    }
  }

  byNode(node: NodeId): Member | undefined {
    return this.#byNode.get(node);
  }

  byPeer(peer: PeerId): Member | undefined {
    return this.#byPeer.get(peer);
  }

  /** The 32-byte ed25519 key that signs a node's records. */
  publicKey(node: NodeId): Uint8Array | undefined {
    return this.#publicKeys.get(node);
  }
}
