import { createWriteStream } from 'node:fs';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { encodeCanonical } from '../../crdt/canonical-json.ts';
import { encodeCheckpointLine } from '../../crdt/control/checkpoint.ts';
import type { ControlOperation } from '../../crdt/control/operations.ts';
import type { AnabranchClient } from '../client/http-client.ts';
import type { LoggedEntry } from '../node/api.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { printable, table } from './output.ts';
import { wholeNumber } from './whole-number.ts';

/** Entries asked for at once. */
const pageEntries = 200;

interface ListFlags extends ConnectionOptions {
  readonly after?: number;
  readonly limit?: number;
  readonly json?: boolean;
}

interface ExportFlags extends ConnectionOptions {
  readonly output: string;
  readonly json?: boolean;
}

/** Adds the commands that read a node's control log. */
export function addReadingCommands(command: Command, cli: Cli): void {
  withConnection(command.command('list'))
    .description('show what was done, by whom and why')
    .option('--after <entry>', 'only entries after this one', wholeNumber('--after', 0, Number.MAX_SAFE_INTEGER))
    .option('-n, --limit <count>', 'at most so many', wholeNumber('--limit', 1, 1_000))
    .action((flags: ListFlags) => list(cli, flags));
  withConnection(command.command('export'))
    .description('write the whole log, with what proves it, as `control-log verify` reads it')
    .option('-o, --output <file>', 'where to, or - for standard output', '-')
    .action((flags: ExportFlags) => exportLog(cli, flags));
  withConnection(command.command('genesis'))
    .description('write the genesis entry, which `init --join` takes: it is public')
    .option('-o, --output <file>', 'where to, or - for standard output', '-')
    .action((flags: ExportFlags) =>
      cli.withClient(flags, async (client) => write(cli, [`${await client.cluster.genesis()}\n`], flags.output)),
    );
}

async function list(cli: Cli, { after, limit, ...flags }: ListFlags): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const body = await client.cluster.entries({
      ...(after === undefined ? {} : { after }),
      ...(limit === undefined ? {} : { limit }),
    });
    if (flags.json === true) return cli.output.json(body);
    for (const line of table(body.entries.map(rowOf))) await cli.output.print(line);
    if (body.next !== null) cli.output.note(`there are more: --after ${body.next}`);
  });
}

function rowOf({ seq, entry }: LoggedEntry): string[] {
  const { time, actor, operations, reason } = entry;
  return [
    String(seq),
    new Date(time).toISOString(),
    printable(actor),
    printable(operations.map(describe).join('; ')),
    printable(reason),
  ];
}

function describe(operation: ControlOperation): string {
  switch (operation.type) {
    case 'admit':
      return `admit ${operation.member.name} (${operation.member.nodeId}) as ${operation.member.roles.join(',')}`;
    case 'remove':
      return `remove ${operation.nodeId}`;
    case 'roles':
      return `roles of ${operation.nodeId}: ${operation.roles.join(',')}`;
    case 'labels':
      return `labels of ${operation.nodeId}: ${JSON.stringify(operation.labels)}`;
    case 'addresses':
      return `addresses of ${operation.nodeId}: ${operation.addresses.join(' ') || 'none'}`;
    case 'capacity':
      return `capacity of ${operation.nodeId}: step ${operation.capacity}`;
    case 'drain':
      return `${operation.draining ? 'drain' : 'end the draining of'} ${operation.nodeId}`;
    case 'namespace':
      return `policy of ${operation.ns}: ${JSON.stringify(operation.policy)}`;
    case 'configuration':
      return `configuration of ${operation.scope}: ${JSON.stringify(operation.values)}`;
  }
}

async function exportLog(cli: Cli, flags: ExportFlags): Promise<void> {
  await cli.withClient(flags, (client) => write(cli, exportedLines(client), flags.output));
}

/** The log up to the checkpoint that is read first: what comes meanwhile is for the next export. */
async function* exportedLines(client: AnabranchClient): AsyncGenerator<string> {
  const checkpoint = await client.cluster.checkpoint();
  yield `${await client.cluster.genesis()}\n`;
  for (let after = 0; after < checkpoint.size - 1; ) {
    const limit = Math.min(pageEntries, checkpoint.size - 1 - after);
    const { entries } = await client.cluster.entries({ after, limit });
    // Canonical JSON has one form only, so this is the text that was hashed.
    for (const { entry, certificate } of entries) {
      yield `${encodeCanonical({ certificate, entry: encodeCanonical(entry) })}\n`;
    }
    const last = entries.at(-1);
    if (last === undefined) break;
    after = last.seq;
  }
  yield `${encodeCheckpointLine(checkpoint)}\n`;
}

async function write(cli: Cli, lines: Iterable<string> | AsyncIterable<string>, output: string): Promise<void> {
  if (output === '-') await pipeline(Readable.from(lines), cli.io.stdout, { end: false });
  else await pipeline(Readable.from(lines), createWriteStream(resolve(cli.io.cwd, output), { flags: 'w' }));
}
