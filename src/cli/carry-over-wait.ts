import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '../client/api-error.ts';
import type { ChangeOptions } from '../client/cluster-client.ts';
import type { AnabranchClient } from '../client/http-client.ts';
import type { CarryStatus, CommittedChange } from '../node/api.ts';
import type { Cli } from './cli.ts';
import { counted } from './counted.ts';
import { CommandFailure, exitCodes } from './errors.ts';
import { progressBar } from './progress.ts';

/** Between two looks at a carry-over. */
const pollMs = 250;
/** A carry-over that gets no further for so long is not waited for any more. */
const stalledMsMax = 60_000;

/**
 * Makes a change of the coordinators once the one before has been carried over, and waits until this one has been too.
 * Asked again, it is under the same operation id, so it is done once.
 */
export async function changeAndCarryOver(
  cli: Cli,
  client: AnabranchClient,
  options: ChangeOptions,
  change: (options: ChangeOptions) => Promise<CommittedChange>,
): Promise<CommittedChange> {
  const signal = cli.interrupts();
  let again = options;
  for (;;) {
    try {
      const committed = await change(again);
      await waitForCarryOver(cli, client, signal);
      return committed;
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 'carry_over_running') throw error;
      again = { ...options, operationId: options.operationId ?? (error.problem?.operationId as string | undefined) };
      await waitForCarryOver(cli, client, signal);
    }
  }
}

async function waitForCarryOver(cli: Cli, client: AnabranchClient, signal: AbortSignal): Promise<void> {
  let status = await look(client);
  if (status?.complete === true) return;
  const bar = progressBar(cli.io, 'carrying over', Math.max(1, status?.total ?? 1), 'registers');
  try {
    let [done, sinceMs] = [-1, performance.now()];
    while (status?.complete !== true) {
      if (status !== undefined && status.done !== done) [done, sinceMs] = [status.done, performance.now()];
      if (performance.now() - sinceMs > stalledMsMax) {
        const reached = status === undefined ? '' : ` at ${status.done} of ${counted(status.total, 'register')}`;
        throw new CommandFailure(`the carry-over stands still${reached}: is a majority connected?`, exitCodes.failed);
      }
      bar.update(Math.max(0, done));
      await pause(signal);
      status = await look(client);
    }
  } finally {
    bar.end();
  }
}

/** Undefined while no coordinator can be asked. */
async function look(client: AnabranchClient): Promise<CarryStatus | undefined> {
  try {
    return await client.cluster.carryOver();
  } catch (error) {
    if (error instanceof ApiError && error.code === 'quorum_unavailable') return undefined;
    throw error;
  }
}

async function pause(signal: AbortSignal): Promise<void> {
  await sleep(pollMs, undefined, { signal }).catch(() => signal.throwIfAborted());
}
