import { peerIdOf, signerFromSeed } from '../../crdt/signature.ts';
import { gossipTopic } from '../../protocols/gossip/messages.ts';
import { heartbeatTopic } from '../../protocols/membership/heartbeat.ts';
import { descriptorTopic } from '../../protocols/membership/messages.ts';
import type { MemoryNetwork } from '../../src/adapters/memory/network.ts';
import { protocols } from './nonsense.ts';
import type { Simulation } from './simulation.ts';

const slots = 16;

/** Somebody on the network who is no member, serves every protocol and listens to everything: whatever reaches it is a violation. */
export class Stranger {
  readonly #sim: Simulation;
  readonly #network: MemoryNetwork;

  constructor(sim: Simulation) {
    this.#sim = sim;
    const { publicKey } = signerFromSeed(sim.random.split('key:stranger').bytes(32));
    // What a member without rules tells it is nobody's fault.
    const nodes = new Set([...sim.machines.values()].map(({ member }) => member.peerId));
    this.#network = sim.hub.join(peerIdOf(publicKey), { admits: (peer) => nodes.has(peer) });
  }

  async join(): Promise<void> {
    const { cluster } = this.#sim;
    for (const protocol of protocols)
      this.#network.handle(protocol, async () => this.#reached(`asked for ${protocol}`));
    const topics = Array.from({ length: slots }, (_, slot) => gossipTopic(cluster, slot));
    for (const topic of [...topics, descriptorTopic(cluster), heartbeatTopic(cluster)]) {
      this.#network.subscribe(topic, () => {
        this.#reached(`sent gossip of ${topic}`);
        return 'ignore';
      });
    }
    this.#network.onPeerChange(({ kind, peer }) => this.#reached(`${kind} with ${peer}`));
    await this.#network.start();
  }

  #reached(what: string): void {
    this.#sim.violate('stranger', `who is no member was ${what}`);
  }
}
