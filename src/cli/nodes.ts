import { Command } from 'commander';
import type { Cli } from './cli.ts';
import { type ConnectionOptions, withConnection } from './connection.ts';
import { printable, table } from './output.ts';

interface NodesFlags extends ConnectionOptions {
  readonly json?: boolean;
}

export function nodesCommand(cli: Cli): Command {
  const command = new Command('nodes').description('show the nodes of the mesh as this node sees them');
  return withConnection(command).action(async (flags: NodesFlags) => {
    await cli.withClient(flags, async (client) => {
      const body = await client.nodes();
      if (flags.json === true) return cli.output.json(body);
      const rows = body.nodes.map(({ name, state, self, nodeId, addresses }) => [
        printable(name),
        self ? `${state}, answers here` : state,
        nodeId,
        printable(addresses.join(' ')),
      ]);
      for (const line of table(rows)) await cli.output.print(line);
    });
  });
}
