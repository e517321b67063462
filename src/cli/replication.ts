import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { formatBytes } from '../client/draw-graph.ts';
import type { AnabranchClient } from '../client/http-client.ts';
import type { AuditOutcome, RepairPlanPage } from '../node/api.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { CommandFailure } from './errors.ts';
import { nodeNames } from './log.ts';
import { parseObject } from './object-argument.ts';
import { printable, table } from './output.ts';
import { placementLines, statusLines, unansweredLines } from './replica-text.ts';
import { previewCommand } from './replication-preview.ts';
import { wholeNumber } from './whole-number.ts';

interface ReplicationFlags extends ConnectionOptions {
  readonly json?: boolean;
}

interface PlanFlags extends ReplicationFlags {
  readonly after?: string;
  readonly limit?: number;
}

interface AuditFlags extends ReplicationFlags {
  readonly wait?: boolean;
}

/** What one call may wait for an audit, and how long all of it may take. */
const auditCallSeconds = 30;
const auditMsMax = 30 * 60_000;
const auditPollMs = 1_000;
const repairsMax = 1_000;

export function replicationCommand(cli: Cli): Command {
  const command = new Command('replication').description('where content should be and is, in the whole mesh');
  withConnection(command.command('status', { isDefault: true }))
    .description('show how many versions have their copies, and what is done about the others (the default)')
    .action((flags: ReplicationFlags) => status(cli, flags));
  withConnection(command.command('plan'))
    .description('list the repairs that run, and those that wait for a node to come back')
    .option('--after <place>', 'go on after this place, as the page before named it')
    .option('--limit <count>', 'so many of them', wholeNumber('--limit', 1, repairsMax))
    .action((flags: PlanFlags) => plan(cli, flags));
  withConnection(command.command('audit'))
    .description('compare now what should be where with what is, have copies proved, and mend what is missing')
    .option('--no-wait', 'do not wait for the end')
    .action((flags: AuditFlags) => audit(cli, flags));
  withConnection(command.command('placement'))
    .description('show which nodes should hold an object, whether or not it exists')
    .argument('<object>', 'NAMESPACE/KEY')
    .action((objectText: string, flags: ReplicationFlags) => placement(cli, objectText, flags));
  command.addCommand(previewCommand(cli));
  return command;
}

async function status(cli: Cli, flags: ReplicationFlags): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const body = await client.replication.status();
    if (flags.json === true) return cli.output.json(body);
    for (const line of statusLines(body, Date.now(), cli.command)) await cli.output.print(line);
  });
}

async function plan(cli: Cli, flags: PlanFlags): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const page = await client.replication.plan({ after: flags.after, limit: flags.limit });
    if (flags.json === true) return cli.output.json(page);
    for (const line of planLines(page, await nodeNames(client))) await cli.output.print(line);
  });
}

function planLines({ repairs, next, unanswered }: RepairPlanPage, names: ReadonlyMap<string, string>): string[] {
  const nameOf = (id: string): string => printable(names.get(id) ?? id);
  const rows = repairs.map(({ ns, key, size, to, from, provedCopies, waiting }) => [
    nameOf(to),
    `from ${from.map(nameOf).join(', ')}`,
    printable(`${ns}/${key}`),
    formatBytes(size),
    `${provedCopies} proved`,
    waiting === null
      ? 'now'
      : `unless ${waiting.for.map(nameOf).join(' and ')} ${waiting.for.length === 1 ? 'is' : 'are'} back by ${new Date(waiting.until).toLocaleTimeString()}`,
  ]);
  return [
    ...(rows.length === 0 ? ['nothing is to be repaired'] : table(rows)),
    ...(next === null ? [] : [`… and more: --after ${next}`]),
    ...unansweredLines(unanswered),
  ];
}

async function audit(cli: Cli, flags: AuditFlags): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const begun = await client.replication.audit(flags.wait === false ? 0 : auditCallSeconds);
    const outcome = begun.complete || flags.wait === false ? begun : await endOf(cli, client, begun);
    if (flags.json === true) return cli.output.json(outcome);
    if (outcome.status === null) {
      await cli.output.print(
        `audited by ${outcome.auditors.map(({ name }) => printable(name)).join(', ') || 'nobody'}`,
      );
      for (const line of unansweredLines(outcome.unanswered)) await cli.output.print(line);
      return;
    }
    for (const line of statusLines(outcome.status, Date.now(), cli.command)) await cli.output.print(line);
  });
}

/** An audit that takes longer than one call may wait is looked at until nobody audits any more. */
async function endOf(cli: Cli, client: AnabranchClient, begun: AuditOutcome): Promise<AuditOutcome> {
  if (begun.auditors.length === 0) return begun;
  const signal = cli.interrupts();
  for (const startedMs = performance.now(); performance.now() - startedMs < auditMsMax; ) {
    await sleep(auditPollMs, undefined, { signal }).catch(() => signal.throwIfAborted());
    const now = await client.replication.status();
    if (now.running) continue;
    const auditors = begun.auditors.map((auditor) => ({ ...auditor, state: 'done' as const }));
    return { complete: true, auditors, status: now, unanswered: now.unanswered };
  }
  throw new CommandFailure(`the audit still runs: "${cli.command('replication status')}" tells how far it is`);
}

async function placement(cli: Cli, objectText: string, flags: ReplicationFlags): Promise<void> {
  const { ns, key } = parseObject(objectText);
  await cli.withClient(flags, async (client) => {
    const body = await client.replication.placement(ns, key);
    if (flags.json === true) return cli.output.json(body);
    for (const line of placementLines(body)) await cli.output.print(line);
  });
}
