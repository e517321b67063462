import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { PeerCommand, PeerReport } from './channel-peer.ts';

const script = fileURLToPath(new URL('./channel-peer.ts', import.meta.url));

/** The parent's hold on a `channel-peer.ts` process. */
export class PeerProcess {
  readonly #child: ChildProcess;
  #report: PeerReport | undefined;
  #rssAnonBytesMax = 0;

  constructor() {
    this.#child = fork(script, { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', (report: PeerReport) => {
      this.#report = report;
      this.#rssAnonBytesMax = Math.max(this.#rssAnonBytesMax, report.rssAnonBytes ?? 0);
    });
  }

  send(command: PeerCommand): void {
    this.#child.send(command);
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(name);
  }

  /** What the process said last; throws before it has said anything. */
  get report(): PeerReport {
    if (this.#report === undefined) throw new Error('the process has not reported yet');
    return this.#report;
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

/** Two processes whose nodes are connected with each other. */
export async function connectPeerProcesses(): Promise<{ readonly alice: PeerProcess; readonly bob: PeerProcess }> {
  const [alice, bob] = [new PeerProcess(), new PeerProcess()];
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
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
