import { Argument, Command, Option } from 'commander';
import { z } from 'zod';
import type { ChangeOptions, NewMember } from '../client/cluster-client.ts';
import type { AnabranchClient } from '../client/http-client.ts';
import type { CommittedChange } from '../node/api.ts';
import { describeIssues, worded } from '../schema-issues.ts';
import { changeAndCarryOver } from './carry-over-wait.ts';
import { type ChangeFlags, tellCommitted, withChange } from './change-options.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { UsageError } from './errors.ts';
import { findNodeId } from './find-node.ts';
import { readJson } from './json-file.ts';
import { capacityForm, labelForm, labelsOf, parseCapacity } from './member-arguments.ts';
import { nodeTable } from './node-table.ts';
import { printable } from './output.ts';

interface ListFlags extends ConnectionOptions {
  readonly json?: boolean;
  readonly long?: boolean;
}

interface CoordinatorFlags extends ChangeFlags {
  readonly wait?: boolean;
}

interface AdmitFlags extends CoordinatorFlags {
  readonly role?: readonly string[];
  readonly label?: readonly string[];
}

const nodeArgument = ['<node>', 'name or id of a member'] as const;
const roles = ['storage', 'coordinator', 'agent'] as const;
const waitOption = [
  '--wait',
  'where this changes who votes: wait until the change before has been carried over, and until this one has been',
] as const;

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
    .option('--long', 'show their ids, versions, URLs and addresses as well')
    .action((flags: ListFlags) => list(cli, flags));
  withChange(command.command('admit'))
    .description('take a node in as a member')
    .argument(
      '<card>',
      `what "${cli.command('init --join FILE --json')}" printed on the new node, or - for standard input`,
    )
    .addOption(new Option('--role <role...>', 'what it is there for (default storage)').choices(roles))
    .option('--label <name=value...>', 'where and what it is, such as dc=fra1')
    .option(...waitOption)
    .action((card: string, flags: AdmitFlags) => admit(cli, card, flags));
  withChange(command.command('remove'))
    .description('put a member out: it is cut off at once, and its key never comes back')
    .argument(...nodeArgument)
    .option(...waitOption)
    .action((node: string, flags: CoordinatorFlags) =>
      changing(cli, node, flags, `${node} is removed`, (client, id, options) => client.cluster.remove(id, options)),
    );
  withChange(command.command('roles'))
    .description("set a member's roles")
    .argument(...nodeArgument)
    .addArgument(new Argument('<role...>', 'all the roles it is to have').choices(roles))
    .option(...waitOption)
    .action((node: string, given: string[], flags: CoordinatorFlags) =>
      changing(cli, node, flags, `the roles of ${node} are set`, (client, id, options) =>
        client.cluster.setRoles(id, [...new Set(given)].sort(), options),
      ),
    );
  withChange(command.command('labels'))
    .description("set a member's labels; none takes them away")
    .argument(...nodeArgument)
    .argument('[label...]', labelForm)
    .action((node: string, texts: string[], flags: ChangeFlags) => {
      const labels = labelsOf(texts);
      return changing(cli, node, flags, `the labels of ${node} are set`, (client, id, options) =>
        client.cluster.setLabels(id, labels, options),
      );
    });
  addWhereAndHowMuch(command, cli);
  return command;
}

function addWhereAndHowMuch(command: Command, cli: Cli): void {
  withChange(command.command('addresses'))
    .description('set the addresses a member is dialled at; with none it has to connect by itself')
    .argument(...nodeArgument)
    .argument('[address...]', 'such as /ip4/10.0.0.7/tcp/7401')
    .action((node: string, addresses: string[], flags: ChangeFlags) =>
      changing(cli, node, flags, `the addresses of ${node} are set`, (client, id, options) =>
        client.cluster.setAddresses(id, addresses, options),
      ),
    );
  withChange(command.command('capacity'))
    .description('say how much a member holds; placement gives it so much more or less')
    .argument(...nodeArgument)
    .argument('<capacity>', capacityForm)
    .action((node: string, text: string, flags: ChangeFlags) => {
      const step = parseCapacity(text);
      return changing(cli, node, flags, `the capacity of ${node} is step ${step}`, (client, id, options) =>
        client.cluster.setCapacity(id, step, options),
      );
    });
}

async function list(cli: Cli, flags: ListFlags): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const body = await client.nodes();
    if (flags.json === true) return cli.output.json(body);
    for (const line of nodeTable(body.nodes, { long: flags.long === true })) await cli.output.print(line);
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
    const change = await changed(cli, client, flags, (options) => client.cluster.admit(member, options));
    await tellCommitted(cli, `${printable(card.name)} is admitted`, change, flags);
  });
}

async function changing(
  cli: Cli,
  node: string,
  flags: CoordinatorFlags,
  what: string,
  change: (client: AnabranchClient, nodeId: string, options: ChangeOptions) => Promise<CommittedChange>,
): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const nodeId = await findNodeId(client, node, flags.operationId);
    const committed = await changed(cli, client, flags, (options) => change(client, nodeId, options));
    await tellCommitted(cli, printable(what), committed, flags);
  });
}

function changed(
  cli: Cli,
  client: AnabranchClient,
  { wait, reason, operationId }: CoordinatorFlags,
  change: (options: ChangeOptions) => Promise<CommittedChange>,
): Promise<CommittedChange> {
  const options = { reason, operationId };
  return wait === true ? changeAndCarryOver(cli, client, options, change) : change(options);
}

async function readCard(cli: Cli, file: string): Promise<z.infer<typeof cardSchema>> {
  const hint = `: it should be what "${cli.command('init --join FILE --json')}" printed`;
  const card = cardSchema.safeParse(await readJson(cli, file, hint), worded);
  if (card.success) return card.data;
  throw new UsageError(`${file} does not describe a node: ${describeIssues(card.error)}`);
}
