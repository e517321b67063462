import { createWriteStream } from 'node:fs';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { z } from 'zod';
import { encodeCanonical } from '../../crdt/canonical-json.ts';
import { encodeCheckpointLine } from '../../crdt/control/checkpoint.ts';
import type { ControlOperation } from '../../crdt/control/operations.ts';
import { formatTime } from '../client/draw-graph.ts';
import type { AnabranchClient } from '../client/http-client.ts';
import type { Checkpoint, LoggedEntry } from '../node/api.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { counted } from './counted.ts';
import { nodeNames } from './log.ts';
import { printable, table } from './output.ts';
import { wholeNumber } from './whole-number.ts';

/** Entries asked for at once. */
const pageEntries = 200;
const heading = ['ENTRY', 'TIME', 'ACTOR', 'WHAT', 'REASON'];
/** What is read of a genesis entry. */
const foundersOf = z.looseObject({
  members: z.array(z.looseObject({ name: z.string(), nodeId: z.string() })).default([]),
});

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
      cli.withClient(flags, async (client) => {
        await write(cli, [`${await client.cluster.genesis()}\n`], flags.output);
        tellFile(cli, 'the genesis entry', flags);
      }),
    );
}

async function list(cli: Cli, { after, limit, ...flags }: ListFlags): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const body = await client.cluster.entries({
      ...(after === undefined ? {} : { after }),
      ...(limit === undefined ? {} : { limit }),
    });
    if (flags.json === true) return cli.output.json(body);
    if (body.entries.length === 0) return cli.output.aside('no entries');
    const names = await namesFor(client, body.entries);
    const rows = body.entries.map((logged) => rowOf(logged, (id) => names.get(id) ?? id));
    for (const line of table([heading, ...rows])) await cli.output.print(line);
    if (body.next !== null) cli.output.aside(`there are more: --after ${body.next}`);
  });
}

/** Names of members as they are now, and of those who are gone as far as the genesis and these entries have them. */
async function namesFor(client: AnabranchClient, entries: readonly LoggedEntry[]): Promise<Map<string, string>> {
  const [genesis, members] = await Promise.all([client.cluster.genesis(), nodeNames(client)]);
  const { members: founders } = foundersOf.parse(JSON.parse(genesis));
  const admitted = entries.flatMap(({ entry }) =>
    entry.operations.flatMap((operation) => (operation.type === 'admit' ? [operation.member] : [])),
  );
  const gone = [...founders, ...admitted].map(({ nodeId, name }) => [nodeId, name] as const);
  return new Map([...gone, ...members]);
}

type NameOf = (nodeId: string) => string;

function rowOf({ seq, entry }: LoggedEntry, nameOf: NameOf): string[] {
  const { time, actor, operations, reason } = entry;
  return [
    String(seq),
    formatTime(time),
    printable(actor.replace(/^node:(.+)$/, (_, id: string) => `node ${nameOf(id)}`)),
    printable(operations.map((operation) => describe(operation, nameOf)).join('; ')),
    printable(reason),
  ];
}

function describe(operation: ControlOperation, nameOf: NameOf): string {
  switch (operation.type) {
    case 'admit':
      return `admit ${operation.member.name} (${operation.member.nodeId}) as ${operation.member.roles.join(',')}`;
    case 'remove':
      return `remove ${nameOf(operation.nodeId)}`;
    case 'roles':
      return `roles of ${nameOf(operation.nodeId)}: ${operation.roles.join(',')}`;
    case 'labels':
      return `labels of ${nameOf(operation.nodeId)}: ${pairsOf(operation.labels)}`;
    case 'addresses':
      return `addresses of ${nameOf(operation.nodeId)}: ${operation.addresses.join(' ') || 'none'}`;
    case 'capacity':
      return `capacity of ${nameOf(operation.nodeId)}: step ${operation.capacity}`;
    case 'drain':
      return `${operation.draining ? 'drain' : 'end the draining of'} ${nameOf(operation.nodeId)}`;
    case 'namespace':
      return `policy of ${operation.ns}: ${JSON.stringify(operation.policy)}`;
    case 'configuration':
      return `configuration of ${operation.scope}: ${JSON.stringify(operation.values)}`;
  }
}

function pairsOf(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  return pairs.join(',') || 'none';
}

async function exportLog(cli: Cli, flags: ExportFlags): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const checkpoint = await client.cluster.checkpoint();
    await write(cli, exportedLines(client, checkpoint), flags.output);
    tellFile(cli, counted(checkpoint.size, 'entry', 'entries'), flags);
  });
}

/** The log up to a checkpoint: what comes meanwhile is for the next export. */
async function* exportedLines(client: AnabranchClient, checkpoint: Checkpoint): AsyncGenerator<string> {
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

/** Tells what went into a file; what went to standard output tells of itself. */
function tellFile(cli: Cli, what: string, { output, json }: ExportFlags): void {
  if (output !== '-' && json !== true) cli.output.aside(`wrote ${what} to ${printable(output)}`);
}
