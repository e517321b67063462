import { Command } from 'commander';
import { describeVersion, drawGraph } from '../client/draw-graph.ts';
import type { AnabranchClient } from '../client/http-client.ts';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { parseObject } from './object-argument.ts';
import { printable } from './output.ts';
import { wholeNumber } from './whole-number.ts';

interface LogFlags extends ConnectionOptions {
  readonly maxCount?: number;
  readonly json?: boolean;
}

export function logCommand(cli: Cli): Command {
  const command = new Command('log')
    .description("draw an object's version graph, newest first")
    .argument('<object>', 'NAMESPACE/KEY')
    .option('-n, --max-count <count>', 'only the newest so many', wholeNumber('--max-count', 1, 1_000_000));
  return withConnection(command).action(async (objectText: string, flags: LogFlags) => {
    const { ns, key } = parseObject(objectText);
    await cli.withClient(flags, async (client) => {
      const graph = await client.graph(ns, key);
      if (flags.json === true) return cli.output.json(graph);
      const names = await nodeNames(client);
      // The API orders versions by generation, so the newest stand at the end.
      const versions = graph.versions.slice(-(flags.maxCount ?? graph.versions.length));
      const describe = (version: (typeof versions)[number]): string => printable(describeVersion(version, names));
      for (const line of drawGraph(versions, graph.heads, graph.preferred, describe)) await cli.output.print(line);
      const older = graph.versions.length - versions.length;
      if (older > 0) await cli.output.print(`… and ${older} older`);
    });
  });
}

/** Names are a kindness to the reader; without them a node's id has to do. */
export async function nodeNames(client: AnabranchClient): Promise<Map<string, string>> {
  const { nodes } = await client.nodes();
  return new Map(nodes.map(({ nodeId, name }) => [nodeId, name]));
}
