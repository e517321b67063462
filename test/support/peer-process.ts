import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { BlobsCommand, BlobsReport } from './blobs-peer.ts';
import type { ChannelCommand, ChannelReport } from './channel-peer.ts';
import type { PeerCommand, PeerReport } from './libp2p-peer.ts';

/** The processes that there are: their scripts, what they obey and what they tell. */
interface Peers {
  channel: { readonly command: ChannelCommand; readonly report: ChannelReport };
  blobs: { readonly command: BlobsCommand; readonly report: BlobsReport };
}
type PeerKind = keyof Peers;

const scripts: Readonly<Record<PeerKind, URL>> = {
  channel: new URL('./channel-peer.ts', import.meta.url),
  blobs: new URL('./blobs-peer.ts', import.meta.url),
};

/** The parent's hold on a process that calls `runPeer`. */
export class PeerProcess<Kind extends PeerKind = PeerKind> {
  readonly #child: ChildProcess;
  #report: (PeerReport & Peers[Kind]['report']) | undefined;
  #reports = 0;
  #rssAnonBytesMax = 0;

  constructor(kind: Kind) {
    this.#child = fork(fileURLToPath(scripts[kind]), { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', (report: PeerReport & Peers[Kind]['report']) => {
      this.#report = report;
      this.#reports += 1;
      this.#rssAnonBytesMax = Math.max(this.#rssAnonBytesMax, report.rssAnonBytes ?? 0);
    });
  }

  send(command: PeerCommand | Peers[Kind]['command']): void {
    this.#child.send(command);
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(name);
  }

  /** What the process said last; throws before it has said anything. */
  get report(): PeerReport & Peers[Kind]['report'] {
    if (this.#report === undefined) throw new Error('the process has not reported yet');
    return this.#report;
  }

  /** How often it has said anything: a process that hangs says nothing more. */
  get reports(): number {
    return this.#reports;
  }

  /** The most memory it has reported since the last call, in bytes; 0 where the system does not tell. */
  takeRssAnonBytesMax(): number {
    const bytes = this.#rssAnonBytesMax;
    this.#rssAnonBytesMax = 0;
    return bytes;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}

/** Two processes of a kind whose nodes are connected with each other. */
export async function connectPeerProcesses<Kind extends PeerKind>(
  kind: Kind,
): Promise<{ readonly alice: PeerProcess<Kind>; readonly bob: PeerProcess<Kind> }> {
  const [alice, bob] = [new PeerProcess(kind), new PeerProcess(kind)];
  alice.send({ kind: 'start', seed: Array(32).fill(1), members: [] });
  bob.send({ kind: 'start', seed: Array(32).fill(2), members: [] });
  await until(() => alice.report.addresses.length > 0 && bob.report.addresses.length > 0);
  const members = [alice, bob].map(({ report: { peerId, addresses } }) => ({ peerId, addresses }));
  alice.send({ kind: 'members', members });
  bob.send({ kind: 'members', members });
  await until(() => alice.report.connected.length === 1 && bob.report.connected.length === 1);
  return { alice, bob };
}

/** Resolves once the condition holds; a condition that throws does not hold yet. */
export async function until(condition: () => boolean, timeoutMs = 30_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      if (condition()) return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${condition}`);
    await pause(20);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
