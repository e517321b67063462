import { Command, Option } from 'commander';
import type { NamespaceInfo, NamespacePolicy, ReadMode } from '../node/api.ts';
import { type ChangeFlags, parsePairs, tellCommitted, withChange } from './change-options.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { UsageError } from './errors.ts';
import { readJson } from './json-file.ts';
import { printable, table } from './output.ts';
import { wholeNumber } from './whole-number.ts';

const readModes = ['preferred', 'confirmed_only', 'provisional_allowed'] as const satisfies readonly ReadMode[];

interface ReadFlags extends ConnectionOptions {
  readonly json?: boolean;
}

interface SetFlags extends ChangeFlags {
  readonly file?: string;
  readonly replicas?: number;
  readonly diversity?: readonly string[];
  readonly readMode?: NamespacePolicy['readMode'];
}

export function namespacesCommand(cli: Cli): Command {
  const command = new Command('namespaces').description('what namespaces ask of their objects');
  withConnection(command.command('ls', { isDefault: true }))
    .description('list the namespaces that have a policy (the default)')
    .action((flags: ReadFlags) => list(cli, flags));
  withConnection(command.command('get'))
    .description("show a namespace's policy, with its defaults")
    .argument('<ns>', 'the namespace')
    .action((ns: string, flags: ReadFlags) => get(cli, ns, flags));
  withChange(command.command('set'))
    .description("set a namespace's policy; what is not named has its default")
    .argument('<ns>', 'the namespace')
    .option('--file <file>', 'the whole policy as JSON, or - for standard input')
    .option('--replicas <count>', 'copies of the content', wholeNumber('--replicas', 1, 16))
    .option('--diversity <label=count...>', 'at least so many different values of a label among the holders')
    .addOption(new Option('--read-mode <mode>', 'the mode of reads that name none').choices(readModes))
    .action((ns: string, flags: SetFlags) => set(cli, ns, flags));
  return command;
}

async function list(cli: Cli, flags: ReadFlags): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const body = await client.cluster.namespaces();
    if (flags.json === true) return cli.output.json(body);
    const rows = body.namespaces.map(({ ns, policy }) => [ns, printable(JSON.stringify(policy))]);
    for (const line of table(rows)) await cli.output.print(line);
    if (rows.length === 0) cli.output.aside('no namespace has a policy of its own');
  });
}

async function get(cli: Cli, ns: string, flags: ReadFlags): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const info = await client.cluster.namespace(ns);
    if (flags.json === true) return cli.output.json(info);
    for (const line of table(rowsOf(info))) await cli.output.print(line);
  });
}

function rowsOf({ policy, effective }: NamespaceInfo): string[][] {
  return Object.entries(effective).map(([field, value]) => [
    field,
    printable(typeof value === 'string' ? value : JSON.stringify(value)),
    Object.hasOwn(policy, field) ? '' : '(default)',
  ]);
}

async function set(cli: Cli, ns: string, flags: SetFlags): Promise<void> {
  const policy = await policyOf(cli, flags);
  await cli.withClient(flags, async (client) => {
    await tellCommitted(cli, `the policy of ${ns} is set`, await client.cluster.setNamespace(ns, policy, flags), flags);
  });
}

async function policyOf(cli: Cli, { file, replicas, diversity, readMode }: SetFlags): Promise<NamespacePolicy> {
  if (file !== undefined) {
    if (replicas !== undefined || diversity !== undefined || readMode !== undefined) {
      throw new UsageError('--file has the whole policy: leave the other options out');
    }
    return (await readJson(cli, file)) as NamespacePolicy;
  }
  const counts = parseCounts(diversity ?? []);
  return {
    ...(replicas === undefined ? {} : { replicas }),
    ...(diversity === undefined ? {} : { diversity: counts }),
    ...(readMode === undefined ? {} : { readMode }),
  };
}

function parseCounts(texts: readonly string[]): Record<string, number> {
  const pairs = Object.entries(parsePairs(texts) ?? {});
  if (pairs.length < new Set(texts).size || pairs.some(([, count]) => !/^[1-9]\d?$/.test(count))) {
    throw new UsageError('--diversity takes label=count, such as dc=2');
  }
  return Object.fromEntries(pairs.map(([label, count]) => [label, Number(count)]));
}
