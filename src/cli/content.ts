import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { formatBytes } from '../client/draw-graph.ts';
import type { AnabranchClient } from '../client/http-client.ts';
import type { ContentScrub, GivenUpPage } from '../node/api.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { counted } from './counted.ts';
import { formatDuration } from './duration.ts';
import { CommandFailure, UsageError } from './errors.ts';
import { printable, table } from './output.ts';
import { progressBar } from './progress.ts';
import { wholeNumber } from './whole-number.ts';

interface ContentFlags extends ConnectionOptions {
  readonly json?: boolean;
}

interface DeadFlags extends ContentFlags {
  readonly after?: string;
  readonly limit?: number;
}

interface RetryFlags extends ContentFlags {
  readonly all?: boolean;
}

interface ScrubFlags extends ContentFlags {
  readonly wait?: boolean;
  readonly status?: boolean;
}

const lettersMax = 1_000;
/** What one call waits for a scrub: a small disk is read through in that. */
const scrubCallSeconds = 1;
/** Between two looks at a scrub: reading through a disk takes as long as it takes. */
const pollMs = 1_000;

export function contentCommand(cli: Cli): Command {
  const command = new Command('content').description('what the node keeps of content, and what it could not get');
  withConnection(command.command('dead'))
    .description('list the contents that the node gave up getting, and why')
    .option('--after <hash>', 'go on after this hash, as the page before named it')
    .option('--limit <count>', 'so many of them', wholeNumber('--limit', 1, lettersMax))
    .action((flags: DeadFlags) => dead(cli, flags));
  withConnection(command.command('retry'))
    .description('have the node try again what it gave up')
    .argument('[hash]', 'one of them, as "dead" lists it')
    .option('--all', 'all of them')
    .action((hash: string | undefined, flags: RetryFlags) => retry(cli, hash, flags));
  withConnection(command.command('scrub'))
    .description('have the node read through its disk now, and put aside and fetch again what has rotted')
    .option('--no-wait', 'do not wait for the end')
    .option('--status', 'begin nothing; show how far it is and what it found')
    .action((flags: ScrubFlags) => scrub(cli, flags));
  return command;
}

async function dead(cli: Cli, flags: DeadFlags): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const page = await client.content.dead({ after: flags.after, limit: flags.limit });
    if (flags.json === true) return cli.output.json(page);
    for (const line of deadLines(page)) await cli.output.print(line);
    if (page.dead.length > 0) cli.output.note(`"${cli.command('content retry --all')}" has the node try them again`);
  });
}

const reasons = {
  unavailable: 'nobody has it',
  failing: 'storing it failed',
  unusable: 'its manifest is made up',
} as const;

function deadLines({ dead: letters, count, next }: GivenUpPage): string[] {
  if (count === 0) return ['nothing was given up'];
  const rows = letters.map(({ kind, hash, size, reason, attempts, message, time, version }) => [
    hash,
    version === null ? (kind === 'blob' ? 'part of a content' : '') : printable(`${version.ns}/${version.key}`),
    formatBytes(size),
    `${formatDuration(Math.max(0, Date.now() - time))} ago`,
    `${reasons[reason]} (${counted(attempts, 'attempt')}; ${printable(message)})`,
  ]);
  return [...table(rows), ...(next === null ? [] : [`… of ${count} in all: --after ${next}`])];
}

async function retry(cli: Cli, hash: string | undefined, flags: RetryFlags): Promise<void> {
  if ((hash === undefined) === (flags.all !== true)) throw new UsageError('give one hash, or --all');
  await cli.withClient(flags, async (client) => {
    const retried = await client.content.retry(hash);
    if (flags.json === true) return cli.output.json({ retried });
    await cli.output.print(
      retried === 0
        ? 'nothing was given up'
        : `${counted(retried, 'content is', 'contents are')} tried again; "${cli.command('status')}" counts those on their way`,
    );
  });
}

async function scrub(cli: Cli, flags: ScrubFlags): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const reached = flags.status === true ? await client.content.scrubStatus() : await scrubbed(cli, client, flags);
    if (flags.json === true) return cli.output.json(reached);
    for (const line of scrubLines(reached)) await cli.output.print(line);
  });
}

async function scrubbed(cli: Cli, client: AnabranchClient, { wait }: ScrubFlags): Promise<ContentScrub> {
  const begun = await client.content.scrub(wait === false ? 0 : scrubCallSeconds);
  return begun.running && wait !== false ? endOf(cli, client, begun) : begun;
}

/** The node reads on when nobody waits any more. */
async function endOf(cli: Cli, client: AnabranchClient, begun: ContentScrub): Promise<ContentScrub> {
  const signal = cli.interrupts();
  const bar = progressBar(cli.io, 'reading', 100, 'percent');
  try {
    let now = begun;
    while (now.running) {
      bar.update(Math.floor(now.position * 100));
      await sleep(pollMs, undefined, { signal }).catch(() => signal.throwIfAborted());
      now = await client.content.scrubStatus();
    }
    if (now.last?.time !== begun.last?.time) return now;
    throw new CommandFailure('the node did not read through all of its disk: its log says why');
  } finally {
    bar.end();
  }
}

function scrubLines({ running, position, current, last }: ContentScrub): string[] {
  const how = running ? 'runs' : 'goes on in the background';
  const lines = [`the scrub ${how}: ${Math.floor(position * 100)}% through${foundText(current)}`];
  if (last === null) return [...lines, 'no scrub has seen everything yet'];
  const ago = `${formatDuration(Math.max(0, Date.now() - last.time))} ago`;
  return [
    ...lines,
    `the last whole one ended ${ago}: ${counted(last.blobs, 'blob')}, ${formatBytes(last.bytes)}${foundText(last)}`,
  ];
}

function foundText({ damaged, incomplete, leftovers }: ContentScrub['current']): string {
  const found = [
    ...(damaged > 0 ? [`${counted(damaged, 'blob')} HAD ROTTED`] : []),
    ...(incomplete > 0 ? [`${counted(incomplete, 'content')} LACKED SOMETHING`] : []),
    ...(leftovers > 0 ? [`${counted(leftovers, 'leftover was', 'leftovers were')} removed`] : []),
  ];
  return found.length === 0 ? '' : `; ${found.join(', ')}`;
}
