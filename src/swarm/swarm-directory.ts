import { randomBytes } from 'node:crypto';
import { open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { toBase32 } from '../../crdt/digest.ts';
import { decodeGenesis, encodeGenesis } from '../../crdt/genesis.ts';
import type { NodeId, PeerId } from '../../crdt/ids.ts';
import { peerIdOf, signerFromSeed, toBase64Url } from '../../crdt/signature.ts';
import { makeDirectory } from '../make-directory.ts';
import {
  createNodeDirectory,
  httpUrl,
  type NodeDirectory,
  nodeDirectoryPaths,
  readNodeDirectory,
  updateNodeHttp,
} from '../node-directory.ts';
import { MeshError } from '../ports/mesh-error.ts';
import { chooseFreePorts, isPortFree, swarmHost } from './ports.ts';
import { peersFileOf } from './swarm-state.ts';

const swarmNodesDefault = 5;
export const swarmNodesMax = 64;
const swarmHttpPortDefault = 7_400;
const portMax = 65_535;
const clusterName = 'laptop';
/** Nodes that vote on what is confirmed, where there are so many: one of them may fail. */
const coordinatorsWanted = 3;
/** Data centres that the nodes of one machine are labelled with, so that policies about places can be tried. */
const placesPretended = 3;

export interface SwarmNode {
  readonly name: string;
  readonly dir: string;
  readonly url: string;
  readonly token: string;
  readonly tokenFile: string;
  readonly nodeId: NodeId;
  readonly peerId: PeerId;
  readonly httpPort: number;
  readonly meshPort: number;
}

export interface SwarmWanted {
  /** 5 for a new swarm when absent. */
  readonly nodes?: number | undefined;
  /** The first of the nodes' HTTP ports; kept as it was, or 7400 for a new swarm, when absent. */
  readonly httpPort?: number | undefined;
}

export interface PreparedSwarm {
  readonly nodes: readonly SwarmNode[];
  /** False when the directory held a swarm already, whose data is kept. */
  readonly created: boolean;
}

/**
 * Makes the directory of a swarm, or takes up the one that is there. The number of nodes is fixed once made,
 * since the members are the cluster's identity. Rejects with `MeshError` `invalid_config`.
 */
export async function prepareSwarm(dir: string, wanted: SwarmWanted = {}): Promise<PreparedSwarm> {
  checkWanted(wanted);
  await refuseNodeDirectory(dir);
  const members = await readMembers(dir);
  if (members === undefined) await createSwarm(dir, wanted.nodes ?? swarmNodesDefault, wanted.httpPort);
  else if (wanted.nodes !== undefined && wanted.nodes !== members.length) {
    throw new MeshError(
      'invalid_config',
      `the swarm in ${dir} has ${members.length} nodes, not ${wanted.nodes}; ` +
        `leave out --nodes, or choose another --dir for a new swarm`,
    );
  }
  const names = (await readMembers(dir)) ?? [];
  const found = await Promise.all(names.map((name) => readNodeDirectory(join(dir, name))));
  const directories = wanted.httpPort === undefined ? found : await moveHttpPorts(found, wanted.httpPort);
  return { nodes: directories.map(swarmNodeOf), created: members === undefined };
}

/** Rejects with `MeshError` `invalid_config` when anything listens where a node would. */
export async function checkPortsFree(nodes: readonly SwarmNode[]): Promise<void> {
  for (const { name, httpPort, meshPort, dir } of nodes) {
    if (!(await isPortFree(httpPort))) {
      throw new MeshError(
        'invalid_config',
        `port ${httpPort}, which ${name} needs, is in use by another program; choose others with --http-port, ` +
          `as in --http-port ${otherPorts(nodes)}`,
      );
    }
    if (!(await isPortFree(meshPort))) {
      throw new MeshError(
        'invalid_config',
        `port ${meshPort}, which ${name} keeps for talking to the other nodes (${dir}), is in use by another program; ` +
          'stop that program, or start a new swarm with another --dir',
      );
    }
  }
}

/** A suggestion only: a hundred further on, unless that leaves the range of ports. */
function otherPorts(nodes: readonly SwarmNode[]): number {
  const next = (nodes[0]?.httpPort ?? swarmHttpPortDefault) + 100;
  return next + nodes.length <= portMax ? next : swarmHttpPortDefault;
}

function checkWanted({ nodes = swarmNodesDefault, httpPort = swarmHttpPortDefault }: SwarmWanted): void {
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > swarmNodesMax) {
    throw new MeshError('invalid_config', `a swarm has 1 to ${swarmNodesMax} nodes`);
  }
  if (!Number.isInteger(httpPort) || httpPort < 1 || httpPort + nodes - 1 > portMax) {
    throw new MeshError(
      'invalid_config',
      `the ports ${httpPort} to ${httpPort + nodes - 1} are not all between 1 and ${portMax}`,
    );
  }
}

async function createSwarm(dir: string, count: number, httpPort = swarmHttpPortDefault): Promise<void> {
  await makeDirectory(dir, 0o700);
  const peersFile = peersFileOf(dir);
  const httpPorts = Array.from({ length: count }, (_, index) => httpPort + index);
  const meshPorts = await chooseFreePorts(count, httpPorts);
  const drafts = meshPorts.map((port, index) => ({
    name: `n${index + 1}`,
    nodeId: toBase32(randomBytes(16)) as NodeId,
    seed: new Uint8Array(randomBytes(32)),
    token: toBase64Url(randomBytes(32)),
    http: { host: swarmHost, port: httpPort + index },
    listen: [`/ip4/${swarmHost}/tcp/${port}`],
    peersFile,
    // They share one disk, so what each of them has says nothing.
    autoCapacity: false,
  }));
  const genesis = encodeGenesis({
    v: 1,
    cluster: clusterName,
    seed: toBase32(randomBytes(32)),
    members: drafts.map(({ name, nodeId, seed, listen }, index) => ({
      name,
      nodeId,
      peerId: peerIdOf(signerFromSeed(seed).publicKey),
      addresses: listen,
      roles: index < coordinatorsAmong(count) ? ['coordinator', 'storage'] : ['storage'],
      labels: { dc: `dc${(index % placesPretended) + 1}` },
    })),
  });
  // The peers file comes last: without it no node has ever run, so an interrupted setup can be begun again.
  for (const draft of drafts) {
    await removeUnusedNode(join(dir, draft.name));
    await createNodeDirectory(join(dir, draft.name), draft);
  }
  await writePeersFile(peersFile, genesis);
}

/** An even number would survive no more failures than one less. */
function coordinatorsAmong(count: number): number {
  return count < coordinatorsWanted ? 1 : coordinatorsWanted;
}

async function removeUnusedNode(dir: string): Promise<void> {
  const { nodeFile, data } = nodeDirectoryPaths(dir);
  const isNode = await readFile(nodeFile).catch(() => undefined);
  const entries = await readdir(data).catch(() => undefined);
  if (isNode !== undefined && entries?.length === 0) await rm(dir, { recursive: true });
}

async function writePeersFile(path: string, text: string): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o644);
  try {
    await file.writeFile(`${text}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}

async function refuseNodeDirectory(dir: string): Promise<void> {
  const nodeFile = await readFile(nodeDirectoryPaths(dir).nodeFile).catch(() => undefined);
  if (nodeFile === undefined) return;
  throw new MeshError('invalid_config', `${dir} is the directory of a single node; choose another --dir for a swarm`);
}

/** The members' names, or undefined when there is no swarm yet. */
async function readMembers(dir: string): Promise<string[] | undefined> {
  const path = peersFileOf(dir);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new MeshError('invalid_config', `${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  const decoded = decodeGenesis(text);
  if (!decoded.ok) throw new MeshError('invalid_config', `${path} is not a valid peers file: ${decoded.error}`);
  return decoded.value.genesis.members.map(({ name }) => name);
}

async function moveHttpPorts(directories: readonly NodeDirectory[], firstPort: number): Promise<NodeDirectory[]> {
  return Promise.all(
    directories.map(async (directory, index) => {
      const http = { host: directory.http.host, port: firstPort + index };
      if (http.port !== directory.http.port) await updateNodeHttp(directory.dir, http);
      return { ...directory, http };
    }),
  );
}

function swarmNodeOf(directory: NodeDirectory): SwarmNode {
  const meshPort = Number(/\/tcp\/(\d+)$/.exec(directory.listen[0] ?? '')?.[1]);
  if (!Number.isInteger(meshPort)) {
    throw new MeshError('invalid_config', `${directory.paths.nodeFile} has no /tcp/ port to listen on`);
  }
  return {
    name: directory.name,
    dir: resolve(directory.dir),
    url: httpUrl(directory.http),
    token: directory.token,
    tokenFile: directory.paths.tokenFile,
    nodeId: directory.nodeId,
    peerId: directory.peerId,
    httpPort: directory.http.port,
    meshPort,
  };
}
