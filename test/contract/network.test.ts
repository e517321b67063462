import { createHash } from 'node:crypto';
import type { PeerId } from '../../crdt/ids.ts';
import type { Libp2pNetwork } from '../../src/adapters/libp2p/network.ts';
import { createLibp2pNetwork } from '../../src/adapters/libp2p/network.ts';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../src/adapters/memory/metrics.ts';
import { MemoryHub } from '../../src/adapters/memory/network.ts';
import { SystemClock } from '../../src/adapters/system/clock.ts';
import { SystemRandom } from '../../src/adapters/system/random.ts';
import type { Network, NetworkMember } from '../../src/ports/network.ts';
import type { MeshHarness } from './network.contract.ts';
import { networkContract } from './network.contract.ts';

async function createMemoryMesh(size: number): Promise<MeshHarness> {
  const hub = new MemoryHub({ clock: new SystemClock() });
  const members = new Set(Array.from({ length: size }, (_, index) => `peer-${index}` as PeerId));
  const join = async (peer: PeerId, admits: (other: PeerId) => boolean) => {
    const node = hub.join(peer, { admits });
    await node.start();
    return node;
  };
  const isMember = (peer: PeerId): boolean => members.has(peer);
  const nodes: Network[] = [];
  for (const peer of members) nodes.push(await join(peer, isMember));
  return {
    nodes,
    partition: async (a, b) => hub.partition(a.map(peerOf), b.map(peerOf)),
    heal: async () => hub.heal(),
    stranger: () => join('stranger' as PeerId, () => true),
    restart: async (node) => {
      await node.stop();
      return join(node.localPeer, isMember);
    },
    close: async () => {
      for (const node of nodes) await node.stop();
    },
  };
}

async function createLibp2pMesh(size: number): Promise<MeshHarness> {
  const members: NetworkMember[] = [];
  const seeds = new Map<PeerId, Uint8Array>();
  const nodes: Libp2pNetwork[] = [];
  const create = async (seed: Uint8Array, listen = '/ip4/127.0.0.1/tcp/0') => {
    const deps = {
      log: new MemoryLog(),
      metrics: new MemoryMetrics(),
      clock: new SystemClock(),
      random: new SystemRandom(),
    };
    const node = await createLibp2pNetwork(deps, { seed, listen: [listen], members: () => members });
    seeds.set(node.localPeer, seed);
    await node.start();
    nodes.push(node);
    return node;
  };
  for (let index = 0; index < size; index++) {
    const node = await create(seedOf(`member ${index}`));
    members.push({ peerId: node.localPeer, addresses: node.addresses() });
  }
  const cut = (a: readonly Network[], b: readonly Network[]) =>
    Promise.all(a.map((node) => (node as Libp2pNetwork).setCut(new Set(b.map(peerOf)))));
  return {
    nodes: [...nodes],
    partition: async (a, b) => {
      await cut(a, b);
      await cut(b, a);
    },
    heal: async () => {
      await cut(nodes, []);
    },
    stranger: () => create(seedOf('stranger')),
    restart: async (node) => {
      const address = (node as Libp2pNetwork).addresses()[0];
      await node.stop();
      return create(seeds.get(node.localPeer) as Uint8Array, address);
    },
    close: async () => {
      await Promise.all(nodes.map((node) => node.stop()));
    },
  };
}

function peerOf(node: Network): PeerId {
  return node.localPeer;
}

function seedOf(text: string): Uint8Array {
  return createHash('sha256').update(text).digest();
}

networkContract('memory', createMemoryMesh);
networkContract('libp2p', createLibp2pMesh);
