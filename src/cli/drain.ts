import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import type { AnabranchClient } from '../client/http-client.ts';
import type { CommittedChange, DrainStatus, NodeInfo } from '../node/api.ts';
import { type ChangeFlags, tellCommitted, withChange } from './change-options.ts';
import type { Cli } from './cli.ts';
import { drainLines } from './drain-text.ts';
import { CommandFailure, UsageError } from './errors.ts';
import { findNode } from './find-node.ts';
import { printable } from './output.ts';
import { progressBar } from './progress.ts';

interface DrainFlags extends ChangeFlags {
  readonly wait?: boolean;
  readonly undo?: boolean;
  readonly status?: boolean;
}

/** Between two looks, each of which has copies proved. */
const pollMs = 1_000;
/** A drain that gets no further for so long is not waited for any more. */
const stalledMsMax = 10 * 60_000;

export function drainCommand(cli: Cli): Command {
  return withChange(new Command('drain'))
    .description('have the content of a node move elsewhere, so that it can be switched off')
    .argument('<node>', 'name or id of a member')
    .option('--wait', 'wait until it may be switched off')
    .option('--undo', 'use it again')
    .option('--status', 'change nothing; show how far it has come')
    .action((node: string, flags: DrainFlags) => drain(cli, node, flags));
}

async function drain(cli: Cli, name: string, flags: DrainFlags): Promise<void> {
  const { wait, undo, status, json } = flags;
  if (undo === true && (wait === true || status === true)) throw new UsageError('--undo stands alone');
  await cli.withClient(flags, async (client) => {
    const node = await findNode(client, name);
    if (status !== true) {
      const change = await changed(client, node, flags);
      // What is waited for is printed alone.
      if (wait !== true || json !== true) await tellDrain(cli, node, change, flags);
    }
    if (wait !== true && status !== true) {
      if (undo !== true)
        cli.output.note(`"${cli.command(`drain ${printable(node.name)} --wait`)}" waits until it is empty`);
      return;
    }
    const reached =
      wait === true ? await untilSafe(cli, client, node) : await client.replication.drainStatus(node.nodeId);
    if (json === true) return cli.output.json(reached);
    for (const line of drainLines(reached, cli.command)) await cli.output.print(line);
  });
}

/** Undefined when there was nothing to change. The same call made again under its operation id is told what it did. */
async function changed(
  client: AnabranchClient,
  { nodeId }: NodeInfo,
  { undo, reason, operationId }: DrainFlags,
): Promise<CommittedChange | undefined> {
  const options = { reason, operationId };
  return undo === true ? client.replication.undrain(nodeId, options) : client.replication.drain(nodeId, options);
}

async function tellDrain(
  cli: Cli,
  { nodeId, name }: NodeInfo,
  change: CommittedChange | undefined,
  flags: DrainFlags,
): Promise<void> {
  const draining = flags.undo !== true;
  const node = printable(name);
  if (change !== undefined)
    return tellCommitted(cli, draining ? `${node} drains` : `${node} is used again`, change, flags);
  if (flags.json === true) return cli.output.json({ nodeId, draining, changed: false });
  await cli.output.print(draining ? `${node} drains already` : `${node} does not drain`);
}

async function untilSafe(cli: Cli, client: AnabranchClient, { nodeId }: NodeInfo): Promise<DrainStatus> {
  const signal = cli.interrupts();
  let status = await client.replication.drainStatus(nodeId);
  if (status.safe) return status;
  const bar = progressBar(cli.io, 'draining', Math.max(1, status.contents), 'contents');
  try {
    let [least, sinceMs] = [Number.POSITIVE_INFINITY, performance.now()];
    while (!status.safe) {
      const left = status.remaining + (status.intents ?? 0);
      if (left < least) [least, sinceMs] = [left, performance.now()];
      if (performance.now() - sinceMs > stalledMsMax) {
        throw new CommandFailure(`the drain stands still. ${drainLines(status, cli.command).join(' ')}`);
      }
      bar.update(Math.max(0, status.contents - status.remaining));
      await sleep(pollMs, undefined, { signal }).catch(() => signal.throwIfAborted());
      status = await client.replication.drainStatus(nodeId);
    }
    return status;
  } finally {
    bar.end();
  }
}
