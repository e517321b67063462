import type { VersionId } from '../../crdt/ids.ts';
import { blobsProtocol } from '../../protocols/blobs/limits.ts';
import { controlProtocol, encodeControlMessage } from '../../protocols/control/messages.ts';
import { encodeMembershipMessage, membershipProtocol } from '../../protocols/membership/messages.ts';
import { encodeMetadataMessage, metadataProtocol } from '../../protocols/metadata/messages.ts';
import { encodeQuorumMessage, quorumProtocol } from '../../protocols/quorum/messages.ts';
import { replicasProtocol } from '../../protocols/replicas/limits.ts';
import { encodeReplicaMessage } from '../../protocols/replicas/messages.ts';
import { encodeSyncMessage, syncProtocol } from '../../protocols/sync/messages.ts';
import type { Draw } from './draw.ts';
import { namespace } from './simulation.ts';
import type { KnownVersion } from './version-library.ts';

/** Every protocol that a node serves. */
export const protocols = [
  syncProtocol,
  blobsProtocol,
  controlProtocol,
  membershipProtocol,
  metadataProtocol,
  quorumProtocol,
  replicasProtocol,
] as const;

type Protocol = (typeof protocols)[number];

/**
 * A request that is well formed and makes no sense, or is none of the asker's business. `onAskedFor` is told of a version
 * whose confirmation it asks for, as any member may.
 */
export function nonsense(
  draw: Draw,
  protocol: Protocol,
  known: KnownVersion | undefined,
  onAskedFor: (version: VersionId) => void,
): Uint8Array {
  const raw = (): Uint8Array => draw.random.bytes(32);
  const raws = Array.from({ length: draw.integer(0, 20) }, raw);
  switch (protocol) {
    case syncProtocol:
      return encodeSyncMessage({ t: 'fetch', versions: raws });
    case blobsProtocol:
      return Buffer.concat(raws);
    case controlProtocol:
      return encodeControlMessage(
        draw.pick([{ t: 'entries', after: draw.integer(0, 9) } as const, { t: 'carry' } as const]),
      );
    case membershipProtocol:
      return encodeMembershipMessage({ t: 'compare', digest: draw.random.bytes(16) });
    case metadataProtocol:
      return encodeMetadataMessage({
        t: 'conflicts',
        slots: draw.random.bytes(2),
        ns: draw.pick([null, namespace]),
        after: null,
        limit: draw.integer(1, 9),
      });
    case quorumProtocol: {
      // Only the preferred one of an object's heads has any business there.
      if (known !== undefined && draw.chance(0.5)) {
        const { doc, version } = known;
        onAskedFor(version.id);
        return encodeQuorumMessage({ t: 'confirm', items: [{ register: doc, head: version.id }] });
      }
      return encodeQuorumMessage({ t: 'list', epoch: draw.integer(1, 3), seen: 0, after: null, limit: 10 });
    }
    case replicasProtocol:
      return encodeReplicaMessage({ t: 'copies', manifests: raws.slice(0, 3) });
  }
}
