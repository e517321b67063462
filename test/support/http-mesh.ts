import { randomBytes } from 'node:crypto';
import { toBase32 } from '../../crdt/digest.ts';
import { encodeGenesis } from '../../crdt/genesis.ts';
import type { NodeId, PeerId } from '../../crdt/ids.ts';
import { peerIdOf, signerFromSeed } from '../../crdt/signature.ts';
import { MemoryBlobStore } from '../../src/adapters/memory/blob-store.ts';
import { MemoryKv } from '../../src/adapters/memory/kv.ts';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../src/adapters/memory/metrics.ts';
import { MemoryHub } from '../../src/adapters/memory/network.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { InlineVerifier } from '../../src/adapters/memory/verifier.ts';
import { SystemClock } from '../../src/adapters/system/clock.ts';
import { AnabranchClient } from '../../src/client/http-client.ts';
import { composeNode } from '../../src/compose.ts';
import { createHttpServer, type HttpServer } from '../../src/http/server.ts';
import type { Node } from '../../src/node/mesh-node.ts';
import type { SwarmControl } from '../../src/swarm/tour/tour-types.ts';

export const meshToken = 'the-token-of-the-mesh';

export interface HttpMeshNode {
  readonly name: string;
  readonly url: string;
  readonly client: AnabranchClient;
}

/** A heartbeat so fast that a node counts as offline after some 1.2 s, and as gone a moment later. */
const membership = { heartbeatIntervalMs: 100, suspectAfterMs: 300, offlineAfterMs: 1_200 };
const replication = { repairDelayMs: 500 };

/** What a node keeps while it is down, and what it is while it is up. */
interface Place {
  readonly name: string;
  readonly peerId: PeerId;
  readonly keySeed: Uint8Array;
  readonly kv: MemoryKv;
  readonly blobs: MemoryBlobStore;
  running: { readonly node: Node; readonly server: HttpServer };
}

type Start = (place: Omit<Place, 'running'>, port?: number) => Promise<Place['running']>;

/** Whole nodes over in-memory adapters in real time, each with its HTTP API: a swarm in one process. */
export class HttpMesh implements SwarmControl {
  readonly nodes: readonly HttpMeshNode[];
  readonly #start: Start;
  readonly #hub: MemoryHub;
  readonly #places: readonly Place[];

  private constructor(hub: MemoryHub, places: readonly Place[], start: Start) {
    this.#hub = hub;
    this.#places = places;
    this.#start = start;
    this.nodes = places.map(({ name, running }) => {
      const { url } = running.server;
      return { name, url, client: new AnabranchClient({ url, token: meshToken }) };
    });
  }

  static async start(count: number): Promise<HttpMesh> {
    const clock = new SystemClock();
    const hub = new MemoryHub({ clock });
    const random = new SeededRandom(randomBytes(32));
    const coordinators = count < 3 ? 1 : 3;
    const seeds = Array.from({ length: count }, () => random.bytes(32));
    const members = seeds.map((seed, index) => ({
      name: `n${index + 1}`,
      nodeId: toBase32(random.bytes(16)) as NodeId,
      peerId: peerIdOf(signerFromSeed(seed).publicKey),
      addresses: [],
      roles: index < coordinators ? (['coordinator', 'storage'] as const) : (['storage'] as const),
      labels: { dc: `dc${(index % 3) + 1}` },
    }));
    const genesisText = encodeGenesis({ v: 1, cluster: 'test', seed: toBase32(random.bytes(16)), members });
    let starts = 0;
    const start: Start = async ({ name, peerId, keySeed, kv, blobs }, port = 0) => {
      const [log, metrics] = [new MemoryLog(), new MemoryMetrics()];
      const own = random.split(`${name} ${starts++}`);
      const adapters = { clock, random: own, network: hub.join(peerId), kv, blobs, verifier: new InlineVerifier() };
      const node = composeNode(
        { ...adapters, log, metrics },
        { keySeed, genesisText, version: 'test', membership, replication },
      );
      await node.start();
      const deps = { node, token: meshToken, metricsText: async () => '', log, clock };
      return { node, server: await createHttpServer(deps, { host: '127.0.0.1', port }) };
    };
    const places: Place[] = [];
    for (const [index, { name, peerId }] of members.entries()) {
      const disk = { kv: new MemoryKv(clock, { name }), blobs: new MemoryBlobStore() };
      const place = { name, peerId, keySeed: seeds[index] as Uint8Array, ...disk };
      places.push({ ...place, running: await start(place) });
    }
    return new HttpMesh(hub, places, start);
  }

  async partition(groups: readonly (readonly string[])[]): Promise<void> {
    const peers = groups.map((group) => group.map((name) => this.#placeOf(name).peerId));
    for (const [index, left] of peers.entries()) {
      for (const right of peers.slice(index + 1)) this.#hub.partition(left, right);
    }
  }

  async heal(): Promise<void> {
    this.#hub.heal();
  }

  async killNode(name: string): Promise<void> {
    await stop(this.#placeOf(name).running);
  }

  async startNode(name: string): Promise<void> {
    const place = this.#placeOf(name);
    place.running = await this.#start(place, Number(new URL(place.running.server.url).port));
  }

  async stop(): Promise<void> {
    for (const { client } of this.nodes) client.close();
    await Promise.all(this.#places.map(({ running }) => stop(running)));
  }

  #placeOf(name: string): Place {
    const place = this.#places.find((each) => each.name === name);
    if (place === undefined) throw new Error(`there is no node ${name}`);
    return place;
  }
}

async function stop({ node, server }: Place['running']): Promise<void> {
  await server.close();
  await node.stop();
}
