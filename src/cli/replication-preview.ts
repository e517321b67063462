import { Command } from 'commander';
import { formatBytes } from '../client/draw-graph.ts';
import type { AnabranchClient } from '../client/http-client.ts';
import type { AskedChange, MovePreview } from '../node/api.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { counted } from './counted.ts';
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
/** As many as the API lists on one page: among them are those that nobody has to fetch. */
const pageMovesMax = 40;
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
    let whole = await client.replication.preview(change, { limit: pageMovesMax });
    let fetched = whole.moves.filter(isFetched).slice(0, listedMax);
    let lack = lackOf(whole);
    while (whole.next !== null) {
      const page = await client.replication.preview(change, { after: whole.next, limit: pageMovesMax });
      fetched = [...fetched, ...page.moves.filter(isFetched)].slice(0, listedMax);
      lack ??= lackOf(page);
      whole = joined(whole, page);
    }
    if (flags.json === true) return cli.output.json(whole);
    for (const line of linesOf(whole, { fetched, lack })) await cli.output.print(line);
  });
}

type Move = MovePreview['moves'][number];

/** A move that some node has to fetch a content for; with any other, one only need not hold it any more. */
function isFetched({ to }: Move): boolean {
  return to.length > 0;
}

/** What a policy would not get, of the first version that is listed with it. */
function lackOf({ moves }: MovePreview): string | undefined {
  return moves.flatMap(({ lacks }) => lacks.map(({ message }) => message))[0];
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
    moves: [...first.moves, ...second.moves].slice(0, pageMovesMax),
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

interface Told {
  /** Moves to list. */
  readonly fetched: readonly Move[];
  readonly lack: string | undefined;
}

function linesOf({ totals, nodes }: MovePreview, { fetched, lack }: Told): string[] {
  const names = new Map(nodes.map(({ nodeId, name }) => [nodeId, name ?? 'the new node']));
  const nameOf = (id: (typeof nodes)[number]['nodeId']): string => printable(names.get(id) ?? id);
  const losing = nodes.filter(({ contentsOut }) => contentsOut > 0).map(({ nodeId }) => nameOf(nodeId));
  const why = lack === undefined ? '' : ` (${printable(lack)})`;
  const short = totals.degraded === 0 ? '' : `; ${totals.degraded} would have a policy that cannot be met${why}`;
  const unlisted = totals.copies - fetched.reduce((sum, { to }) => sum + to.length, 0);
  return [
    `${summaryOf(totals, losing)}${short}`,
    ...table(
      nodes.map(({ nodeId, contentsIn, bytesIn, contentsOut, bytesOut }) => [
        nameOf(nodeId),
        `fetches ${contentsIn}, ${formatBytes(bytesIn)}`,
        `gives up ${contentsOut}, ${formatBytes(bytesOut)}`,
      ]),
    ),
    ...table(
      fetched.map(({ ns, key, size, from, to }) => [
        printable(`${ns}/${key}`),
        formatBytes(size),
        from.length === 0
          ? `→ ${to.map(nameOf).join(', ')}`
          : `${from.map(nameOf).join(', ')} → ${to.map(nameOf).join(', ')}`,
      ]),
    ),
    ...(unlisted > 0 ? [`… and ${counted(unlisted, 'more copy', 'more copies')}`] : []),
  ];
}

/** What moves in all, and who need not hold so much any more. */
function summaryOf({ subjects, moved, copies, bytes }: MovePreview['totals'], losing: readonly string[]): string {
  const of = counted(subjects, 'version');
  if (moved === 0) return `none of ${of} would move`;
  if (copies > 0) return `${moved} of ${of} would move: ${copiesText(copies, bytes)}`;
  const places = counted(moved, 'version would lose its place', 'versions would lose their place');
  const where = losing.length === 0 ? '' : ` on ${losing.join(', ')}`;
  return `${places}${where}; nothing has to be copied`;
}
