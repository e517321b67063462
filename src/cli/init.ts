import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { Command } from 'commander';
import type { NodeCard } from '../init-directory.ts';
import { chooseFreePorts } from '../swarm/ports.ts';
import type { Cli } from './cli.ts';
import { UsageError } from './errors.ts';
import { printable } from './output.ts';
import { wholeNumber } from './whole-number.ts';

const httpPortDefault = 7_400;
const httpHost = '127.0.0.1';
const clusterDefault = 'anabranch';

interface InitFlags {
  readonly dir?: string;
  readonly name?: string;
  readonly cluster?: string;
  readonly join?: string;
  readonly httpPort: number;
  readonly listen?: readonly string[];
  readonly address?: readonly string[];
  readonly json?: boolean;
}

export function initCommand(cli: Cli): Command {
  return new Command('init')
    .description('make the directory of a node: of a new cluster, or of a node that is to join one')
    .option('--dir <dir>', 'the directory to make (or ANABRANCH_DIR)')
    .option('--name <name>', "the node's name: a-z, 0-9 and hyphens; this machine's when absent")
    .option('--cluster <name>', `the new cluster's name (default ${clusterDefault})`)
    .option('--join <file>', 'join the cluster of this genesis entry (its peers.json) instead of founding one')
    .option('--http-port <port>', 'port of the API', wholeNumber('--http-port', 1, 65_535), httpPortDefault)
    .option('--listen <multiaddr...>', 'where to listen for the mesh; a free port of this machine alone when absent')
    .option('--address <multiaddr...>', 'where the others reach it; where it listens when absent')
    .option('--json', 'print what was made as JSON: `nodes admit` takes it')
    .action((flags: InitFlags) => init(cli, flags));
}

async function init(cli: Cli, flags: InitFlags): Promise<void> {
  const dir = flags.dir ?? cli.io.env.ANABRANCH_DIR ?? '';
  if (dir === '') throw new UsageError('say where: init --dir DIR');
  if (flags.join !== undefined && flags.cluster !== undefined) {
    throw new UsageError('--cluster names a new cluster, and --join takes the one of the file: give one of them');
  }
  const { foundCluster, prepareJoiner } = await import('../init-directory.ts');
  const [port = 0] = flags.listen === undefined ? await chooseFreePorts(1, [flags.httpPort]) : [];
  const listen = flags.listen ?? [`/ip4/127.0.0.1/tcp/${port}`];
  const node = {
    name: flags.name ?? machineName(),
    http: { host: httpHost, port: flags.httpPort },
    listen,
    addresses: flags.address ?? listen,
  };
  const path = resolve(cli.io.cwd, dir);
  const card =
    flags.join === undefined
      ? await foundCluster(path, flags.cluster ?? clusterDefault, node)
      : await prepareJoiner(path, resolve(cli.io.cwd, flags.join), node);
  if (flags.join !== undefined && node.addresses.every(isOfThisMachine)) {
    cli.output.aside(
      `the others reach ${printable(card.name)} on this machine alone (${printable(node.addresses.join(' '))}): ` +
        'for nodes elsewhere, make it with --listen /ip4/0.0.0.0/tcp/PORT --address /ip4/ITS-ADDRESS/tcp/PORT',
    );
  }
  if (flags.json === true) return cli.output.json(card);
  for (const line of nextSteps(cli, card, dir, flags.join !== undefined)) await cli.output.print(line);
}

function nextSteps(cli: Cli, card: NodeCard, dir: string, joins: boolean): string[] {
  const { name, nodeId, cluster } = card;
  const made = `${printable(dir)} is the directory of node ${printable(name)} (${nodeId})`;
  const start = `start it: ${cli.command(`serve --dir ${printable(dir)}`)}`;
  if (!joins) return [`${made}, the first of cluster ${cluster}`, start];
  return [
    `${made} of cluster ${cluster}`,
    `an administrator admits it with "${cli.command('nodes admit FILE')}", when this line is in the file:`,
    JSON.stringify(card),
    `then ${start}`,
  ];
}

/** An address that leads nobody but this machine to it: a loopback one, or one that stands for all of its own. */
function isOfThisMachine(address: string): boolean {
  return /^\/(ip4\/(127\.|0\.0\.0\.0\/)|ip6\/::1?\/|dns[46]?\/localhost\/)/.test(address);
}

/** The machine's name as far as a node can have it. */
function machineName(): string {
  const name = (hostname().split('.')[0] ?? '')
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, '-')
    .replace(/^-+/, '');
  return name.slice(0, 63) || 'node';
}
