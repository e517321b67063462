import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AnabranchClient } from '../../src/client/http-client.ts';
import { nodeDirectoryPaths } from '../../src/node-directory.ts';
import { callControlSocket } from '../../src/swarm/control-socket.ts';
import { NodeProcess, serveCommand } from '../../src/swarm/node-process.ts';
import { prepareSwarm, type SwarmNode } from '../../src/swarm/swarm-directory.ts';
import { firstOfFreePorts } from './free-ports.ts';

const controlMsMax = 10_000;

/** A node as its own process, with a client to it. */
export interface RunningProcess {
  readonly node: SwarmNode;
  readonly process: NodeProcess;
  readonly client: AnabranchClient;
}

/**
 * Runs something on a fresh cluster of node processes, and removes everything afterwards. `settings` are put into each
 * node's `node.json` before it starts, `serveOptions` are given to its command.
 */
export async function withNodes<T>(
  count: number,
  run: (nodes: readonly RunningProcess[]) => Promise<T>,
  settings: Readonly<Record<string, unknown>> = {},
  serveOptions: readonly string[] = [],
): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), 'anabranch-nodes-'));
  const processes: RunningProcess[] = [];
  try {
    const httpPort = await firstOfFreePorts(count);
    const { nodes } = await prepareSwarm(join(dir, 'swarm'), { nodes: count, httpPort });
    for (const node of nodes) {
      const { nodeFile } = nodeDirectoryPaths(node.dir);
      await writeFile(nodeFile, JSON.stringify({ ...JSON.parse(await readFile(nodeFile, 'utf8')), ...settings }));
      const process = new NodeProcess({ onChange: () => undefined }, { node, command: serveCommand(serveOptions) });
      processes.push({ node, process, client: new AnabranchClient({ url: node.url, token: node.token }) });
      // One after the other: each then finds those before it, and the mesh is one when the last is ready.
      await process.start(new AbortController().signal);
    }
    return await run(processes);
  } finally {
    for (const { client } of processes) client.close();
    await Promise.all(processes.map(({ process }) => process.stop()));
    await rm(dir, { recursive: true, force: true });
  }
}

/** Cuts a node off from these others; none lifts the cut. */
export async function cut(node: RunningProcess, others: readonly RunningProcess[]): Promise<void> {
  const { controlSocket } = nodeDirectoryPaths(node.node.dir);
  const peers = others.map((other) => other.node.peerId);
  const request = peers.length === 0 ? { command: 'heal' } : { command: 'cut', peers };
  await callControlSocket(controlSocket, request, controlMsMax);
}

/** A process's anonymous memory in bytes: what it really holds, without mapped files. Linux only. */
export async function anonymousBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const kib = /^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kib === undefined) throw new Error(`/proc/${pid}/status does not say RssAnon`);
  return Number(kib) * 1024;
}

/** Watches the highest anonymous memory of processes until stopped. */
export function watchMemory(pids: readonly number[]): { stop(): Promise<number> } {
  let highest = 0;
  const look = async (): Promise<void> => {
    for (const pid of pids) highest = Math.max(highest, await anonymousBytes(pid).catch(() => 0));
  };
  const timer = setInterval(() => void look(), 100);
  return {
    async stop() {
      clearInterval(timer);
      await look();
      return highest;
    },
  };
}
