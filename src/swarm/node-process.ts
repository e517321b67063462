import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { copyFile, open, rename, stat, truncate } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { AnabranchClient } from '../client/http-client.ts';
import { nodeDirectoryPaths } from '../node-directory.ts';
import { MeshError } from '../ports/mesh-error.ts';
import { youngGenerationFlags } from '../young-generation.ts';
import type { SwarmNode } from './swarm-directory.ts';

/** Five nodes that start at once on a busy laptop need a few seconds each; this long means that something is wrong. */
const readyMsMax = 60_000;
const readyPollMs = 100;
/** A node drains and flushes within 5 s; whatever runs on after this is killed, which loses nothing. */
const stopMsMax = 10_000;
const logTailBytes = 4 * 1024;
const logTailLines = 12;
/** One former log is kept beside the current one, so a node's logs stay below twice this. */
const logBytesMax = 16 * 1024 * 1024;

export type NodeProcessState = 'stopped' | 'starting' | 'running' | 'stopping' | 'crashed';

/**
 * The command that runs a node, given its directory as the last argument; from source in a checkout, from the built files
 * in a package. `options` are more of `serve`.
 */
export function serveCommand(options: readonly string[] = []): readonly string[] {
  const main = new URL(import.meta.url.endsWith('.ts') ? '../cli/main.ts' : '../cli/main.js', import.meta.url);
  return [
    process.execPath,
    ...youngGenerationFlags,
    fileURLToPath(main),
    'serve',
    '--dev-control',
    ...options,
    '--dir',
  ];
}

/** One node of the swarm as a child process, which ends by itself when this process does. */
export class NodeProcess {
  readonly node: SwarmNode;
  readonly #onChange: (process: NodeProcess) => void;
  readonly #command: readonly string[];
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #state: NodeProcessState = 'stopped';
  #lastExit = 'never started';

  constructor(
    deps: { readonly onChange: (process: NodeProcess) => void },
    options: { readonly node: SwarmNode; readonly command?: readonly string[] },
  ) {
    this.#onChange = deps.onChange;
    this.node = options.node;
    this.#command = options.command ?? serveCommand();
  }

  get state(): NodeProcessState {
    return this.#state;
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** How the process ended last, in words. */
  get lastExit(): string {
    return this.#lastExit;
  }

  /** Starts the process and resolves once the node is ready. Rejects with `MeshError` that carries the log's end. */
  async start(signal: AbortSignal): Promise<void> {
    if (this.#child !== undefined) throw new MeshError('wrong_state', `${this.node.name} is running already`);
    signal.throwIfAborted();
    const { logFile } = nodeDirectoryPaths(this.node.dir);
    await rotateLog(logFile);
    const log = await open(logFile, 'a', 0o600);
    try {
      this.#launch(log.fd);
    } finally {
      await log.close();
    }
    try {
      await this.#becomeReady(AbortSignal.any([signal, AbortSignal.timeout(readyMsMax)]));
    } catch (error) {
      await this.kill();
      signal.throwIfAborted();
      throw await this.#startFailure(error, logFile);
    }
    this.#change('running');
  }

  /** Asks the process to stop, and insists after a while. Resolves when it is gone. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#change('stopping');
    child.kill('SIGTERM');
    const insist = setTimeout(() => child.kill('SIGKILL'), stopMsMax);
    await this.#exited;
    clearTimeout(insist);
  }

  /** SIGKILL, as a power cut would have it. Resolves when the process is gone. */
  async kill(): Promise<void> {
    if (this.#child === undefined) return;
    this.#change('stopping');
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  /** Keeps a long-running node's log within its bound. */
  async boundLog(): Promise<void> {
    const { logFile } = nodeDirectoryPaths(this.node.dir);
    const size = await sizeOf(logFile);
    if (size <= logBytesMax) return;
    // The node appends through its own descriptor, so the file itself must stay.
    await copyFile(logFile, `${logFile}.1`);
    await truncate(logFile);
  }

  #launch(logDescriptor: number): void {
    const [program = process.execPath, ...args] = this.#command;
    const child = spawn(program, [...args, this.node.dir], {
      cwd: this.node.dir,
      stdio: ['ignore', logDescriptor, logDescriptor, 'ipc'],
    });
    this.#child = child;
    this.#change('starting');
    this.#exited = new Promise((resolve) => {
      const ended = (how: string): void => {
        if (this.#child !== child) return;
        const asked = this.#state === 'stopping';
        this.#child = undefined;
        this.#lastExit = how;
        this.#change(asked ? 'stopped' : 'crashed');
        resolve();
      };
      child.once('error', (error) => ended(`could not be started: ${error.message}`));
      child.once('exit', (code, signal) =>
        ended(signal === null ? `ended with exit code ${code}` : `ended by ${signal}`),
      );
    });
  }

  async #becomeReady(signal: AbortSignal): Promise<void> {
    const client = new AnabranchClient({ url: this.node.url, token: this.node.token });
    try {
      while (this.#child !== undefined) {
        if (await isReady(client, this.node, signal)) return;
        await Promise.race([sleep(readyPollMs, undefined, { signal }), this.#exited]);
      }
    } finally {
      client.close();
    }
    throw new MeshError('io_error', this.#lastExit);
  }

  async #startFailure(error: unknown, logFile: string): Promise<MeshError> {
    const timedOut = error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError');
    const reason = timedOut ? `was not ready within ${readyMsMax / 1000} s` : (error as Error).message;
    const tail = await logTail(logFile);
    const said = tail === '' ? 'It wrote no log.' : `The end of ${logFile}:\n${tail}`;
    return new MeshError('io_error', `${this.node.name} could not be started: it ${reason}. ${said}`, { cause: error });
  }

  #change(state: NodeProcessState): void {
    this.#state = state;
    this.#onChange(this);
  }
}

/** True when this very node answers; another one at its address is a fault, and any failure is "not yet". */
async function isReady(client: AnabranchClient, node: SwarmNode, signal: AbortSignal): Promise<boolean> {
  const status = await client.status(signal).catch(() => undefined);
  signal.throwIfAborted();
  if (status === undefined) return false;
  if (status.nodeId !== node.nodeId) {
    throw new MeshError('invalid_config', `found another node at ${node.url}; stop that one or use --http-port`);
  }
  return status.ready;
}

async function rotateLog(logFile: string): Promise<void> {
  if ((await sizeOf(logFile)) > 0) await rename(logFile, `${logFile}.1`);
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

async function logTail(path: string): Promise<string> {
  const file = await open(path, 'r').catch(() => undefined);
  if (file === undefined) return '';
  try {
    const { size } = await file.stat();
    const { buffer, bytesRead } = await file.read(
      Buffer.alloc(logTailBytes),
      0,
      logTailBytes,
      Math.max(0, size - logTailBytes),
    );
    const lines = buffer.subarray(0, bytesRead).toString('utf8').trimEnd().split('\n');
    return lines.slice(-logTailLines).join('\n');
  } finally {
    await file.close();
  }
}
