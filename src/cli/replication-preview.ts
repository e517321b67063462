import { Command } from 'commander';
import { formatBytes } from '../client/draw-graph.ts';
import type { AnabranchClient } from '../client/http-client.ts';
import type { AskedChange, MovePreview } from '../node/api.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { findNode } from './find-node.ts';
import { capacityForm, labelForm, labelsOf, parseCapacity } from './member-arguments.ts';
import { printable, table } from './output.ts';
import { copiesText } from './replica-text.ts';

interface PreviewFlags extends ConnectionOptions {
  readonly json?: boolean;
}

interface JoinFlags extends PreviewFlags {
  readonly label?: readonly string[];
  readonly capacity?: string;
}

/** Moves that are listed one by one; the rest is only counted. */
const listedMax = 20;
const nodeArgument = ['<node>', 'name or id of a member'] as const;

/** What would move if the mesh changed. */
export function previewCommand(cli: Cli): Command {
  const command = new Command('preview').description('see what would move if a node left, joined, drained or changed');
  for (const kind of ['leave', 'drain'] as const) {
    withConnection(command.command(kind))
      .description(kind === 'leave' ? 'if a node were put out' : 'if a node drained')
      .argument(...nodeArgument)
      .action((node: string, flags: PreviewFlags) =>
        preview(cli, flags, async (client) => ({ kind, nodeId: (await findNode(client, node)).nodeId })),
      );
  }
  withConnection(command.command('join'))
    .description('if one more node joined')
    .option('--label <name=value...>', 'where and what it is, such as dc=fra1')
    .option('--capacity <capacity>', capacityForm)
    .action((flags: JoinFlags) => {
      const { label, capacity } = flags;
      const change: AskedChange = {
        kind: 'join',
        ...(label === undefined ? {} : { labels: labelsOf(label) }),
        ...(capacity === undefined ? {} : { capacity: parseCapacity(capacity) }),
      };
      return preview(cli, flags, async () => change);
    });
  withConnection(command.command('labels'))
    .description('if a node had other labels')
    .argument(...nodeArgument)
    .argument('[label...]', labelForm)
    .action((node: string, texts: string[], flags: PreviewFlags) => {
      const labels = labelsOf(texts);
      return preview(cli, flags, async (client) => {
        return { kind: 'labels', nodeId: (await findNode(client, node)).nodeId, labels };
      });
    });
  withConnection(command.command('capacity'))
    .description('if a node held more or less')
    .argument(...nodeArgument)
    .argument('<capacity>', capacityForm)
    .action((node: string, text: string, flags: PreviewFlags) => {
      const capacity = parseCapacity(text);
      return preview(cli, flags, async (client) => {
        return { kind: 'capacity', nodeId: (await findNode(client, node)).nodeId, capacity };
      });
    });
  return command;
}

async function preview(
  cli: Cli,
  flags: PreviewFlags,
  changeOf: (client: AnabranchClient) => Promise<AskedChange>,
): Promise<void> {
  await cli.withClient(flags, async (client) => {
    const change = await changeOf(client);
    let whole = await client.replication.preview(change, { limit: listedMax });
    while (whole.next !== null) {
      whole = joined(whole, await client.replication.preview(change, { after: whole.next, limit: listedMax }));
    }
    if (flags.json === true) return cli.output.json(whole);
    for (const line of linesOf(whole)) await cli.output.print(line);
  });
}

function joined(first: MovePreview, second: MovePreview): MovePreview {
  const nodes = new Map(first.nodes.map((node) => [node.nodeId, node]));
  for (const node of second.nodes) {
    const known = nodes.get(node.nodeId);
    nodes.set(node.nodeId, {
      ...node,
      contentsIn: node.contentsIn + (known?.contentsIn ?? 0),
      bytesIn: node.bytesIn + (known?.bytesIn ?? 0),
      contentsOut: node.contentsOut + (known?.contentsOut ?? 0),
      bytesOut: node.bytesOut + (known?.bytesOut ?? 0),
    });
  }
  return {
    moves: [...first.moves, ...second.moves].slice(0, listedMax),
    totals: {
      subjects: first.totals.subjects + second.totals.subjects,
      moved: first.totals.moved + second.totals.moved,
      copies: first.totals.copies + second.totals.copies,
      bytes: first.totals.bytes + second.totals.bytes,
      degraded: first.totals.degraded + second.totals.degraded,
    },
    nodes: [...nodes.values()],
    next: second.next,
  };
}

function linesOf({ moves, totals, nodes }: MovePreview): string[] {
  const names = new Map(nodes.map(({ nodeId, name }) => [nodeId, name ?? 'the new node']));
  const nameOf = (id: (typeof nodes)[number]['nodeId']): string => printable(names.get(id) ?? id);
  const degraded = totals.degraded === 0 ? '' : `; the policy of ${totals.degraded} could not be met`;
  return [
    `${totals.moved} of ${totals.subjects} versions would move: ${copiesText(totals.copies, totals.bytes)}${degraded}`,
    ...table(
      nodes.map(({ nodeId, contentsIn, bytesIn, contentsOut, bytesOut }) => [
        nameOf(nodeId),
        `fetches ${contentsIn}, ${formatBytes(bytesIn)}`,
        `gives up ${contentsOut}, ${formatBytes(bytesOut)}`,
      ]),
    ),
    ...table(
      moves.map(({ ns, key, size, from, to }) => [
        printable(`${ns}/${key}`),
        formatBytes(size),
        `${from.map(nameOf).join(', ') || '-'} → ${to.map(nameOf).join(', ') || '-'}`,
      ]),
    ),
    ...(totals.moved > moves.length ? [`… and ${totals.moved - moves.length} more`] : []),
  ];
}
