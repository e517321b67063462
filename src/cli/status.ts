import { Command } from 'commander';
import { formatBytes } from '../client/draw-graph.ts';
import type { NodeStatus } from '../node/api.ts';
import type { Cli } from './cli.ts';
import type { CommandText } from './command-text.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { counted } from './counted.ts';
import { printable, table } from './output.ts';
import { waitingTexts } from './waiting-text.ts';

interface StatusFlags extends ConnectionOptions {
  readonly json?: boolean;
}

export function statusCommand(cli: Cli): Command {
  const command = new Command('status').description('show how the node is doing');
  return withConnection(command).action(async (flags: StatusFlags) => {
    await cli.withClient(flags, async (client) => {
      const status = await client.status();
      if (flags.json === true) return cli.output.json(status);
      for (const line of table(rowsOf(status, client.url, cli.command))) await cli.output.print(line);
    });
  });
}

function rowsOf(status: NodeStatus, url: string, command: CommandText): [string, string][] {
  const { peers, disk, quorum } = status;
  const membership = membershipText(status, command);
  return [
    ['node', `${printable(status.name)} at ${url}`],
    ['node id', status.nodeId],
    ['peer id', status.peerId],
    ['cluster', `${printable(status.clusterName)} (${status.cluster})`],
    ['state', status.ready ? 'ready' : 'not ready yet'],
    ...(membership === undefined ? [] : [['membership', membership] as [string, string]]),
    ['up for', `${Math.round(status.uptimeMs / 1000)} s`],
    ['peers', `${peers.connected} of ${peers.known} connected`],
    ['objects', `${status.objects}, in ${counted(status.versions, 'version')}`],
    ['confirmed', `${counted(status.confirmed, 'version')}; ${status.provisional} provisional`],
    ['quorum', quorumText(quorum)],
    ['control log', controlText(status)],
    ...slotsRow(status),
    ['conflicts', String(status.conflicts)],
    ['content on its way', String(status.pendingContent)],
    ...givenUpRow(status, command),
    ...damageRow(status, command),
    ['disk', `${formatBytes(disk.freeBytes)} free of ${formatBytes(disk.capacityBytes)}`],
    ['version', status.version],
  ];
}

/** What there is to know and to do about a node that is no member, or is treated as none. */
function membershipText({ membership, name }: NodeStatus, command: CommandText): string | undefined {
  const { state, removedBy, turnedAwayBy } = membership;
  const again = `it joins again only as a new one: "${command('init --join')}", then "nodes admit"`;
  switch (state) {
    case 'member':
      return undefined;
    case 'pending':
      return `NOT ADMITTED yet: "${command('nodes admit')}" on a member takes ${printable(name)} in`;
    case 'removed':
      return `REMOVED by entry ${removedBy} of the control log: it serves what it has and takes no writes; ${again}`;
    case 'turned_away':
      return `TURNED AWAY by ${turnedAwayBy} of the members, and connected to none: see "${command('nodes')}" there; if this node was removed, ${again}`;
  }
}

/** Only where slots are placed is there anything to say of them. */
function slotsRow({ slots: { count, kept, held, leaving } }: NodeStatus): [string, string][] {
  if (held === count && leaving === 0) return [];
  const gaining = held < kept ? `, ${kept - held} being fetched` : '';
  const losing = leaving > 0 ? `, ${leaving} being handed over` : '';
  return [['metadata', `${held} of ${count} slots${gaining}${losing}`]];
}

/** What a node does not get is to be seen without looking for it. */
function givenUpRow({ content: { dead } }: NodeStatus, command: CommandText): [string, string][] {
  return dead === 0 ? [] : [['content given up', `${dead}: "${command('content dead')}" lists it`]];
}

/** What has rotted or vanished on the disk, until it is mended. */
function damageRow({ records, content }: NodeStatus, command: CommandText): [string, string][] {
  const counts = [
    ...(records.damaged > 0 ? [counted(records.damaged, 'record of a version', 'records of versions')] : []),
    ...(content.damaged > 0 ? [counted(content.damaged, 'content')] : []),
    ...(content.incomplete > 0 ? [`${counted(content.incomplete, 'content')} without a part`] : []),
  ];
  if (counts.length === 0) return [];
  return [['DAMAGED on disk', `${counts.join(', ')}: "${command('doctor')}" says what to do`]];
}

/** An unfinished carry-over holds up the next change of coordinators, and a restored one has to be replaced. */
function controlText({ control }: NodeStatus): string {
  const { seq, coordinator, carryOver, restored, forked } = control;
  const carrying =
    carryOver === null || carryOver.complete
      ? ''
      : `; ${carryOver.done} of ${counted(carryOver.total, 'register')} carried over so far`;
  const forgotten = restored.length === 0 ? '' : `; RESTORED, to be replaced: ${restored.join(' ')}`;
  const split =
    forked === null ? '' : `; FORKED at entry ${forked.seq}: ${forked.ours} here, ${forked.theirs} elsewhere`;
  return `entry ${seq}${coordinator ? ', and this node votes' : ''}${carrying}${forgotten}${split}`;
}

/** Whoever is on the minority's side of a partition is to know it. */
function quorumText(quorum: NodeStatus['quorum']): string {
  const { epoch, coordinators, reachable, available } = quorum;
  const reach = `${reachable} of ${counted(coordinators, 'coordinator')} of epoch ${epoch} reachable`;
  return `${available ? 'available' : 'NOT AVAILABLE: nothing is confirmed until it is back'} (${reach})${['', ...waitingTexts(quorum)].join('; ')}`;
}
