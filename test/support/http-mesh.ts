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

/** Whole nodes over in-memory adapters in real time, each with its HTTP API: a swarm in one process. */
export class HttpMesh implements SwarmControl {
  readonly nodes: readonly HttpMeshNode[];
  readonly #hub: MemoryHub;
  readonly #peers: ReadonlyMap<string, PeerId>;
  readonly #running: readonly { readonly node: Node; readonly server: HttpServer }[];

  private constructor(
    hub: MemoryHub,
    peers: ReadonlyMap<string, PeerId>,
    running: readonly { readonly name: string; readonly node: Node; readonly server: HttpServer }[],
  ) {
    this.#hub = hub;
    this.#peers = peers;
    this.#running = running;
    this.nodes = running.map(({ name, server: { url } }) => {
      return { name, url, client: new AnabranchClient({ url, token: meshToken }) };
    });
  }

  static async start(count: number): Promise<HttpMesh> {
    const clock = new SystemClock();
    const hub = new MemoryHub({ clock });
    const random = new SeededRandom(randomBytes(32));
    const seeds = Array.from({ length: count }, () => random.bytes(32));
    const members = seeds.map((seed, index) => ({
      name: `n${index + 1}`,
      nodeId: toBase32(random.bytes(16)) as NodeId,
      peerId: peerIdOf(signerFromSeed(seed).publicKey),
      addresses: [],
    }));
    const genesisText = encodeGenesis({ v: 1, cluster: 'test', seed: toBase32(random.bytes(16)), members });
    const running = [];
    for (const [index, { name, peerId }] of members.entries()) {
      const [log, metrics] = [new MemoryLog(), new MemoryMetrics()];
      const kv = new MemoryKv(clock, { name });
      const node = composeNode(
        {
          clock,
          random: random.split(name),
          network: hub.join(peerId),
          kv,
          blobs: new MemoryBlobStore(),
          verifier: new InlineVerifier(),
          log,
          metrics,
        },
        { keySeed: seeds[index] as Uint8Array, genesisText, version: 'test' },
      );
      await node.start();
      const deps = { node, token: meshToken, metricsText: async () => '', log, clock };
      running.push({ name, node, server: await createHttpServer(deps, { host: '127.0.0.1', port: 0 }) });
    }
    return new HttpMesh(hub, new Map(members.map(({ name, peerId }) => [name, peerId])), running);
  }

  async partition(groups: readonly (readonly string[])[]): Promise<void> {
    const peers = groups.map((group) => group.map((name) => this.#peers.get(name) as PeerId));
    for (const [index, left] of peers.entries()) {
      for (const right of peers.slice(index + 1)) this.#hub.partition(left, right);
    }
  }

  async heal(): Promise<void> {
    this.#hub.heal();
  }

  async stop(): Promise<void> {
    for (const { client } of this.nodes) client.close();
    await Promise.all(
      this.#running.map(async ({ node, server }) => {
        await server.close();
        await node.stop();
      }),
    );
  }
}
