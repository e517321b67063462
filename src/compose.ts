import { readFile } from 'node:fs/promises';
import { decodeGenesis } from '../crdt/genesis.ts';
import type { NodeId } from '../crdt/ids.ts';
import { peerIdOf, signerFromSeed } from '../crdt/signature.ts';
import { openFileBlobStore } from './adapters/files/blob-store.ts';
import { lockDirectory } from './adapters/files/directory-lock.ts';
import { createLibp2pNetwork, type Libp2pNetwork } from './adapters/libp2p/network.ts';
import { openLmdbKv } from './adapters/lmdb/kv.ts';
import { SystemClock } from './adapters/system/clock.ts';
import { PromMetrics } from './adapters/system/metrics.ts';
import { SystemRandom } from './adapters/system/random.ts';
import { ThreadVerifier } from './adapters/system/verifier.ts';
import type { ContentSettings } from './node/content/content-plane.ts';
import type { MembershipSettings } from './node/membership/settings.ts';
import { Node } from './node/mesh-node.ts';
import type { NodeAdapters } from './node/node-parts.ts';
import type { SlotSettings } from './node/slots/slots.ts';
import { type NodeDirectory, readNodeDirectory } from './node-directory.ts';
import type { Clock } from './ports/clock.ts';
import type { Log } from './ports/log.ts';
import { MeshError } from './ports/mesh-error.ts';
import type { ReplicationSettings } from './replication/replication.ts';

/** What makes a node this node and no other. */
export interface NodeSpec {
  /** The 32-byte ed25519 seed of its key. */
  readonly keySeed: Uint8Array;
  /** The genesis entry's text, `peers.json`. */
  readonly genesisText: string;
  /** Its name and id, for a node that was admitted after the founding; a founding member's are in the genesis entry. */
  readonly identity?: { readonly nodeId: NodeId; readonly name: string };
  /** The program's version, for status. */
  readonly version: string;
  /** Mean time between sync rounds with each peer. */
  readonly syncIntervalMs?: number;
  /** Places slots in a small mesh too, as tests need it. All nodes of a mesh must have the same. */
  readonly slotPlacement?: SlotSettings;
  /** Limits on moving content, and the pace of the scrub. */
  readonly content?: ContentSettings;
  /** What the node says of itself, and how it watches the others. */
  readonly membership?: MembershipSettings;
  /** How patient replication is. */
  readonly replication?: ReplicationSettings;
}

/** Wires a node over any adapters: production's, or the twins that run in one process on virtual time. */
export function composeNode(adapters: NodeAdapters, spec: NodeSpec): Node {
  const decoded = decodeGenesis(spec.genesisText);
  if (!decoded.ok) throw new MeshError('invalid_config', `the genesis entry cannot be used: ${decoded.error}`);
  const { genesis, id: cluster } = decoded.value;
  const signer = signerFromSeed(spec.keySeed);
  const peerId = peerIdOf(signer.publicKey);
  const member = genesis.members.find((candidate) => candidate.peerId === peerId) ?? spec.identity;
  if (member === undefined) {
    throw new MeshError(
      'invalid_config',
      `this node's key (${peerId}) is not a member of the cluster ${genesis.cluster}`,
    );
  }
  return new Node(adapters, {
    identity: { nodeId: member.nodeId, peerId, name: member.name },
    signer,
    cluster,
    genesis,
    genesisText: spec.genesisText.replace(/\n$/, ''),
    version: spec.version,
    ...(spec.syncIntervalMs === undefined ? {} : { syncIntervalMs: spec.syncIntervalMs }),
    ...(spec.slotPlacement === undefined ? {} : { slotPlacement: spec.slotPlacement }),
    ...(spec.content === undefined ? {} : { content: spec.content }),
    ...(spec.membership === undefined ? {} : { membership: spec.membership }),
    ...(spec.replication === undefined ? {} : { replication: spec.replication }),
  });
}

/** A node on this machine's disk and network. */
export interface RunningNode {
  readonly node: Node;
  readonly directory: NodeDirectory;
  readonly network: Libp2pNetwork;
  readonly clock: Clock;
  readonly metrics: PromMetrics;
  /** Stops the node, flushes and closes everything, and gives the directory free. */
  close(): Promise<void>;
}

/**
 * Opens a node directory and starts its node: one process at a time. Rejects with `MeshError`
 * `directory_in_use` or `invalid_config`, having let go of everything.
 */
export async function openNode(
  dir: string,
  options: { readonly log: Log } & Pick<NodeSpec, 'slotPlacement' | 'content' | 'membership' | 'replication'>,
): Promise<RunningNode> {
  const { log } = options;
  const directory = await readNodeDirectory(dir);
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const lock = await lockDirectory(directory.dir);
    closers.push(() => lock.release());
    const clock = new SystemClock();
    const random = new SystemRandom();
    const verifier = new ThreadVerifier();
    closers.push(() => verifier.close());
    const metrics = new PromMetrics({ processMetrics: true });
    const onFault = (error: MeshError): void => log.warn('store:write_behind_failed', { error });
    // On any start but the first, all that the node knew is gone: it begins anew, and fetches what others have.
    const onRemade = (): void => log.warn('store:was_empty', { path: directory.paths.data });
    const kv = await openLmdbKv(directory.paths.data, { onFault, onRemade });
    closers.push(() => kv.close());
    const blobs = await openFileBlobStore(directory.paths.blobs);
    const network = await createLibp2pNetwork(
      { log, metrics, clock, random },
      { seed: directory.seed, listen: directory.listen, members: () => directory.genesis.members },
    );
    const node = composeNode(
      { clock, random, network, kv, blobs, verifier, log, metrics },
      {
        keySeed: directory.seed,
        identity: { nodeId: directory.nodeId, name: directory.name },
        genesisText: await readFile(directory.peersFile, 'utf8'),
        version: await programVersion(),
        ...(options.slotPlacement === undefined ? {} : { slotPlacement: options.slotPlacement }),
        content: { ...directory.content, ...options.content },
        membership: { ...directory.membership, ...options.membership },
        replication: { ...directory.replication, ...options.replication },
      },
    );
    closers.push(() => node.stop());
    await node.start();
    return { node, directory, network, clock, metrics, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The version in the nearest package.json: beside the sources, or above the compiled files. */
async function programVersion(): Promise<string> {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const { version } = JSON.parse(await readFile(new URL(path, import.meta.url), 'utf8')) as { version: string };
      return version;
    } catch {
      // Not at this level.
    }
  }
  return 'unknown';
}
