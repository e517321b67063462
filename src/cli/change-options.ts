import type { Command } from 'commander';
import type { ChangeOptions } from '../client/cluster-client.ts';
import type { CommittedChange } from '../node/api.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';

/** What every command that changes the cluster takes. */
export interface ChangeFlags extends ConnectionOptions, ChangeOptions {
  readonly json?: boolean;
}

export function withChange(command: Command): Command {
  return withConnection(command)
    .option('--reason <text>', 'why: it is kept in the control log')
    .option('--operation-id <id>', '26 to 64 characters of base32: the same command again under it is done once');
}

/** Says that a change is in the log. */
export async function tellCommitted(cli: Cli, what: string, change: CommittedChange, flags: ChangeFlags) {
  if (flags.json === true) return cli.output.json(change);
  await cli.output.print(`${what}: entry ${change.seq} of the control log, operation ${change.operationId}`);
}

/** Collects `name=value` arguments; undefined for one without a name or value. */
export function parsePairs(texts: readonly string[]): Record<string, string> | undefined {
  const pairs: Record<string, string> = {};
  for (const text of texts) {
    const equals = text.indexOf('=');
    if (equals < 1 || equals === text.length - 1) return undefined;
    pairs[text.slice(0, equals)] = text.slice(equals + 1);
  }
  return pairs;
}
