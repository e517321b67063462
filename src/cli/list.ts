import { Command } from 'commander';
import { formatBytes, formatTime } from '../client/draw-graph.ts';
import type { AnabranchClient } from '../client/http-client.ts';
import type { ListedObject, Listing } from '../node/api.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { parseNamespace } from './object-argument.ts';
import { printable, table } from './output.ts';
import { wholeNumber } from './whole-number.ts';

interface ListFlags extends ConnectionOptions {
  readonly delimiter?: string;
  readonly after?: string;
  readonly limit?: number;
  readonly json?: boolean;
}

interface ListQuery {
  readonly ns: string;
  readonly prefix: string | undefined;
  readonly delimiter: string | undefined;
}

export function listCommand(cli: Cli): Command {
  const command = new Command('ls')
    .description('list the objects of a namespace')
    .argument('<where>', 'NAMESPACE, or NAMESPACE/PREFIX')
    .option('--delimiter <text>', 'show only what comes before this text, as in / for one level of folders')
    .option('--after <key>', 'begin after this key')
    .option('--limit <count>', 'stop after one page of so many entries (1 to 1000)', wholeNumber('--limit', 1, 1_000));
  return withConnection(command).action((where: string, flags: ListFlags) => list(cli, where, flags));
}

async function list(cli: Cli, where: string, flags: ListFlags): Promise<void> {
  const slash = where.indexOf('/');
  const ns = parseNamespace(slash === -1 ? where : where.slice(0, slash));
  const prefix = slash === -1 ? undefined : where.slice(slash + 1) || undefined;
  const query: ListQuery = { ns, prefix, delimiter: flags.delimiter };
  await cli.withClient(flags, async (client) => {
    if (flags.json === true) {
      await cli.output.json(await wholeListing(client, query, flags));
      return;
    }
    let isEmpty = true;
    for await (const page of pages(client, query, flags)) {
      for (const line of linesOf(page)) {
        isEmpty = false;
        await cli.output.print(line);
      }
    }
    if (isEmpty) cli.output.aside(`no objects in ${printable(where)}`);
  });
}

/** All pages, or one when a limit was asked for. */
async function* pages(
  client: AnabranchClient,
  query: ListQuery,
  flags: ListFlags,
): AsyncGenerator<Listing, void, void> {
  const { ns, ...rest } = query;
  let { after } = flags;
  for (;;) {
    const page = await client.list(ns, { ...rest, after, limit: flags.limit });
    yield page;
    if (page.next === null || flags.limit !== undefined) return;
    after = page.next;
  }
}

/** The API's body as it would be if a page had no end. */
async function wholeListing(client: AnabranchClient, query: ListQuery, flags: ListFlags): Promise<Listing> {
  const objects: ListedObject[] = [];
  const prefixes: string[] = [];
  let next: string | null = null;
  for await (const page of pages(client, query, flags)) {
    objects.push(...page.objects);
    prefixes.push(...page.prefixes);
    next = page.next;
  }
  return { objects, prefixes, next };
}

function linesOf({ objects, prefixes }: Listing): string[] {
  const rows = [
    ...prefixes.map((prefix) => ({ sort: prefix, cells: ['', '', printable(prefix)] })),
    ...objects.map((object) => ({ sort: object.key, cells: cellsOf(object) })),
  ];
  rows.sort((a, b) => Buffer.compare(Buffer.from(a.sort), Buffer.from(b.sort)));
  return table(rows.map(({ cells }) => cells));
}

function cellsOf({ key, size, time, heads }: ListedObject): string[] {
  const conflict = heads > 1 ? `  (${heads} heads)` : '';
  const sizeText = size === null ? 'deleted' : formatBytes(size);
  return [formatTime(time), sizeText.padStart(10), `${printable(key)}${conflict}`];
}
