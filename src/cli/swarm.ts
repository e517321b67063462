import { resolve } from 'node:path';
import { Command } from 'commander';
import { MeshError } from '../ports/mesh-error.ts';
import { callControlSocket } from '../swarm/control-socket.ts';
import type { SwarmCommand, SwarmStatus } from '../swarm/supervisor.ts';
import { supervisorSocket } from '../swarm/swarm-state.ts';
import type { Cli } from './cli.ts';
import { swarmDirectoryDefault } from './connection.ts';
import { duration } from './duration.ts';
import { CommandFailure, exitCodes } from './errors.ts';
import { table } from './output.ts';
import type { SwarmFlags } from './swarm-run.ts';
import { wholeNumber } from './whole-number.ts';

const nodesMax = 64;
const portMax = 65_535;
/** Starting a node takes the longest. */
const commandMsMax = 90_000;
const dirOption = [
  '--dir <dir>',
  `where the swarm lives (or ANABRANCH_DIR; default ${swarmDirectoryDefault})`,
] as const;

export function swarmCommand(cli: Cli): Command {
  const swarm = new Command('swarm')
    .description('run a mesh of several nodes on this machine, and show what it does')
    .option(...dirOption)
    .option('--nodes <count>', 'how many nodes a new swarm has (default 5)', wholeNumber('--nodes', 1, nodesMax))
    .option('--http-port <port>', 'the first of their ports (default 7400)', wholeNumber('--http-port', 1, portMax))
    .option('--repair-delay <duration>', 'how long a node may be away before others stand in for it (5s)', duration)
    .option('--heartbeat-every <duration>', 'between two heartbeats (0.5s): offline is who misses twelve', duration)
    .option('--exit', 'stop after the tour; the exit code says whether every step held')
    .option('--no-tour', 'start the nodes and nothing else')
    .option('--json', 'print what runs as JSON; the tour goes to standard error')
    .action(async (flags: SwarmFlags) => {
      const { runSwarm } = await import('./swarm-run.ts');
      await runSwarm(cli, directoryOf(cli, flags), flags);
    });
  addControlCommands(cli, swarm);
  return swarm;
}

function addControlCommands(cli: Cli, swarm: Command): void {
  const add = (usage: string, description: string, commandOf: (argument: string[]) => SwarmCommand): void => {
    const [name = usage, ...argumentNames] = usage.split(' ');
    const command = new Command(name)
      .description(description)
      .option(...dirOption)
      .option('--json', 'print what runs as JSON');
    for (const argument of argumentNames) command.argument(argument);
    command.action(async (...parameters: unknown[]) => {
      const given = parameters.slice(0, argumentNames.length).flat() as string[];
      await control(cli, command.optsWithGlobals<SwarmFlags>(), commandOf(given));
    });
    swarm.addCommand(command);
  };
  add('partition <groups...>', 'cut a running mesh, as in: partition n1,n2 n3,n4,n5', (groups) => {
    return { command: 'partition', groups: groups.map((group) => group.split(',').filter((name) => name !== '')) };
  });
  add('heal', 'end the partition', () => ({ command: 'heal' }));
  add('stop <name>', 'stop a node cleanly', ([name = '']) => ({ command: 'stop', name }));
  add('kill <name>', 'kill a node as a crash would', ([name = '']) => ({ command: 'kill', name }));
  add('start <name>', 'start a node that does not run', ([name = '']) => ({ command: 'start', name }));
  add('status', 'show the nodes and the partition', () => ({ command: 'status' }));
}

function directoryOf(cli: Cli, flags: SwarmFlags): string {
  return resolve(cli.io.cwd, flags.dir ?? (cli.io.env.ANABRANCH_DIR || swarmDirectoryDefault));
}

async function control(cli: Cli, flags: SwarmFlags, command: SwarmCommand): Promise<void> {
  const dir = directoryOf(cli, flags);
  let status: SwarmStatus;
  try {
    status = (await callControlSocket(supervisorSocket(dir), command, commandMsMax)) as SwarmStatus;
  } catch (error) {
    if (!(error instanceof MeshError) || error.code !== 'peer_unreachable') throw error;
    throw new CommandFailure(
      `no swarm is running in ${dir}; start it with "npm run swarm", or say where it is with --dir`,
      exitCodes.unreachable,
    );
  }
  if (flags.json === true) return cli.output.json(status);
  for (const line of linesOf(status)) await cli.output.print(line);
}

function linesOf({ partition, nodes }: SwarmStatus): string[] {
  const groups = partition?.map((group) => group.join(',')).join(' | ');
  const rows = nodes.map(({ name, state, pid, url, exit }) => [
    name,
    state,
    pid === null ? (exit ?? '') : `pid ${pid}`,
    url,
  ]);
  return [...table(rows), groups === undefined ? 'the mesh is whole' : `cut: ${groups}`];
}
