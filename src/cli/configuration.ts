import { Command } from 'commander';
import type { ScopeConfiguration } from '../node/api.ts';
import { type ChangeFlags, tellCommitted, withChange } from './change-options.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { CommandFailure, exitCodes, UsageError } from './errors.ts';
import { readJson } from './json-file.ts';
import { printable, table } from './output.ts';

type Values = ScopeConfiguration['values'];

interface ReadFlags extends ConnectionOptions {
  readonly json?: boolean;
}

interface SetFlags extends ChangeFlags {
  readonly file?: string;
  readonly unset?: readonly string[];
  readonly replace?: boolean;
}

const scopeArgument = ['<scope>', 'what the settings are for, such as cluster, node/ID or group/NAME'] as const;
const settingForm = 'settings are given as NAME=JSON, such as cleanup.dailyAt=\'"03:00"\' or keep=3';

export function configurationCommand(cli: Cli): Command {
  const command = new Command('configuration').description('what the cluster, its nodes and groups have set');
  withConnection(command.command('list', { isDefault: true }))
    .description('list the scopes that have settings (the default)')
    .action((flags: ReadFlags) => list(cli, flags));
  withConnection(command.command('get'))
    .description('show the settings of a scope, or one of them')
    .argument(...scopeArgument)
    .argument('[name]', 'print the JSON of this setting alone')
    .action((scope: string, name: string | undefined, flags: ReadFlags) => get(cli, scope, name, flags));
  withChange(command.command('set'))
    .description('set some settings of a scope beside those it has, or all of them')
    .argument(...scopeArgument)
    .argument('[setting...]', settingForm)
    .option('--unset <name...>', 'take these away')
    .option('--replace', 'what is named is all there is from now on')
    .option('--file <file>', 'all the settings as one JSON object, or - for standard input')
    .action((scope: string, settings: string[], flags: SetFlags) => set(cli, scope, settings, flags));
  return command;
}

async function list(cli: Cli, flags: ReadFlags): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const body = await client.cluster.configuration();
    if (flags.json === true) return cli.output.json(body);
    const rows = body.configuration.flatMap(({ scope, values }) =>
      Object.entries(values).map(([name, value]) => [scope, name, printable(JSON.stringify(value))]),
    );
    for (const line of table(rows)) await cli.output.print(line);
    if (rows.length === 0) cli.output.aside('nothing is set');
  });
}

async function get(cli: Cli, scope: string, name: string | undefined, flags: ReadFlags): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const body = await client.cluster.configurationOf(scope);
    if (name !== undefined) {
      if (!Object.hasOwn(body.values, name)) {
        throw new CommandFailure(`${printable(scope)} has no setting ${printable(name)}`, exitCodes.notFound);
      }
      return cli.output.json(body.values[name]);
    }
    if (flags.json === true) return cli.output.json(body);
    const rows = Object.entries(body.values).map(([each, value]) => [each, printable(JSON.stringify(value))]);
    for (const line of table(rows)) await cli.output.print(line);
    if (rows.length === 0) cli.output.aside(`nothing is set for ${printable(scope)}`);
  });
}

async function set(cli: Cli, scope: string, settings: readonly string[], flags: SetFlags): Promise<void> {
  const { file, unset = [], replace } = flags;
  if (file !== undefined && (settings.length > 0 || unset.length > 0 || replace === true)) {
    throw new UsageError('--file has all the settings: leave the others out');
  }
  if (file === undefined && settings.length === 0 && unset.length === 0 && replace !== true) {
    throw new UsageError(`there is nothing to set: ${settingForm}`);
  }
  const whole = file === undefined ? undefined : await readValues(cli, file);
  const named = parseSettings(settings);
  await cli.withClient(flags, async (client) => {
    const before = whole === undefined && replace !== true ? (await client.cluster.configurationOf(scope)).values : {};
    const kept = Object.entries(before).filter(([name]) => !unset.includes(name));
    const values = whole ?? { ...Object.fromEntries(kept), ...named };
    const change = await client.cluster.setConfiguration(scope, values, flags);
    await tellCommitted(cli, `the configuration of ${printable(scope)} is set`, change, flags);
  });
}

function parseSettings(settings: readonly string[]): Values {
  const values: Record<string, unknown> = {};
  for (const setting of settings) {
    const equals = setting.indexOf('=');
    if (equals < 1) throw new UsageError(`${printable(setting)}: ${settingForm}`);
    try {
      values[setting.slice(0, equals)] = JSON.parse(setting.slice(equals + 1));
    } catch {
      throw new UsageError(`${printable(setting)}: what follows "=" is not JSON; a text stands in quotes`);
    }
  }
  return values;
}

async function readValues(cli: Cli, file: string): Promise<Values> {
  const values = await readJson(cli, file);
  if (typeof values === 'object' && values !== null && !Array.isArray(values)) return values as Values;
  throw new UsageError(`${file} is not one JSON object of settings`);
}
