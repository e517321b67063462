import { Command } from 'commander';
import { ApiError } from '../client/api-error.ts';
import type { AnabranchClient } from '../client/http-client.ts';
import type { DrainStatus } from '../node/api.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { type Examined, findings } from './doctor-checks.ts';
import { defaultNamespace } from './doctor-content.ts';
import { exitCodes } from './errors.ts';
import type { Finding } from './finding.ts';
import { printable, type TextStyle } from './output.ts';

interface DoctorFlags extends ConnectionOptions {
  readonly json?: boolean;
}

/** Namespaces whose policies are looked at, and nodes that drain. */
const namespacesMax = 100;
const drainsMax = 16;
/** Contents that were given up whose reasons are looked at. */
const deadMax = 1_000;

export function doctorCommand(cli: Cli): Command {
  const command = new Command('doctor').description(
    'look at the node and the mesh, and say what is wrong and what to do; the exit code is 1 when something is',
  );
  return withConnection(command).action(async (flags: DoctorFlags) => {
    await cli.withClient(flags, async (client) => {
      const found = findings(await examine(client), cli.command);
      const healthy = found.every(({ level }) => level !== 'wrong');
      if (!healthy) cli.exitCode = exitCodes.failed;
      if (flags.json === true) return cli.output.json({ healthy, findings: found });
      for (const finding of found) for (const line of linesOf(cli, finding)) await cli.output.print(line);
    });
  });
}

async function examine(client: AnabranchClient): Promise<Examined> {
  const [status, { nodes }, replication, { namespaces }, scrub] = await Promise.all([
    client.status(),
    client.nodes(),
    client.replication.status(),
    client.cluster.namespaces(),
    client.content.scrubStatus(),
  ]);
  const names = [...namespaces.slice(0, namespacesMax).map(({ ns }) => ns), defaultNamespace];
  const placements = await Promise.all(names.map((ns) => client.replication.placement(ns, 'any')));
  const draining = nodes.filter((node) => node.draining).slice(0, drainsMax);
  const drains = await Promise.all(draining.map(({ nodeId }) => drainOf(client, nodeId)));
  const { dead } = status.content.dead === 0 ? { dead: [] } : await client.content.dead({ limit: deadMax });
  const known = drains.filter((drain) => drain !== undefined);
  return { status, nodes, replication, placements, drains: known, dead, scrub };
}

/** Undefined while no coordinator answers, which is a finding of its own. */
async function drainOf(client: AnabranchClient, nodeId: string): Promise<DrainStatus | undefined> {
  try {
    return await client.replication.drainStatus(nodeId);
  } catch (error) {
    if (error instanceof ApiError && error.code === 'coordinators_unavailable') return undefined;
    throw error;
  }
}

const marks: Readonly<Record<Finding['level'], readonly [mark: string, style: TextStyle]>> = {
  ok: ['ok   ', 'green'],
  note: ['note ', 'yellow'],
  wrong: ['WRONG', 'red'],
};

function linesOf(cli: Cli, { check, level, message, advice }: Finding): string[] {
  const [mark, style] = marks[level];
  return [
    `${cli.output.style(style, mark)} ${check}: ${printable(message)}`,
    ...(advice === null ? [] : [`      → ${printable(advice)}`]),
  ];
}
