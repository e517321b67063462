import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { makeDirectory } from '../make-directory.ts';
import { nodeDirectoryPaths } from '../node-directory.ts';
import { MeshError } from '../ports/mesh-error.ts';
import { type ControlServer, callControlSocket, isAnswering, serveControlSocket } from './control-socket.ts';
import { NodeProcess, type NodeProcessState, serveCommand } from './node-process.ts';
import { checkPortsFree, prepareSwarm, type SwarmNode, swarmNodesMax } from './swarm-directory.ts';
import { removeSwarmState, supervisorSocket, writeSwarmState } from './swarm-state.ts';

/** A node that lost its supervisor stops by itself within this. */
const leftoverMsMax = 15_000;
const leftoverPollMs = 100;
const nodeCommandMsMax = 5_000;
const logCheckMs = 30_000;

const nodeName = z.string().min(1).max(63);
const commandSchema = z.discriminatedUnion('command', [
  z.object({ command: z.literal('partition'), groups: z.array(z.array(nodeName).min(1)).min(1).max(swarmNodesMax) }),
  z.object({ command: z.literal('heal') }),
  z.object({ command: z.literal('stop'), name: nodeName }),
  z.object({ command: z.literal('kill'), name: nodeName }),
  z.object({ command: z.literal('start'), name: nodeName }),
  z.object({ command: z.literal('status') }),
]);

export type SwarmCommand = z.infer<typeof commandSchema>;

export interface SwarmStatus {
  readonly dir: string;
  readonly pid: number;
  /** The groups that do not see each other; null while the mesh is whole. */
  readonly partition: readonly (readonly string[])[] | null;
  readonly nodes: readonly {
    readonly name: string;
    readonly state: NodeProcessState;
    readonly pid: number | null;
    readonly url: string;
    /** How the process ended last; null while it runs. */
    readonly exit: string | null;
  }[];
}

export interface SupervisorOptions {
  readonly dir: string;
  readonly nodes?: number | undefined;
  readonly httpPort?: number | undefined;
  /** Runs a node, given its directory as the last argument; this program's own `serve` when absent. */
  readonly nodeCommand?: readonly string[];
  /** Options of `serve` for every node. */
  readonly serveOptions?: readonly string[] | undefined;
}

/** Runs the nodes of one swarm directory as processes, and takes commands for them. */
export class Supervisor {
  readonly #notify: (message: string) => void;
  readonly #options: SupervisorOptions;
  readonly #dir: string;
  readonly #stopping = new AbortController();
  #processes: readonly NodeProcess[] = [];
  #groups: readonly (readonly string[])[] | undefined;
  #control: ControlServer | undefined;
  #up = false;
  #turn: Promise<unknown> = Promise.resolve();
  #stateWritten: Promise<void> = Promise.resolve();
  #logTimer: NodeJS.Timeout | undefined;

  constructor(deps: { readonly notify: (message: string) => void }, options: SupervisorOptions) {
    this.#notify = deps.notify;
    this.#options = options;
    this.#dir = resolve(options.dir);
  }

  get nodes(): readonly SwarmNode[] {
    return this.#processes.map(({ node }) => node);
  }

  /** Starts every node and resolves when all are ready. Rejects with `MeshError`; `close` cleans up either way. */
  async start(): Promise<{ readonly created: boolean }> {
    await makeDirectory(this.#dir, 0o700);
    await this.#takeDirectory();
    await removeSwarmState(this.#dir);
    const { nodes, created } = await prepareSwarm(this.#dir, this.#options);
    for (const node of nodes) await leftoverGone(node, this.#stopping.signal);
    await checkPortsFree(nodes);
    const command = this.#options.nodeCommand ?? serveCommand(this.#options.serveOptions);
    this.#processes = nodes.map(
      (node) => new NodeProcess({ onChange: (process) => this.#processChanged(process) }, { node, command }),
    );
    await this.#startAll();
    this.#up = true;
    await this.#writeState();
    this.#logTimer = setInterval(() => this.#boundLogs(), logCheckMs);
    return { created };
  }

  /** Stops every node, cleanly where it obeys, and gives the directory up. May be called at any time, repeatedly. */
  async close(): Promise<void> {
    this.#up = false;
    this.#stopping.abort(new MeshError('shutting_down', 'the swarm is stopping'));
    clearInterval(this.#logTimer);
    await Promise.all(this.#processes.map((process) => process.stop()));
    const control = this.#control;
    if (control === undefined) return;
    this.#control = undefined;
    await this.#stateWritten.catch(() => undefined);
    await removeSwarmState(this.#dir);
    await control.close();
  }

  /** Cuts the mesh: nodes of different groups lose sight of each other. Nodes that are not named form one more group. */
  partition(groups: readonly (readonly string[])[]): Promise<void> {
    return this.#inTurn(async () => {
      this.#groups = this.#checkGroups(groups);
      await this.#applyToAll();
    });
  }

  heal(): Promise<void> {
    return this.#inTurn(async () => {
      this.#groups = undefined;
      await this.#applyToAll();
    });
  }

  stopNode(name: string): Promise<void> {
    return this.#inTurn(() => this.#running(name).stop());
  }

  killNode(name: string): Promise<void> {
    return this.#inTurn(() => this.#running(name).kill());
  }

  startNode(name: string): Promise<void> {
    return this.#inTurn(async () => {
      const process = this.#find(name);
      await process.start(this.#stopping.signal);
      await this.#apply(process);
    });
  }

  status(): SwarmStatus {
    return {
      dir: this.#dir,
      pid: process.pid,
      partition: this.#groups ?? null,
      nodes: this.#processes.map(({ node, state, pid, lastExit }) => ({
        name: node.name,
        state,
        pid,
        url: node.url,
        exit: pid === null ? lastExit : null,
      })),
    };
  }

  async #takeDirectory(): Promise<void> {
    try {
      this.#control = await serveControlSocket(supervisorSocket(this.#dir), (request) => this.#handle(request));
    } catch (error) {
      if (!(error instanceof MeshError) || error.code !== 'directory_in_use') throw error;
      throw new MeshError(
        'directory_in_use',
        `a swarm is running in ${this.#dir} already; stop it with Ctrl-C in its terminal, or choose another --dir`,
      );
    }
  }

  async #handle(request: unknown): Promise<unknown> {
    const parsed = commandSchema.safeParse(request);
    if (!parsed.success) throw new MeshError('invalid_config', 'this is not a command of the swarm supervisor');
    const command = parsed.data;
    if (!this.#up && command.command !== 'status') throw new MeshError('shutting_down', 'the swarm is not up');
    if (command.command === 'partition') await this.partition(command.groups);
    else if (command.command === 'heal') await this.heal();
    else if (command.command === 'stop') await this.stopNode(command.name);
    else if (command.command === 'kill') await this.killNode(command.name);
    else if (command.command === 'start') await this.startNode(command.name);
    // Whoever asked may look there next. That it could not be written is told of elsewhere.
    await this.#stateWritten.catch(() => undefined);
    return this.status();
  }

  async #startAll(): Promise<void> {
    const starts = await Promise.allSettled(this.#processes.map((process) => process.start(this.#stopping.signal)));
    const failed = starts.find((start) => start.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** Commands that change something run one after the other. */
  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(run);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  #find(name: string): NodeProcess {
    const found = this.#processes.find(({ node }) => node.name === name);
    if (found !== undefined) return found;
    const names = this.#processes.map(({ node }) => node.name).join(', ');
    throw new MeshError('invalid_config', `there is no node "${name}" in this swarm; its nodes are ${names}`);
  }

  #running(name: string): NodeProcess {
    const found = this.#find(name);
    if (found.pid === null) throw new MeshError('wrong_state', `${name} is not running`);
    return found;
  }

  #checkGroups(groups: readonly (readonly string[])[]): readonly (readonly string[])[] {
    const named = new Set<string>();
    for (const name of groups.flat()) {
      this.#find(name);
      if (named.has(name)) throw new MeshError('invalid_config', `${name} is named in more than one group`);
      named.add(name);
    }
    const others = this.nodes.map(({ name }) => name).filter((name) => !named.has(name));
    const all = others.length > 0 ? [...groups, others] : groups;
    if (all.length < 2) throw new MeshError('invalid_config', 'all nodes are in one group, which cuts nothing');
    return all;
  }

  async #applyToAll(): Promise<void> {
    const applied = await Promise.allSettled(this.#processes.map((process) => this.#apply(process)));
    const failed = applied.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** Tells one node which peers it must not see; one that does not run is told when it starts. */
  async #apply({ node, state }: NodeProcess): Promise<void> {
    if (state !== 'running') return;
    const own = this.#groups?.find((group) => group.includes(node.name));
    const cut = own === undefined ? [] : this.nodes.filter(({ name }) => !own.includes(name));
    const command = cut.length === 0 ? { command: 'heal' } : { command: 'cut', peers: cut.map(({ peerId }) => peerId) };
    await callControlSocket(nodeDirectoryPaths(node.dir).controlSocket, command, nodeCommandMsMax);
  }

  #processChanged({ node, state, lastExit }: NodeProcess): void {
    if (!this.#up) return;
    if (state === 'crashed') this.#notify(`${node.name} ${lastExit}; start it again with: swarm start ${node.name}`);
    this.#writeState().catch((error: Error) => this.#notify(`swarm.json could not be written: ${error.message}`));
  }

  #writeState(): Promise<void> {
    this.#stateWritten = this.#stateWritten
      .catch(() => undefined)
      .then(() =>
        writeSwarmState(this.#dir, {
          nodes: this.#processes.map(({ node: { name, url, tokenFile, dir, peerId }, pid }) => {
            return { name, url, tokenFile, dir, pid, peerId };
          }),
        }),
      );
    return this.#stateWritten;
  }

  #boundLogs(): void {
    for (const process of this.#processes) {
      process.boundLog().catch((error: Error) => this.#notify(`a log could not be shortened: ${error.message}`));
    }
  }
}

/** A supervisor that was killed leaves nodes that are just about to stop by themselves. */
async function leftoverGone({ name, dir }: SwarmNode, signal: AbortSignal): Promise<void> {
  const { controlSocket } = nodeDirectoryPaths(dir);
  for (let waitedMs = 0; await isAnswering(controlSocket); waitedMs += leftoverPollMs) {
    if (waitedMs >= leftoverMsMax) {
      throw new MeshError('directory_in_use', `${name} of an earlier swarm in ${dir} still runs; stop it first`);
    }
    await sleep(leftoverPollMs, undefined, { signal });
  }
}
