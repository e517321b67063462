import { readFileSync } from 'node:fs';
import type { PeerId } from '../../crdt/ids.ts';
import { createLibp2pNetwork } from '../../src/adapters/libp2p/network.ts';
import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { MemoryMetrics } from '../../src/adapters/memory/metrics.ts';
import { SystemClock } from '../../src/adapters/system/clock.ts';
import { SystemRandom } from '../../src/adapters/system/random.ts';
import type { NetworkMember } from '../../src/ports/network.ts';

/** What the parent of any peer process may tell it. */
export type PeerCommand =
  | { readonly kind: 'start'; readonly seed: readonly number[]; readonly members: readonly NetworkMember[] }
  | { readonly kind: 'members'; readonly members: readonly NetworkMember[] };

/** What any peer process tells its parent, again and again. */
export interface PeerReport {
  readonly peerId: PeerId;
  readonly addresses: readonly string[];
  readonly connected: readonly PeerId[];
  /** Anonymous memory in use, where the system tells; absent elsewhere. */
  readonly rssAnonBytes?: number;
  readonly failure?: string;
}

export type PeerNetwork = Awaited<ReturnType<typeof createLibp2pNetwork>>;

/** What one kind of peer process does beside being connected. */
interface PeerRole<Command, Report> {
  /** Before the node starts. */
  readonly setUp: (network: PeerNetwork) => void;
  readonly obey: (command: Command, network: PeerNetwork) => Promise<void> | void;
  /** What it reports beside what every peer does. */
  readonly report: () => Report;
  /** How soon it lets go of a peer that does not answer; a node's own patience when absent. */
  readonly heartbeat?: NonNullable<Parameters<typeof createLibp2pNetwork>[1]['heartbeat']>;
}

const reportIntervalMs = 50;

export const clock = new SystemClock();

/** Makes this process one with a libp2p node in it that is driven by its parent over IPC, and ends with it. */
export function runPeer<Command extends { readonly kind: string }, Report extends object>(
  role: PeerRole<Command, Report>,
): void {
  let members: readonly NetworkMember[] = [];
  let failure: string | undefined;
  let started: Promise<PeerNetwork> | undefined;
  const start = async (seed: readonly number[]): Promise<PeerNetwork> => {
    const network = await createLibp2pNetwork(
      { log: new MemoryLog(), metrics: new MemoryMetrics(), clock, random: new SystemRandom() },
      {
        seed: Uint8Array.from(seed),
        listen: ['/ip4/127.0.0.1/tcp/0'],
        members: () => members,
        ...(role.heartbeat === undefined ? {} : { heartbeat: role.heartbeat }),
      },
    );
    role.setUp(network);
    await network.start();
    setInterval(() => process.send?.({ ...reportOf(network, failure), ...role.report() }), reportIntervalMs);
    return network;
  };
  process.on('disconnect', () => process.exit());
  process.on('message', async (message) => {
    const command = message as PeerCommand | Command;
    try {
      if (isCommon(command)) {
        members = command.members;
        if (command.kind === 'start') started = start(command.seed);
        await started;
      } else if (started !== undefined) await role.obey(command, await started);
    } catch (error) {
      failure = String(error);
    }
  });
}

function isCommon(command: PeerCommand | { readonly kind: string }): command is PeerCommand {
  return command.kind === 'start' || command.kind === 'members';
}

function reportOf(network: PeerNetwork, failure: string | undefined): PeerReport {
  const rssAnonBytes = readRssAnonBytes();
  return {
    peerId: network.localPeer,
    addresses: network.addresses(),
    connected: network.connectedPeers(),
    ...(rssAnonBytes === undefined ? {} : { rssAnonBytes }),
    ...(failure === undefined ? {} : { failure }),
  };
}

function readRssAnonBytes(): number | undefined {
  try {
    const kib = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    return kib === undefined ? undefined : Number(kib) * 1024;
  } catch {
    return undefined;
  }
}
