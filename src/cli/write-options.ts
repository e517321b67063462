import { type Command, Option } from 'commander';
import type { AnabranchClient, WriteOptions } from '../client/http-client.ts';
import type { CommitMode, WrittenVersion } from '../node/api.ts';
import type { Cli } from './cli.ts';
import { type ObjectName, splitIds, wholeVersionIds } from './object-argument.ts';
import { printable } from './output.ts';

export interface WriteFlags {
  readonly parents?: string;
  readonly commit?: CommitMode;
  readonly json?: boolean;
}

/** Adds the options of everything that writes a version. */
export function withWriteFlags(command: Command): Command {
  return command
    .option(
      '--parents <ids>',
      'the versions this is based on, separated by commas; beginnings of ids do; all heads make it a merge',
    )
    .addOption(new Option('--commit <mode>', 'when the write counts as done').choices(['local', 'quorum']));
}

export async function writeOptionsOf(
  client: AnabranchClient,
  object: ObjectName,
  { parents, commit }: WriteFlags,
  signal: AbortSignal,
): Promise<WriteOptions> {
  const ids = parents === undefined ? undefined : await wholeVersionIds(client, object, splitIds(parents), signal);
  return { parents: ids, commit, signal };
}

/** Tells what was written, whether it can be confirmed, and that there is a conflict now, if so. */
export async function tellWritten(
  cli: Cli,
  client: AnabranchClient,
  written: WrittenVersion,
  { what, json }: { readonly what: string; readonly json: boolean | undefined },
): Promise<void> {
  if (json === true) return cli.output.json(written);
  const name = printable(`${written.ns}/${written.key}`);
  await cli.output.print(`${what} ${name} as version ${written.version} (${written.state})`);
  if (written.state === 'provisional' && !(await hasQuorum(client))) {
    cli.output.aside('it stays provisional until the node reaches a majority of the coordinators; see: status');
  }
  if (!written.conflict) return;
  const count = `${written.heads.length} heads`;
  await cli.output.print(`${name} has ${count} now; see them with: heads ${name}; join them with: merge ${name}`);
}

/** What was written is written, whatever comes of this question: without an answer there is nothing to add. */
async function hasQuorum(client: AnabranchClient): Promise<boolean> {
  try {
    return (await client.status()).quorum.available;
  } catch {
    return true;
  }
}
