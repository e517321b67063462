import type { ConnectionGater, PeerId as Libp2pPeerId } from '@libp2p/interface';
import type { PeerId } from '../../../crdt/ids.ts';

/**
 * Admits those whom `admits` says are members, both ways. Who an inbound peer is shows only after the
 * encryption handshake, so that is where a stranger is refused: before there is a stream to speak on.
 */
export function createGater(admits: (peer: PeerId) => boolean, onRefused: (peer: PeerId) => void): ConnectionGater {
  const refuses = (peer: Libp2pPeerId): boolean => {
    const peerId = peer.toString() as PeerId;
    if (admits(peerId)) return false;
    onRefused(peerId);
    return true;
  };
  return {
    denyDialPeer: refuses,
    denyOutboundConnection: refuses,
    denyInboundEncryptedConnection: refuses,
    denyOutboundEncryptedConnection: refuses,
    denyInboundUpgradedConnection: refuses,
    denyOutboundUpgradedConnection: refuses,
    denyDialMultiaddr: () => false,
    // There are no relays in this mesh.
    denyInboundRelayReservation: () => true,
    denyInboundRelayedConnection: () => true,
    denyOutboundRelayedConnection: () => true,
  };
}
