import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { z } from 'zod';
import type { NewMember } from '../client/cluster-client.ts';
import type { AnabranchClient } from '../client/http-client.ts';
import { type ChangeFlags, parsePairs, tellCommitted, withChange } from './change-options.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { CommandFailure, exitCodes, UsageError } from './errors.ts';
import { printable, table } from './output.ts';

interface NodesFlags extends ConnectionOptions {
  readonly json?: boolean;
}

interface AdmitFlags extends ChangeFlags {
  readonly role?: readonly string[];
  readonly label?: readonly string[];
}

const nodeArgument = ['<node>', 'name or id of a member'] as const;
const labelForm = 'labels are given as name=value';

/** What `init --join` prints about a new node. More than that may stand there. */
const cardSchema = z.looseObject({
  name: z.string(),
  nodeId: z.string(),
  peerId: z.string(),
  addresses: z.array(z.string()).default([]),
});

export function nodesCommand(cli: Cli): Command {
  const command = new Command('nodes').description('the members of the mesh');
  withConnection(command.command('list', { isDefault: true }))
    .description('show the nodes as this node sees them (the default)')
    .action((flags: NodesFlags) => list(cli, flags));
  withChange(command.command('admit'))
    .description('take a node in as a member')
    .argument('<card>', 'what `anabranch init --join FILE --json` printed on the new node, or - for standard input')
    .option('--role <role...>', 'storage (the default), coordinator or agent')
    .option('--label <name=value...>', 'where and what it is, such as dc=fra1')
    .action((card: string, flags: AdmitFlags) => admit(cli, card, flags));
  withChange(command.command('remove'))
    .description('put a member out: it is cut off at once, and its key never comes back')
    .argument(...nodeArgument)
    .action((node: string, flags: ChangeFlags) =>
      changing(cli, node, flags, `${node} is removed`, (client, id) => client.cluster.remove(id, flags)),
    );
  withChange(command.command('roles'))
    .description("set a member's roles")
    .argument(...nodeArgument)
    .argument('<role...>', 'storage, coordinator or agent')
    .action((node: string, roles: string[], flags: ChangeFlags) =>
      changing(cli, node, flags, `the roles of ${node} are set`, (client, id) =>
        client.cluster.setRoles(id, [...new Set(roles)].sort(), flags),
      ),
    );
  withChange(command.command('labels'))
    .description("set a member's labels; none takes them away")
    .argument(...nodeArgument)
    .argument('[label...]', labelForm)
    .action((node: string, texts: string[], flags: ChangeFlags) => {
      const labels = labelsOf(texts);
      return changing(cli, node, flags, `the labels of ${node} are set`, (client, id) =>
        client.cluster.setLabels(id, labels, flags),
      );
    });
  return command;
}

async function list(cli: Cli, flags: NodesFlags): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const body = await client.nodes();
    if (flags.json === true) return cli.output.json(body);
    const rows = body.nodes.map(({ name, state, self, nodeId, addresses, roles, labels }) => [
      printable(name),
      self ? `${state}, answers here` : state,
      nodeId,
      roles.join(','),
      printable(
        Object.entries(labels)
          .map(([label, value]) => `${label}=${value}`)
          .join(','),
      ),
      printable(addresses.join(' ')),
    ]);
    for (const line of table(rows)) await cli.output.print(line);
  });
}

async function admit(cli: Cli, cardFile: string, flags: AdmitFlags): Promise<void> {
  const card = await readCard(cli, cardFile);
  const { role, label } = flags;
  const member = {
    ...card,
    ...(role === undefined ? {} : { roles: [...new Set(role)].sort() }),
    ...(label === undefined ? {} : { labels: labelsOf(label) }),
  } as unknown as NewMember;
  await cli.withClient(flags, async (client) => {
    await tellCommitted(cli, `${printable(card.name)} is admitted`, await client.cluster.admit(member, flags), flags);
  });
}

async function changing(
  cli: Cli,
  node: string,
  flags: ChangeFlags,
  what: string,
  change: (client: AnabranchClient, nodeId: string) => ReturnType<AnabranchClient['cluster']['remove']>,
): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const { nodes } = await client.nodes();
    const found = nodes.find(({ name, nodeId }) => nodeId === node || name === node);
    if (found === undefined && flags.operationId === undefined) {
      throw new CommandFailure(`there is no member ${printable(node)}`, exitCodes.notFound);
    }
    // A retry of what was done already may name one who is gone.
    await tellCommitted(cli, printable(what), await change(client, found?.nodeId ?? node), flags);
  });
}

async function readCard(cli: Cli, file: string): Promise<z.infer<typeof cardSchema>> {
  const text =
    file === '-'
      ? Buffer.concat(await cli.io.stdin.toArray()).toString()
      : await readFile(resolve(cli.io.cwd, file), 'utf8');
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new UsageError(`${file} is not JSON: it should be what \`anabranch init --join FILE --json\` printed`);
  }
  const card = cardSchema.safeParse(parsed);
  if (card.success) return card.data;
  throw new UsageError(`${file} does not describe a node: ${z.prettifyError(card.error)}`);
}

function labelsOf(texts: readonly string[]): Record<string, string> {
  const labels = parsePairs(texts);
  if (labels === undefined) throw new UsageError(labelForm);
  return labels;
}
