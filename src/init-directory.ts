import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isMemberName } from '../crdt/control/member.ts';
import { toBase32 } from '../crdt/digest.ts';
import { decodeGenesis, encodeGenesis, genesisBytesMax } from '../crdt/genesis.ts';
import type { ClusterId, NodeId, PeerId } from '../crdt/ids.ts';
import { peerIdOf, signerFromSeed, toBase64Url } from '../crdt/signature.ts';
import { createNodeDirectory, type HttpAddress, httpUrl } from './node-directory.ts';
import { MeshError } from './ports/mesh-error.ts';

/** What a new node is to be. */
export interface NewNode {
  readonly name: string;
  readonly http: HttpAddress;
  /** Multiaddrs to listen on. */
  readonly listen: readonly string[];
  /** Multiaddrs at which the others reach it. */
  readonly addresses: readonly string[];
}

/** A node that was made, as an administrator admits it. */
export interface NodeCard {
  readonly name: string;
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  readonly addresses: readonly string[];
  readonly cluster: ClusterId;
  readonly url: string;
  readonly dir: string;
}

/**
 * Founds a cluster: a node directory whose node is its only member and its one coordinator, with the genesis entry
 * (`peers.json`) in it. Rejects with `MeshError` `invalid_config`, having made nothing.
 */
export async function foundCluster(dir: string, cluster: string, node: NewNode): Promise<NodeCard> {
  const identity = newIdentity();
  const { nodeId, peerId } = identity;
  const member = {
    name: node.name,
    nodeId,
    peerId,
    addresses: node.addresses,
    roles: ['coordinator', 'storage'] as const,
  };
  checkName(node);
  return make(dir, genesisText(cluster, member), node, identity);
}

/**
 * Makes the directory of a node that is to join a cluster: its key is its own, and the cluster's genesis entry (which
 * is public) stands beside it. It runs once an administrator has admitted it. Rejects with `MeshError`
 * `invalid_config`, having made nothing.
 */
export async function prepareJoiner(dir: string, genesisFile: string, node: NewNode): Promise<NodeCard> {
  const text = await readFile(genesisFile, 'utf8').catch((cause: Error) => {
    throw new MeshError('invalid_config', `${genesisFile} cannot be read: ${cause.message}`, { cause });
  });
  if (text.length > genesisBytesMax + 1) throw new MeshError('invalid_config', `${genesisFile} is no genesis entry`);
  checkName(node);
  return make(dir, text.replace(/\n$/, ''), node, newIdentity());
}

interface Identity {
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  readonly seed: Uint8Array;
}

function newIdentity(): Identity {
  const seed = new Uint8Array(randomBytes(32));
  return { nodeId: toBase32(randomBytes(16)) as NodeId, peerId: peerIdOf(signerFromSeed(seed).publicKey), seed };
}

function genesisText(cluster: string, member: Parameters<typeof encodeGenesis>[0]['members'][number]): string {
  try {
    return encodeGenesis({ v: 1, cluster, seed: toBase32(randomBytes(32)), members: [member] });
  } catch (cause) {
    throw new MeshError('invalid_config', `the cluster cannot be founded: ${(cause as Error).message}`, { cause });
  }
}

function checkName({ name }: NewNode): void {
  if (isMemberName(name)) return;
  throw new MeshError('invalid_config', 'a node has a name of lowercase letters, digits and hyphens, at most 63');
}

async function make(dir: string, peersText: string, node: NewNode, identity: Identity): Promise<NodeCard> {
  const decoded = decodeGenesis(peersText);
  if (!decoded.ok) throw new MeshError('invalid_config', `this is no genesis entry: ${decoded.error}`);
  const { name, http, listen, addresses } = node;
  const { nodeId, peerId, seed } = identity;
  const token = toBase64Url(randomBytes(32));
  const peersFile = join(dir, 'peers.json');
  await createNodeDirectory(dir, { name, nodeId, seed, token, http, listen, peersFile, peersText });
  return { name, nodeId, peerId, addresses, cluster: decoded.value.id, url: httpUrl(http), dir };
}
